"""Reads logs for the screen, in threads of its own; what is read is made harmless here.

LogFollower thread ── deque (bounded, counts what it lost) ──> take(), once per wake-up
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import deque
from itertools import islice
from typing import NamedTuple

from pyctr.core.errors import PyctrError
from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

TAIL = 2000
"""Lines read at first, from the end or from the beginning."""
WAITING = 50_000
"""Lines that may wait for the screen; beyond, the oldest are dropped and counted."""
ROOM = 1 << 25
"""Characters of them, likewise, and of those that are kept on a screen: a container may write lines of any length."""
SHOWN = 1 << 14
"""Bytes of a line that are shown."""

# CSI, OSC (ended by BEL or ST), and two-byte sequences: ECMA-48
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")


class Entry(NamedTuple):
    """One line; `stream` is stdout, stderr, or lost for a marker."""

    time_ns: int
    stream: str
    text: str
    origin: str = ""
    """The container's name, where several logs are one."""


class Range(NamedTuple):
    """What of a log is read."""

    name: str
    seconds: float = 0.0
    """How far back; 0 for a number of lines instead."""
    head: bool = False
    """From its first lines on, and then no further."""


RANGES = (
    Range("tail"),
    Range("head", head=True),
    Range("1 min", 60),
    Range("5 min", 300),
    Range("15 min", 900),
    Range("30 min", 1800),
    Range("60 min", 3600),
)


def readable(raw: bytes) -> str:
    """A line as it would look in the end: colours and cursor games removed, carriage returns overwritten."""
    raw = raw.rstrip(b"\r\n")
    more = len(raw) - SHOWN
    if more > 0:
        # what was overwritten is not seen, but a line is read from its beginning
        raw = raw[-SHOWN:] if b"\r" in raw[-SHOWN:] else raw[:SHOWN]
    text = raw.decode("utf-8", "replace")
    if "\x1b" in text:
        text = _ESCAPES.sub("", text)
    if "\r" in text:
        text = [part for part in text.split("\r") if part][-1] if text.strip("\r") else ""
    return f.neutral(text) + (f" … {more} bytes more" if more > 0 else "")


class LogFollower:
    """Reads `path` from the beginning of `span` on, in its own daemon thread, until `stop`."""

    def __init__(
        self,
        path: str,
        wake: Callable[[], None],
        span: Range = RANGES[0],
        origin: str = "",
        form: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`form` is that of another engine's log, as core/engines/output knows it."""
        self._path = path
        self._form = form
        self._wake = wake
        self._span = span
        self._clock = clock
        self._origin = f.neutral(origin)
        self._waiting: deque[Entry] = deque()
        self._size = 0
        """Characters of those that wait."""
        self._lost = 0
        self._told = True  # the first lines are told of together, by `_current`
        self._guard = threading.Lock()
        self.current = threading.Event()
        """Set once everything that had been written when it began is there to be taken."""
        self.error = ""
        self._stop_read, self._stop_write = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="log follower", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for time_ns, stream, raw in self._lines():
                entry = Entry(time_ns, stream, readable(raw), self._origin)
                with self._guard:
                    self._waiting.append(entry)
                    self._size += len(entry.text)
                    while len(self._waiting) > WAITING or self._size > ROOM:
                        self._size -= len(self._waiting.popleft().text)
                        self._lost += 1
                    told, self._told = self._told, True
                if not told:
                    self._wake()
        except (OSError, PyctrError) as error:
            self.error = f.reason(error)
        finally:
            self._current()
            os.close(self._stop_read)

    def _lines(self) -> Iterator[tuple[int, str, bytes]]:
        from pyctr.core.engines import output
        from pyctr.core.engines.model import Log

        where = Log(self._form, self._path)
        if self._span.head:
            return islice(output.lines(where), TAIL)
        wishes: dict[str, Any] = {"follow": True, "stop": self._stop_read, "current": self._current}
        if self._span.seconds:
            return output.lines(where, since=int((self._clock() - self._span.seconds) * 1e9), **wishes)
        return output.lines(where, tail=TAIL, **wishes)

    def _current(self) -> None:
        self.current.set()
        self._wake()

    def take(self) -> list[Entry]:
        """What came since the last time; a marker first if something was lost."""
        with self._guard:
            entries = list(self._waiting)
            self._waiting.clear()
            self._size = 0
            self._told = False
            lost, self._lost = self._lost, 0
        if lost:
            entries.insert(
                0, Entry(entries[0].time_ns if entries else 0, "lost", f"{lost} lines too many to show", self._origin)
            )
        return entries

    def stop(self) -> None:
        if self._stop_write >= 0:
            os.close(self._stop_write)  # the reader's poll sees the hang-up
            self._stop_write = -1
