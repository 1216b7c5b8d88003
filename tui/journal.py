"""The journal's last events, then every new one, read in a thread of its own.

Follower thread ── list (bounded) ──> `take`, once per wake-up. Made by `Poller.journal`.
"""

from __future__ import annotations

import os
import threading
from collections import deque

from pyctr.core.events import Event, Events
from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

TAIL = 1 << 20
"""Bytes of the journal's end that are read at first."""
KEPT = 5000
"""Events kept; older ones go."""


class Journal:
    """`wake` is called in the follower's thread when there is something to take, once until it is taken.

    The first time, when `current` is set, too: with all that had happened until then.
    """

    def __init__(self, events: Events, wake: Callable[[], None]) -> None:
        self._events = events
        self._wake = wake
        self._waiting: deque[Event] = deque(maxlen=KEPT)
        self._told = True  # the first events are told of together, by `_current`
        self._guard = threading.Lock()
        self.current = threading.Event()
        self.error = ""
        """Why nothing more will come."""
        self._stop_read, self._stop_write = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for event in self._events.follow(stop=self._stop_read, tail=TAIL, current=self._current):
                with self._guard:
                    self._waiting.append(event)
                    told, self._told = self._told, True
                if not told:
                    self._wake()
        except OSError as problem:
            self.error = f.reason(problem)
            self._current()
        finally:
            os.close(self._stop_read)

    def _current(self) -> None:
        self.current.set()
        self._wake()

    def take(self) -> list[Event]:
        """What came since the last time, the oldest first."""
        with self._guard:
            events = list(self._waiting)
            self._waiting.clear()
            self._told = False
        return events

    def stop(self) -> None:
        if self._stop_write >= 0:
            os.close(self._stop_write)
            self._stop_write = -1
            self._thread.join(1.0)
