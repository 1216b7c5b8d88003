"""What screens learn by asking the kernel or walking a disk: asked where the host is, given back where it is not."""

from __future__ import annotations

import json
import os

from pyctr.core import confinement, containers, usage
from pyctr.core.capture import strangers
from pyctr.core.capture.moments import ANSWERS
from pyctr.core.confinement import Confinement, Shown
from pyctr.core.doctor import Finding
from pyctr.core.engine import Engine
from pyctr.core.errors import PyctrError
from pyctr.core.nettalks import Talk
from pyctr.core.storage import Storage
from pyctr.core.volumes import Volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from pyctr.core.capture.moments import Stage
    from pyctr.core.engines.model import Foreign
    from pyctr.core.images.model import Image
    from pyctr.core.paths import Paths

CHANGES = 500
"""Changed paths of a container that are kept."""


def collect(
    engine: Engine, tell: Callable[[str], object] = lambda text: None, others: Iterable[Foreign] = ()
) -> dict[str, Any]:
    """Everything, as a document. What cannot be found out is missing. `tell` hears what is being asked, `others` are
    containers of other engines."""
    from pyctr.core import doctor, netgraph, nettalks

    found: dict[str, Any] = {}
    tell("what doctor finds")
    found["findings"] = [finding.to_dict() for finding in doctor.examine(engine)]
    known = containers.all(engine)
    tell("sizes of writable layers and volumes")
    writable: dict[str, int] = {}
    changes: dict[str, Any] = {}
    for container in known:
        try:
            writable[container.id] = engine.storage.usage(container.id)
            changed = engine.storage.changes(container.id, engine.images.find(container.state.image_id))
        except (OSError, PyctrError):
            continue  # it is being removed
        changes[container.id] = [list(one) for one in changed[:CHANGES]]
    found["writable"], found["changes"] = writable, changes
    sizes: dict[str, int] = {}
    for volume in engine.volumes.list():
        try:
            sizes[volume.name] = engine.volumes.usage(volume.name)
        except (OSError, PyctrError):
            continue  # likewise
    found["volumes"] = sizes
    found["used"] = [{"told": type(told).__name__, **told.to_dict()} for told in usage.survey(engine)]
    try:
        disk = os.statvfs(engine.paths.root)
        found["disk"] = [disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize]
    except OSError:
        pass  # nothing was ever made here
    tell("what confines each container")
    confined = {}
    running = [(container.pid, container.state.group) for container in known]
    for pid, group in (*running, *((one.pid, one.group) for one in others)):
        try:
            if pid:
                confined[str(pid)] = strangers.plain(confinement.of(engine, pid, group))
        except (OSError, PyctrError, KeyError, ValueError):
            continue  # it ended just now
    found["confined"] = confined
    tell("who talks to whom")
    try:
        talks = nettalks.talks(netgraph.graph(engine, known), known, engine.paths.proc)
        found["talks"] = [list(talk) for talk in talks]
    except (OSError, PyctrError):
        found["talks"] = []
    return found


class Answers:
    """The document of `collect` in a laid-out recording, read again when it has changed."""

    def __init__(self, directory: str, places: Mapping[str, str]) -> None:
        self._places = places
        self._path = os.path.join(directory, ANSWERS)
        self._stamp = (0, 0)
        self._document: dict[str, Any] = {}

    def shown(self, value: Any) -> Any:
        """A document with the paths as they were on their host, not where they are laid out."""
        if isinstance(value, str):
            for here, there in self._places.items():
                value = value.replace(here, there)
            return value
        if isinstance(value, dict):
            return {key: self.shown(one) for key, one in value.items()}
        return [self.shown(one) for one in value] if isinstance(value, list) else value

    def get(self, name: str, otherwise: Any) -> Any:
        """What was answered to this; `otherwise` if it was not asked, or with something else."""
        try:
            status = os.stat(self._path)
            if self._stamp != (status.st_size, status.st_mtime_ns):
                with open(self._path, "rb") as file:
                    document = json.load(file)
                self._document = document if isinstance(document, dict) else {}
                self._stamp = (status.st_size, status.st_mtime_ns)
        except (OSError, ValueError, RecursionError):
            self._document = {}
        value = self._document.get(name, otherwise)
        return value if isinstance(value, type(otherwise)) else otherwise

    def findings(self) -> tuple[Finding, ...]:
        return tuple(Finding.from_dict(one) for one in self.get("findings", []))

    def survey(self) -> Iterator[usage.Used | usage.Counted]:
        for one in self.get("used", []):
            document = {key: value for key, value in one.items() if key != "told"}
            yield usage.Used.from_dict(document) if one["told"] == "Used" else usage.Counted.from_dict(document)

    def disk(self) -> tuple[int, int] | None:
        """(bytes it has, bytes that are free)"""
        found = self.get("disk", [])
        return (int(found[0]), int(found[1])) if len(found) == 2 else None

    def confinement(self, pid: int) -> Confinement | None:
        """None of a process that nobody asked about: its files say what they do."""
        told = self.get("confined", {}).get(str(pid))
        if not isinstance(told, dict):
            return None
        try:
            found = {name: _frozen(told[name]) for name in Confinement._fields if name in told}
            if found.get("mounts"):
                found["mounts"] = tuple(Shown(**one) for one in found["mounts"])
            return Confinement(**found)
        except TypeError:
            return None

    def strangers(self) -> tuple[Foreign, ...]:
        """Containers of other engines."""
        directory = f"{os.path.dirname(self._path) or '.'}/root"
        try:
            present = frozenset(os.listdir(f"{directory}/others"))
        except OSError:
            present = frozenset()
        return strangers.from_document(self.get("strangers", []), directory, present)

    def talks(self) -> list[Talk]:
        return [Talk(*one) for one in self.get("talks", [])]


def _frozen(value: Any) -> Any:
    return tuple(_frozen(one) for one in value) if isinstance(value, list) else value


class RecordedEngine(Engine):
    """A pyctr that was: its records are files as ever, what had to be asked is in `recorded`."""

    recorded: Answers

    def __init__(self, stage: Stage) -> None:
        paths = stage.paths()
        super().__init__(paths)
        self.recorded = Answers(stage.directory, stage.places())
        self.__dict__["storage"] = _Storage(paths, self)
        self.__dict__["volumes"] = _Volumes(paths, self)


class _Storage(Storage):
    def __init__(self, paths: Paths, engine: RecordedEngine) -> None:
        super().__init__(paths, engine.layers)
        self._recorded = engine.recorded

    def usage(self, id: str) -> int:
        told = self._recorded.get("writable", {})
        return int(told[id]) if id in told else super().usage(id)

    def changes(self, id: str, image: Image | None = None) -> list[tuple[str, str]]:
        told = self._recorded.get("changes", {})
        return [(str(kind), str(path)) for kind, path in told[id]] if id in told else super().changes(id, image)


class _Volumes(Volumes):
    def __init__(self, paths: Paths, engine: RecordedEngine) -> None:
        super().__init__(paths)
        self._recorded = engine.recorded

    def usage(self, name: str) -> int:
        told = self._recorded.get("volumes", {})
        return int(told[name]) if name in told else super().usage(name)
