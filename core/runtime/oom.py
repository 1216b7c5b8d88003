"""Being told when the kernel kills for want of memory, and how often it did."""

from __future__ import annotations

import os
import time

from pyctr.core.runtime.loop import PRIORITY, READ, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyctr.core.cgroups.group import Manager


PATIENCE = 5.0
"""Seconds after a notification of v1 in which its kill may still be counted."""


def notifier(manager: Manager) -> list[int]:
    """The descriptor that tells of kills, and on v1 one that is kept with it; none where the kernel does not tell."""
    try:
        if manager.has_v2("memory"):
            fd = os.open(f"{manager.directory('memory')}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
            os.pread(fd, 512, 0)  # one that was never read has news: no shim would sleep over its start
            return [fd]
        if not manager.has_v1("memory"):
            return []
        directory = manager.directory("memory")
        register = os.open(f"{directory}/cgroup.event_control", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return []  # the count at the end still tells
    made: list[int] = []
    try:
        made.append(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        made.append(os.open(f"{directory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC))
        os.write(register, f"{made[0]} {made[1]}".encode())
        return made
    except OSError:
        for fd in made:
            os.close(fd)
        return []
    finally:
        os.close(register)


def events(descriptors: list[int]) -> int:
    """Of epoll_ctl(2), by which the first of them tells."""
    return READ if descriptors[1:] else PRIORITY


class Watch:
    """Calls `happened(kills)` when the group's count of OOM kills has grown.

    v2: memory.events reports changes as EPOLLPRI (admin-guide/cgroup-v2). v1: an eventfd registered in
    cgroup.event_control for memory.oom_control (admin-guide/cgroup-v1/memory, 9 and 10). It speaks before the kernel
    has chosen whom to kill, so the count is looked at again until it has grown.
    """

    def __init__(
        self, loop: Loop, descriptors: list[int], manager: Callable[[], Manager], happened: Callable[[int], None]
    ) -> None:
        """`descriptors` are what `notifier` made; `manager` is asked for when something is to be counted."""
        self._loop = loop
        self._manager = manager
        self._happened = happened
        self._watched, self._kept = (descriptors[0], descriptors[1:]) if descriptors else (-1, [])
        self._patient_until = 0.0
        self.kills = 0
        if self._watched >= 0:
            loop.add(self._watched, events(descriptors), self._changed)

    def _changed(self, events: int) -> None:
        if self._kept:
            try:
                os.eventfd_read(self._watched)
            except BlockingIOError:
                pass
            self._patient_until = time.monotonic() + PATIENCE
            self._look()
        else:
            os.pread(self._watched, 512, 0)  # EPOLLPRI stays until the file is read
            self.count()

    def _look(self) -> None:
        before, now = self.kills, time.monotonic()
        if self.count() == before and now < self._patient_until:
            self._loop.at(now + 0.01, self._look)

    def count(self) -> int:
        """OOM kills of this incarnation so far."""
        kills = self._manager().oom_events().get("oom_kill", 0)
        if kills > self.kills:
            self.kills = kills
            self._happened(kills)
        return self.kills

    def descriptors(self) -> list[int]:
        """Those that it was made with."""
        return [fd for fd in (self._watched, *self._kept) if fd >= 0]

    def close(self) -> None:
        self._loop.at(None, self._look)
        if self._watched >= 0:
            self._loop.remove(self._watched)
            os.close(self._watched)
            self._watched = -1
        for fd in self._kept:
            os.close(fd)
        self._kept = []
