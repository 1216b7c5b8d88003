"""Is it still alive, is it frozen: two kept descriptors and two pread(2) instead of eight system calls.

A descriptor of /proc/PID/stat belongs to that process for good: after its death a read says ESRCH, even if the
pid lives again. What the record says (start time, boot) is checked once, when the watch begins.
"""

from __future__ import annotations

import os

from pyctr.core.state import PAUSED, RUNNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.containers import Container

_open = 0
MOST = 2000
"""Descriptors all watches together may keep."""


class Watch:
    """Of one incarnation; `begin` returns None when it cannot be watched, which costs only time."""

    def __init__(self, stat: int, freezer: int) -> None:
        self._stat = stat
        self._freezer = freezer

    @classmethod
    def begin(cls, container: Container) -> Watch | None:
        process = container.state.process
        if process is None or _open >= MOST:
            return None
        paths = container.engine.paths
        try:
            stat = os.open(f"{paths.proc}/{process.pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        freezer = -1
        text = os.pread(stat, 4096, 0)
        if int(text.rpartition(b")")[2].split()[19]) == process.start_time:
            freezer = _freezer(container)
        if freezer < 0:
            os.close(stat)
            return None
        globals()["_open"] = _open + 2
        return cls(stat, freezer)

    def status(self) -> str:
        """running or paused; "" when it ended: then the record must be asked."""
        try:
            text = os.pread(self._stat, 512, 0)
            if text[text.rfind(b")") + 2 : text.rfind(b")") + 3] in (b"Z", b"X", b""):
                return ""
            state = os.pread(self._freezer, 128, 0)
        except OSError:
            return ""
        return PAUSED if b"frozen 1" in state or state.startswith(b"FROZEN") else RUNNING

    def close(self) -> None:
        for fd in (self._stat, self._freezer):
            os.close(fd)
        globals()["_open"] = _open - 2


def _freezer(container: Container) -> int:
    """The file that says whether the group is frozen, as `Manager.frozen` chooses it."""
    layout, group = container.engine.layout, container.state.group
    candidates = [f"{layout.unified}{group}/cgroup.events"] if layout.unified else []
    if where := layout.controllers.get("freezer"):
        candidates.append(f"{where}{group}/freezer.state")
    for path in candidates:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        text = os.pread(fd, 128, 0)
        if b"frozen" in text or text[:6] in (b"THAWED", b"FROZEN", b"FREEZI"):
            return fd
        os.close(fd)
    return -1
