"""What a main screen needs beyond the list of containers: collected only while that screen is the visible one.

A source is a module here with `collect(engine, seen, before) -> document` (may raise OSError, PyctrError). Quick ones
read a few files of /proc and run in the poller's thread, so that their picture is of the same moment as the list; the
others have a thread each, because a sick disk may hang a screen's part but never the list.
"""

from __future__ import annotations

import threading
from importlib import import_module
from typing import NamedTuple

from pyctr.core import errors
from pyctr.core.thresholds import USUAL, Thresholds
from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pyctr.core.cgroupstats import Rates
    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.tui.snapshot import ContainerRow, HostRow


class Seen(NamedTuple):
    """What the same look at the host already knows."""

    time: float
    monotonic: float
    containers: tuple[Container, ...]
    statuses: Mapping[str, str]
    """By id, like the next two."""
    rows: Mapping[str, ContainerRow] = {}
    rates: Mapping[str, Rates] = {}
    """Of those that live and were measured."""
    host: HostRow | None = None
    bounds: Thresholds = USUAL
    groups: Mapping[str, str] = {}
    """Their cgroups, such as "/pyctr/<id>"."""


class Source(NamedTuple):
    """Collected anew every `every` seconds."""

    name: str
    every: float
    quick: bool = False

    def collect(self, engine: Engine, seen: Seen, before: object) -> object:
        return import_module(f"pyctr.tui.sources.{self.name}").collect(engine, seen, before)


class Scene(NamedTuple):
    """A document as last collected. One that fails keeps the last good one and says why."""

    document: object = None
    error: str = ""
    taken_at: float = 0.0
    """Epoch seconds of the last good document."""


SOURCES = {
    source.name: source
    for source in (
        Source("networks", 1.0, quick=True),
        Source("machine", 1.0, quick=True),
        Source("triage", 1.0, quick=True),
        Source("posture", 5.0),
        Source("findings", 30.0),
        Source("space", 30.0),
        Source("images", 5.0),
        Source("volumes", 5.0),
    )
}
STALE = 5.0
"""Seconds after which a document is no base of a rate: it was not looked at meanwhile."""
WANTED = {
    "images": ("images",),
    "networks": ("networks",),
    "volumes": ("volumes",),
    "host": ("machine", "findings", "space"),
    "triage": ("triage",),
    "posture": ("posture",),
}
"""Sources by the name of the main screen."""


class _Kept:
    def __init__(self) -> None:
        self.scene = Scene()
        self.busy = False
        self.due = 0.0
        self.since = 0.0


class Sources:
    """The documents of the visible screen; `wake` is called when a slow one came for the first time."""

    def __init__(self, engine: Engine, clock: Callable[[], float], wake: Callable[[], None]) -> None:
        self._engine = engine
        self._clock = clock
        self._wake = wake
        self._kept: dict[str, _Kept] = {}
        self._guard = threading.Lock()

    def look(self, names: Iterable[str], seen: Seen, *, threads: bool) -> dict[str, Scene]:
        """Without `threads` everything is collected before this returns."""
        names = tuple(names)
        found = {}
        for name in names:
            source = SOURCES[name]
            with self._guard:
                kept = self._kept.setdefault(name, _Kept())
                due = not kept.busy and seen.monotonic >= kept.due
                if due:
                    kept.busy, kept.since = True, seen.monotonic
                    # a quick one is due at every look, however close they are
                    kept.due = seen.monotonic + (0.0 if source.quick else source.every)
            if due and (source.quick or not threads):
                self._collect(source, kept, seen)
            elif due:
                threading.Thread(
                    target=self._collect, args=(source, kept, seen), name=f"source {name}", daemon=True
                ).start()
            with self._guard:
                scene = kept.scene
                if kept.busy and seen.monotonic - kept.since > 3.0:
                    scene = scene._replace(error=f"still reading after {seen.monotonic - kept.since:.0f} s")
            found[name] = scene
        return found

    def again(self, name: str) -> None:
        """Collect it at the next look, however young it is."""
        with self._guard:
            if name in self._kept:
                self._kept[name].due = 0.0

    def _collect(self, source: Source, kept: _Kept, seen: Seen) -> None:
        before = kept.scene
        try:
            scene = Scene(source.collect(self._engine, seen, before.document), "", self._clock())
        except (OSError, errors.PyctrError, ValueError, KeyError) as problem:
            scene = before._replace(error=f.reason(problem))
        with self._guard:
            kept.scene, kept.busy = scene, False
        if not source.quick and before.document is None:
            self._wake()
