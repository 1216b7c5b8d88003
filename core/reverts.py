"""Acts that take themselves back: thawed in 60 s, limits as before in ten minutes, unless somebody says otherwise.

    <run>/reverts/<id>.<kind>.json     what to write, and when; whoever has it locked carries it out

A watcher of its own waits for each, because the terminal it was asked from may be gone by then: that is what it is for.
A watcher that was killed leaves its record, and whoever lists the records next makes up for it. After a reboot there
are neither records nor the cgroups they were about: a timed act changes nothing that is kept.
"""

from __future__ import annotations

import os
import sys
import time

from pyctr.core import errors, fsutil, intervention
from pyctr.core.record import Record
from pyctr.core.targets import OURS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyctr.core.engine import Engine
    from pyctr.core.intervention import Write
    from pyctr.core.paths import Paths
    from pyctr.core.targets import Target

LATE = 5.0
"""Seconds after which a record's watcher must have been killed."""
LONGEST = 7 * 24 * 3600.0
_CODE = "import sys;sys.path.insert(0,{root!r});from pyctr.core.reverts import watch;watch(sys.argv[1])"
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Revert(Record):
    """One that is to come."""

    id: str
    name: str
    engine: str
    kind: str
    """intervention.FREEZE or LIMITS: what is taken back."""
    due: float
    """CLOCK_MONOTONIC, seconds."""
    writes: list[list[str]] = []
    """[file, value, before]: what takes it back."""

    @property
    def left(self) -> float:
        """Seconds until then."""
        return self.due - time.monotonic()

    @property
    def text(self) -> str:
        """`web: thawed`, `web: memory.max unlimited`"""
        if self.kind == intervention.FREEZE:
            return f"{self.name}: thawed"
        parts = [intervention.shown(file, value).replace(": ", " ") for file, value, _ in self.writes]
        return f"{self.name}: {', '.join(parts)}"


def schedule(paths: Paths, target: Target, kind: str, writes: Sequence[Write], after: float) -> Revert:
    """Have `writes` made after so many seconds, by a process that outlives us. Takes the place of an earlier one of
    that container and kind. Raises UsageError, OSError."""
    if not 0 < after <= LONGEST:
        raise errors.UsageError(f"'{after:g}' seconds are no time to wait", hint="such as 60s or 10m, at most 7 days")
    due = time.monotonic() + after
    revert = Revert(
        id=target.id,
        name=target.name,
        engine=target.engine,
        kind=kind,
        due=due,
        writes=[list(write) for write in writes],
    )
    path = _path(paths, target.id, kind)
    fsutil.make_private_directory(os.path.dirname(path))
    fsutil.write_json(path, revert.to_dict())
    try:
        _spawn(paths, path)
    except BaseException:
        _drop(path)
        raise
    return revert


def all(paths: Paths) -> list[Revert]:
    """Those to come, the next one first."""
    directory = f"{paths.run}/reverts"
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, PermissionError):
        return []
    found = [_load(f"{directory}/{name}") for name in names if name.endswith(".json")]
    return sorted((one for one in found if one is not None), key=lambda one: one.due)


def pending(paths: Paths, id: str, kind: str) -> Revert | None:
    return _load(_path(paths, id, kind))


def keep(paths: Paths, id: str, kind: str) -> bool:
    """What was done stays done; whether there was something to take back."""
    return _drop(_path(paths, id, kind))


def carry_out(engine: Engine, revert: Revert) -> bool:
    """Take it back now; False if somebody else does, or said to keep it. Raises PyctrError: the record stays then."""
    import fcntl

    path = _path(engine.paths, revert.id, revert.kind)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink == 0:
            return False  # done between the two calls
        _back(engine, revert)
        _drop(path)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(fd)


def make_up(engine: Engine) -> None:
    """Carry out what a killed watcher has left undone. What cannot be done stays listed, and is tried again."""
    for revert in all(engine.paths):
        if revert.left < -LATE:
            try:
                carry_out(engine, revert)
            except (errors.PyctrError, OSError):
                continue


def _back(engine: Engine, revert: Revert) -> None:
    if revert.engine == OURS:
        from pyctr.core import lifecycle

        try:
            if revert.kind == intervention.FREEZE:
                lifecycle.unpause(engine, revert.id)
                return
            engine.events.record("revert", revert.id, revert.name)
        except (errors.IllegalTransition, errors.NotFound):
            return  # thawed, ended or removed meanwhile
    writes = [intervention.Write(*write) for write in revert.writes]
    intervention.apply([write for write in writes if os.path.exists(write.file)])


def watch(path: str) -> None:
    """The life of a watcher: until the record is due, or gone. Paths come by the environment."""
    import select

    from pyctr.core.engine import Engine
    from pyctr.core.linux import inotify

    fd = inotify.init()
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    try:
        inotify.add_watch(fd, path, inotify.IN_DELETE_SELF | inotify.IN_MOVE_SELF | inotify.IN_CLOSE_WRITE)
    except FileNotFoundError:
        return
    revert = _load(path)
    while revert is not None and (left := revert.left) > 0:
        poll.poll(left * 1000 + 1)
        inotify.drain(fd)
        now = _load(path)
        if now is None or now.due != revert.due:
            return  # kept, carried out, or another one's in its place, which has its own watcher
    if revert is not None:
        carry_out(Engine(), revert)


def _spawn(paths: Paths, record: str) -> None:
    """In a session of its own, so that the end of a terminal does not reach it."""
    program = getattr(sys, "_base_executable", "") or sys.executable
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYCTR_ROOT": paths.root,
        "PYCTR_RUNROOT": paths.run,
        "PYCTR_CGROUP_PARENT": paths.cgroup_parent,
        "PYCTR_BRIDGE": paths.bridge,
    }
    null = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in range(3)]
    words = [program, "-I", "-S", "-X", "utf8", "-c", _CODE.format(root=_ROOT), record]
    os.posix_spawn(program, words, environment, file_actions=null, setsid=True, setsigmask=[], setsigdef=range(1, 32))


def _path(paths: Paths, id: str, kind: str) -> str:
    # an id of a stranger's record may hold anything
    return f"{paths.run}/reverts/{id.replace('/', '_')}.{kind}.json"


def _load(path: str) -> Revert | None:
    try:
        document: dict[str, Any] = fsutil.read_json(path)
        return Revert.from_dict(document)
    except (FileNotFoundError, PermissionError):
        return None
    except (errors.PyctrError, ValueError, TypeError, KeyError):
        return None  # torn by a crash: there is nothing to take back from it


def _drop(path: str) -> bool:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True
