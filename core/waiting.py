"""Waiting for what processes and shims do, without polling: pidfds and inotify."""

from __future__ import annotations

import os
import select
import time

from pyctr.core import containers, errors
from pyctr.core.linux import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.containers import Container
    from pyctr.core.paths import Paths
    from pyctr.core.state import Process, State


def handle(process: Process | None, paths: Paths, *, shim: bool = False) -> int:
    """A pidfd of a recorded process, certainly of that one; -1 when it is gone."""
    if process is None or process.boot_id != procfs.boot_id(paths.proc):
        return -1
    if shim:
        return pid_handle(process.shim_pid, process.shim_start_time, paths)
    return pid_handle(process.pid, process.start_time, paths)


def pid_handle(pid: int, start_time: int, paths: Paths) -> int:
    """A pidfd of the process that began at `start_time`; -1 when it is gone or a zombie."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return -1
    # asked after pidfd_open(2): the pid may have been reused before it
    if not procfs.alive(pid, start_time, paths.proc):
        os.close(fd)
        return -1
    return fd


def readable(fds: list[int], timeout: float | None = None) -> list[int]:
    """Those of some descriptors that are readable within `timeout` seconds (None: however long it takes)."""
    poller = select.poll()
    for fd in fds:
        poller.register(fd, select.POLLIN)
    limit = None if timeout is None else max(0, int(timeout * 1000 + 0.999))
    return [fd for fd, _ in poller.poll(limit)]


def gone(process: Process | None, paths: Paths, timeout: float | None = None, *, shim: bool = False) -> bool:
    """Wait until a process (or its shim) is dead; False if it is not after `timeout` seconds."""
    return _wait(handle(process, paths, shim=shim), timeout)


def pid_gone(pid: int, start_time: int, paths: Paths, timeout: float | None = None) -> bool:
    """Likewise for a process that is not on record."""
    return _wait(pid_handle(pid, start_time, paths), timeout)


def _wait(fd: int, timeout: float | None) -> bool:
    if fd < 0:
        return True
    try:
        return bool(readable([fd], timeout))
    finally:
        os.close(fd)


def ended(state: State, process: Process) -> bool:
    """Whether the record tells the end of this incarnation."""
    if state.process is not None and (state.process.pid, state.process.start_time) != (process.pid, process.start_time):
        return True
    return state.exit is not None and state.exit.finished_at >= process.started_at


def recorded(container: Container, process: Process, timeout: float | None = None) -> State | None:
    """Wait until the shim has written how `process` ended; the record.

    None if the container was removed, or nothing is recorded after `timeout`, or the shim is gone without a word.
    """
    from pyctr.core.linux import inotify

    deadline = None if timeout is None else time.monotonic() + timeout
    shim = handle(process, container.engine.paths, shim=True)
    watch = inotify.init()
    try:
        try:
            # a record is renamed into place, or on a full disk written over
            mask = inotify.IN_MOVED_TO | inotify.IN_CLOSE_WRITE | inotify.IN_MOVE_SELF | inotify.IN_ONLYDIR
            inotify.add_watch(watch, container.path(), mask)
        except FileNotFoundError:
            return None
        while True:
            # asked before reading, so that a last word written just before its death is read
            shim_lives = shim >= 0 and not readable([shim], 0)
            try:
                state = containers.load_state(container.engine.paths, container.id)
            except errors.NotFound:
                return None
            if ended(state, process):
                return state
            if not shim_lives:
                return None
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return None
            if watch in readable([watch, shim], left):
                inotify.drain(watch)
    finally:
        os.close(watch)
        if shim >= 0:
            os.close(shim)
