"""Reads logs for the screen, in threads of its own; what is read is made harmless here.

LogFollower thread ── deque (bounded, counts what it lost) ──> take(), once per wake-up
"""

from __future__ import annotations

import os
import re
import threading
from collections import deque
from typing import NamedTuple

from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

TAIL = 2000
"""Lines read at first."""
WAITING = 20_000
"""Lines that may wait for the screen; beyond, the oldest are dropped and counted."""

# CSI, OSC (ended by BEL or ST), and two-byte sequences: ECMA-48
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")


class Entry(NamedTuple):
    """One line; `stream` is stdout, stderr, or lost for a marker."""

    time_ns: int
    stream: str
    text: str


def readable(raw: bytes) -> str:
    """A line as it would look in the end: colours and cursor games removed, carriage returns overwritten."""
    text = raw.decode("utf-8", "replace").rstrip("\r\n")
    if "\x1b" in text:
        text = _ESCAPES.sub("", text)
    if "\r" in text:
        text = [part for part in text.split("\r") if part][-1] if text.strip("\r") else ""
    return f.neutral(text)


class LogFollower:
    """Reads `path` from its last lines on, in its own daemon thread, until `stop`."""

    def __init__(self, path: str, wake: Callable[[], None], tail: int = TAIL) -> None:
        self._path = path
        self._wake = wake
        self._tail = tail
        self._waiting: deque[Entry] = deque(maxlen=WAITING)
        self._lost = 0
        self._told = False
        self._guard = threading.Lock()
        self.error = ""
        self._stop_read, self._stop_write = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="log follower", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        from pyctr.core import logs

        try:
            for time_ns, stream, raw in logs.read(self._path, tail=self._tail, follow=True, stop=self._stop_read):
                entry = Entry(time_ns, stream, readable(raw))
                with self._guard:
                    if len(self._waiting) == WAITING:
                        self._lost += 1
                    self._waiting.append(entry)
                    told, self._told = self._told, True
                if not told:
                    self._wake()
        except OSError as error:
            self.error = f.reason(error)
            self._wake()
        finally:
            os.close(self._stop_read)

    def take(self) -> list[Entry]:
        """What came since the last time; a marker first if something was lost."""
        with self._guard:
            entries = list(self._waiting)
            self._waiting.clear()
            self._told = False
            lost, self._lost = self._lost, 0
        if lost:
            entries.insert(
                0, Entry(entries[0].time_ns if entries else 0, "lost", f"{lost} lines came too fast to show")
            )
        return entries

    def stop(self) -> None:
        if self._stop_write >= 0:
            os.close(self._stop_write)  # the reader's poll sees the hang-up
            self._stop_write = -1
