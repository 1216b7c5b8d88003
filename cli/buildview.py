"""A build's progress on stderr: plain lines with the number of the step, or on a terminal a line per step that is
drawn anew where it stands, with the last lines of what runs."""

from __future__ import annotations

import os
import sys
import time

from pyctr.cli.diagnostics import safe
from pyctr.core.build.progress import BEGIN, CACHED, DONE, FAILED, NOTE, OUTPUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from pyctr.core.build.dockerfile import Dockerfile
    from pyctr.core.build.progress import Event

_INTERVAL = 0.1
_AROUND = 2
"""Lines of the Dockerfile shown before and after the one that failed."""
_SHOWN = 6
"""Lines of output below a step that runs."""


def view(kind: str, stream: TextIO | None = None) -> View:
    """ "auto" is "tty" on a terminal, else "plain"."""
    stream = stream or sys.stderr
    live = stream.isatty() and os.environ.get("TERM") not in (None, "", "dumb")
    if kind == "quiet":
        return View(stream)
    return Live(stream) if kind == "tty" or (kind == "auto" and live) else Plain(stream)


class View:
    """Says nothing until something fails. A context manager."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.flush()

    def __call__(self, event: Event) -> None:
        if event.what == NOTE:
            self._line(f"pyctr: {event.text}")

    def tail(self, lines: list[str], file: Dockerfile, line: int) -> None:
        """What an instruction wrote last, and where it stands."""
        self._line("------")
        for text in lines:
            self._line(text)
        self._line("------")
        if line:
            first = max(1, line - _AROUND)
            for number, text in enumerate(file.lines[first - 1 : line + _AROUND], first):
                self._line(f"{number:4} {'>>>' if number == line else '   '} {text}")

    def _line(self, text: str) -> None:
        self.stream.write(f"{safe(text)}\n")


class Plain(View):
    """#3 [build 2/4] RUN make, #3 what it says, #3 DONE 1.2s."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._began: dict[int, float] = {}
        self._rest: dict[int, str] = {}

    def __call__(self, event: Event) -> None:
        head = f"#{event.step}"
        if event.what == BEGIN:
            self._began[event.step] = time.monotonic()
            self._line(f"{head} [{event.stage}] {event.text}")
        elif event.what == OUTPUT:
            *lines, self._rest[event.step] = (self._rest.get(event.step, "") + event.text).split("\n")
            for line in lines:
                self._line(f"{head} {line.rstrip()}")
        elif event.what in (DONE, CACHED, FAILED):
            if rest := self._rest.pop(event.step, ""):
                self._line(f"{head} {rest}")
            took = f" {time.monotonic() - self._began.pop(event.step, time.monotonic()):.1f}s"
            self._line(f"{head} {event.what.upper()}{took if event.what == DONE else ''}")
        else:
            super().__call__(event)
        self.stream.flush()


class Live(View):
    """The steps so far; finished ones scroll up and stay."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._steps: dict[int, tuple[str, float]] = {}
        self._output: dict[int, list[str]] = {}
        self._drawn = 0
        self._next = 0.0

    def __exit__(self, *_: object) -> None:
        self._draw([])
        super().__exit__()

    def __call__(self, event: Event) -> None:
        kept = []
        if event.what == BEGIN:
            self._steps[event.step] = (f"[{event.stage}] {event.text}", time.monotonic())
            self._output[event.step] = [""]
        elif event.what == OUTPUT:
            text = "\n".join(self._output.get(event.step, [])) + event.text
            self._output[event.step] = text.split("\n")[-_SHOWN - 1 :]
            if time.monotonic() < self._next:
                return
        elif event.what in (DONE, CACHED, FAILED):
            text, began = self._steps.pop(event.step, ("", time.monotonic()))
            self._output.pop(event.step, None)
            mark = {DONE: "=>", CACHED: "=> CACHED", FAILED: "=> FAILED"}[event.what]
            kept = [f"{mark} {text}", f"{time.monotonic() - began:.1f}s"]
        else:
            kept = [event.text, ""]
        self._draw(kept)

    def _draw(self, kept: list[str]) -> None:
        self._next = time.monotonic() + _INTERVAL
        width = self._width()
        lines = []
        for step, (text, began) in self._steps.items():
            lines.append(_row(f"=> {text}", f"{time.monotonic() - began:.1f}s", width))
            lines += [f"=> => {line.rstrip()}"[: width - 1] for line in self._output[step] if line.strip()][-_SHOWN:]
        move = f"\x1b[{self._drawn}A" if self._drawn else ""
        above = [_row(kept[0], kept[1], width)] if kept else []
        self.stream.write(move + "\x1b[J" + "".join(f"{safe(line)}\n" for line in [*above, *lines]))
        self.stream.flush()
        self._drawn = len(lines)

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self.stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80


def _row(left: str, right: str, width: int) -> str:
    room = max(10, width - len(right) - 2)
    return f"{left[:room].ljust(room)} {right}"
