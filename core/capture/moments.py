"""Moments of a recorded host, and the directory in which the ordinary readers find one of them as files."""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

from pyctr.core.errors import StorageError
from pyctr.core.paths import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TOPS = frozenset({"root", "run", "cgroup", "proc", "sys"})
ANSWERS = "answers.json"
LINK = "@"
NAMES = ("cgroup_parent", "bridge")
ROOTS = {"root": "root", "run": "run", "cgroup_root": "cgroup", "proc": "proc", "sys": "sys"}
"""Fields of `Paths`: those a manifest keeps as they were, and the directory each of the others is laid out in."""
_HINT = "this recording is broken, or made to harm whoever opens it"


class Moment(NamedTuple):
    """What had changed since the moment before; in the first one everything."""

    time: float
    """Seconds since the epoch."""
    changed: Mapping[str, bytes]
    gone: tuple[str, ...] = ()


class Recording(NamedTuple):
    manifest: Mapping[str, Any]
    moments: tuple[Moment, ...]


def difference(time: float, before: Mapping[str, bytes], now: Mapping[str, bytes]) -> Moment:
    """The moment `now` after `before`."""
    changed = {name: content for name, content in now.items() if before.get(name) != content}
    return Moment(time, changed, tuple(sorted(name for name in before if name not in now)))


def from_json(path: str) -> Recording:
    """A recording in one JSON document: [{"time", "changed": {name: text}, "gone": [name]}]. Raises OSError."""
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    moments = tuple(
        Moment(
            one["time"],
            {name: text.encode("utf-8", "surrogateescape") for name, text in one["changed"].items()},
            tuple(one["gone"]),
        )
        for one in document
    )
    check(moments)
    return Recording({}, moments)


def check(moments: Iterable[Moment]) -> None:
    """No name leads out of the directory that a `Stage` fills. Raises StorageError.

    A link may climb only at its beginning, and not above the directory it is laid out in; and nothing has a link among
    its parents. So wherever the kernel ends up following one, it is below that directory.
    """
    moments = tuple(moments)
    names = {name for moment in moments for name in (*moment.changed, *moment.gone)}
    links = {name.removesuffix(LINK) for name in names if name.endswith(LINK)}
    for name in sorted(names):
        plain = name.removesuffix(LINK)
        parts = plain.split("/")
        if (
            "\0" in plain
            or (parts[0] not in TOPS and plain != ANSWERS)
            or any(part in ("", ".", "..") for part in parts)
        ):
            raise StorageError(f"'{name}' has no place in a recording", hint=_HINT)
        if any("/".join(parts[:end]) in links for end in range(1, len(parts))):
            raise StorageError(f"'{name}' is behind a link", hint=_HINT)
    for moment in moments:
        for name, content in moment.changed.items():
            if name.endswith(LINK):
                _check_link(name.removesuffix(LINK), os.fsdecode(content))
            elif name.endswith("/state.json") and name.startswith("root/containers/"):
                _check_record(name, content)


def _check_link(name: str, target: str) -> None:
    parts = target.split("/")
    climbs = 0
    while climbs < len(parts) and parts[climbs] == "..":
        climbs += 1
    if not target or "\0" in target or climbs > name.count("/") or any(part in ("", "..") for part in parts[climbs:]):
        raise StorageError(f"the link '{name}' leads out of the recording", hint=_HINT)


def _check_record(name: str, content: bytes) -> None:
    """What readers make paths of must mean the container whose record it is."""
    try:
        record = json.loads(content)
        id, group = str(record["id"]), str(record["group"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return  # no reader takes it for a record either
    if id != name.split("/")[2] or ".." in group.split("/"):
        raise StorageError(f"'{name}' is not the record of that container", hint=_HINT)


class Stage:
    """One moment after the other as files below `directory`, which is ours alone.

    Files are overwritten in place, so that a reader that keeps one open sees the host go on.
    """

    def __init__(self, directory: str, recording: Recording) -> None:
        self.directory = directory
        self.recording = recording
        self.shown = -1

    def paths(self) -> Paths:
        """Where the readers find it; the names of the host's own group and bridge as they were."""
        known = {name: str(self.recording.manifest[name]) for name in NAMES if name in self.recording.manifest}
        # what other engines have on disk here is none of the recording's
        return Paths(**{field: self._place(top) for field, top in ROOTS.items()}, host=self._place("none"), **known)

    def places(self) -> dict[str, str]:
        """Where it is here -> where it was."""
        told = self.recording.manifest
        return {self._place(top): str(told[field]) for field, top in ROOTS.items() if isinstance(told.get(field), str)}

    def _place(self, top: str) -> str:
        return os.path.normpath(os.path.join(self.directory, top))

    def show(self, number: int) -> Moment:
        """Lay out everything up to this moment. Going back begins anew, in place. Raises OSError."""
        moments = self.recording.moments
        if number < self.shown:
            wanted: dict[str, bytes] = {}
            for moment in moments[: number + 1]:
                wanted.update(moment.changed)
                for name in moment.gone:
                    wanted.pop(name, None)
            for moment in moments[number + 1 : self.shown + 1]:
                for name in moment.changed:
                    if name not in wanted:
                        self._remove(name)
            for name, content in wanted.items():
                self._lay(name, content)
        else:
            for moment in moments[self.shown + 1 : number + 1]:
                for name in moment.gone:
                    self._remove(name)
                for name, content in moment.changed.items():
                    self._lay(name, content)
        self.shown = number
        return moments[number]

    def _remove(self, name: str) -> None:
        try:
            os.unlink(os.path.join(self.directory, name.removesuffix(LINK)))
        except FileNotFoundError:
            pass  # it was gone before, too

    def _lay(self, name: str, content: bytes) -> None:
        path = os.path.join(self.directory, name.removesuffix(LINK))
        if name.endswith(LINK):
            self._remove(name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.symlink(content, path)
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(path, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            fd = os.open(path, flags, 0o600)
        try:
            # what is too long is cut afterwards: a reader meanwhile never finds nothing
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
            os.ftruncate(fd, len(content))
        finally:
            os.close(fd)
