"""epoll(7): descriptors and what to do when they are ready, moments and what to do when they have come."""

from __future__ import annotations

import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
PRIORITY = select.EPOLLPRI
ERROR = select.EPOLLERR
HANGUP = select.EPOLLHUP | ERROR
EDGE = select.EPOLLET
"""With others: when it comes to be so, not as long as it is so."""


class Loop:
    """Its descriptor is made when there is something to wait for: a loop may be made before a fork."""

    def __init__(self) -> None:
        self._made: select.epoll | None = None
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._events: dict[int, int] = {}
        self._alarms: dict[Callable[[], None], float] = {}
        self.heard = 0
        """How often there was something."""

    @property
    def _epoll(self) -> select.epoll:
        if self._made is None:
            self._made = select.epoll(select.EPOLL_CLOEXEC)
        return self._made

    def add(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        self._epoll.register(fd, events)
        self._handlers[fd] = handler
        self._events[fd] = events

    def want(self, fd: int, events: int) -> None:
        """Other events from now on. With none the descriptor leaves epoll, which would report hang-ups for ever."""
        before = self._events.get(fd)
        if before is None or before == events:
            return
        if not before:
            self._epoll.register(fd, events)
        elif not events:
            self._epoll.unregister(fd)
        else:
            self._epoll.modify(fd, events)
        self._events[fd] = events

    def remove(self, fd: int) -> None:
        """Before the descriptor is closed."""
        if self._events.pop(fd, 0):
            self._epoll.unregister(fd)
        self._handlers.pop(fd, None)

    def fileno(self) -> int:
        """Of what tells when there is something."""
        return self._epoll.fileno()

    def at(self, moment: float | None, handler: Callable[[], None]) -> None:
        """Call `handler` once at a moment (time.monotonic) instead of at the one it waits for; None for never."""
        self._alarms.pop(handler, None)
        if moment is not None:
            self._alarms[handler] = moment

    def turn(self, deadline: float | None = None) -> bool:
        """Wait for events, at most until `deadline` (time.monotonic), and handle them; False if the time was up."""
        if self._alarms:
            first = min(self._alarms.values())
            deadline = first if deadline is None else min(first, deadline)
        timeout = -1.0 if deadline is None else max(0.0, deadline - time.monotonic())
        ready = self._epoll.poll(timeout)
        self.heard += len(ready)
        for fd, events in ready:
            # an earlier handler of this turn may have removed it
            if handler := self._handlers.get(fd):
                handler(events)
        return self._ring() or bool(ready)

    def _ring(self) -> bool:
        if not self._alarms:
            return False
        now = time.monotonic()
        due = [handler for handler, moment in self._alarms.items() if moment <= now]
        for handler in due:
            # an earlier one may have put it off
            if self._alarms.get(handler, now + 1) <= now:
                del self._alarms[handler]
                handler()
        return bool(due)
