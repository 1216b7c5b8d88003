"""The main screens, in the order of their digits.

A screen is made when it is first opened; its module is imported then. To add one, put its module beside
this file and name it here.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.tui.screens.base import BaseScreen


class Entry:
    """One main screen: its name (the mode of the app), digit, title, and where its class is."""

    def __init__(self, name: str, digit: str, title: str, where: str) -> None:
        self.name = name
        self.digit = digit
        self.title = title
        self._module, _, self._class = where.partition(":")

    @property
    def exists(self) -> bool:
        return find_spec(self._module) is not None

    def make(self) -> BaseScreen:
        screen: BaseScreen = getattr(import_module(self._module), self._class)()
        return screen


REGISTRY = (
    Entry("containers", "1", "Containers", "pyctr.tui.screens.containers:ContainersScreen"),
    Entry("images", "2", "Images", "pyctr.tui.screens.images:ImagesScreen"),
    Entry("networks", "3", "Networks", "pyctr.tui.screens.networks:NetworksScreen"),
    Entry("volumes", "4", "Volumes", "pyctr.tui.screens.volumes:VolumesScreen"),
    Entry("host", "5", "Host", "pyctr.tui.screens.host:HostScreen"),
    Entry("events", "6", "Events", "pyctr.tui.screens.events:EventsScreen"),
    Entry("triage", "7", "Triage", "pyctr.tui.screens.triage:TriageScreen"),
    Entry("posture", "8", "Posture", "pyctr.tui.screens.posture:PostureScreen"),
)


def entries() -> list[Entry]:
    """Those whose module is there."""
    return [entry for entry in REGISTRY if entry.exists]
