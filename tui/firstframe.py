"""The first frame, painted with nothing but escape sequences while Textual is still being imported.

It draws the same lines from the same snapshot as the screens do, on the alternate screen, so that the
real first frame replaces it without a flicker.
"""

from __future__ import annotations

import os
import sys

from pyctr.tui import format as f
from pyctr.tui import header
from pyctr.tui.container_table import Ordering, ascii_titles, columns, note
from pyctr.tui.format import Glyphs
from pyctr.tui.snapshot import Snapshot
from pyctr.tui.table import Layout, Look

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.tui.format import Line
    from pyctr.tui.theming import Theme


def depth(environment: dict[str, str]) -> int:
    """How many colours the terminal says it has."""
    if environment.get("NO_COLOR") or environment.get("TERM", "") in ("", "dumb"):
        return 0
    if environment.get("COLORTERM", "") in ("truecolor", "24bit"):
        return 1 << 24
    return 256 if "256" in environment.get("TERM", "") else 16


def lines(snapshot: Snapshot, width: int, height: int, glyphs: Glyphs) -> list[tuple[Line, str]]:
    """(line, style below it) for the whole screen: header, titles, as many rows as fit."""
    look = Look(glyphs, snapshot.time)
    framed = width >= 120
    out: list[tuple[Line, str]] = [(header.host_line(snapshot, width, glyphs), "")]
    if width >= 120:
        out.append(((), ""))
        out.append(((), ""))
    left = 1 if framed else 0
    engines = any(row.engine for row in snapshot.containers)
    layout = Layout(columns(width - 3 - 2 * left, engines=engines), width - 3 - 2 * left)
    if glyphs.ascii:
        ascii_titles(list(layout.columns))
    indent = (" " * (2 + left), "text")
    out.append(((indent, *layout.heading(glyphs, "name")), ""))
    rows = Ordering().apply(snapshot.containers, layout.columns)
    for index, row in enumerate(rows[: max(0, height - len(out) - 1)]):
        cells = layout.cells(row, look, note(row, look, layout))
        out.append(((indent, *layout.line(cells)), "cursor" if index == 0 else ""))
    if not rows:
        out.append((((" " * 4, "text"), (_nobody(snapshot), "muted")), ""))
    return out


def _nobody(snapshot: Snapshot) -> str:
    if snapshot.error:
        return "the containers cannot be read"
    return "no containers to see" if snapshot.read_only else "no containers yet"


class FirstFrame:
    """`paint`, then Textual, then `restore`, which is harmless if Textual has cleaned up already."""

    def __init__(self, theme: Theme, *, ascii: bool = False, leaving: Callable[[], None] = lambda: None) -> None:
        """`leaving` is called when a signal ends us before the app is there."""
        self._theme = theme
        self._leaving = leaving
        self._glyphs = Glyphs(ascii=ascii)
        self.saved: list[Any] | None = None
        self._fd = sys.__stdin__.fileno() if sys.__stdin__ is not None else 0

    def paint(self, snapshot: Snapshot) -> None:
        import signal
        import termios

        # until the app's event loop takes the signals over, nobody else would put the terminal right
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, self._leave)
        try:
            self.saved = termios.tcgetattr(self._fd)
            quiet = termios.tcgetattr(self._fd)
            # keys pressed meanwhile wait for the app instead of showing up in the picture
            quiet[3] &= ~(termios.ECHO | termios.ICANON)
            termios.tcsetattr(self._fd, termios.TCSANOW, quiet)
        except termios.error:
            self.saved = None
        try:
            size = os.get_terminal_size(2)
        except OSError:
            return
        # as Textual does: the picture goes where the driver writes, to stderr
        os.write(2, self.sequence(snapshot, size.columns, size.lines, depth(dict(os.environ))).encode())

    def sequence(self, snapshot: Snapshot, width: int, height: int, colours: int) -> str:
        theme = self._theme
        ground = theme.sgr("text", depth=colours)
        out = ["\x1b[?1049h\x1b[?25l", ground, "\x1b[2J"]
        for y, (line, over) in enumerate(lines(snapshot, width, height, self._glyphs)):
            out.append(f"\x1b[{y + 1};1H")
            for text, style in f.fit_line(line, width):
                out.append(theme.sgr(style, depth=colours, over=over) + text)
        out.append("\x1b[0m")
        return "".join(out)

    def _leave(self, number: int, frame: object) -> None:
        self.restore()
        self._leaving()
        os._exit(128 + number)

    def restore(self) -> None:
        """The terminal as the user had it, whatever happened in between."""
        import termios

        try:
            os.write(2, b"\x1b[0m\x1b[?25h\x1b[?1049l")
            if self.saved is not None:
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self.saved)
        except (OSError, termios.error):
            pass  # the terminal is gone: nothing to restore
