"""Cells of (character, style) to draw on in any order, and the lines they make."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter

from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.tui.format import Line

BLANK = (" ", "text")


class Canvas:
    """As high as what was drawn on it; what does not fit in the width is not drawn."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._rows: list[list[tuple[str, str]]] = []

    @property
    def height(self) -> int:
        return len(self._rows)

    def row(self, y: int) -> list[tuple[str, str]]:
        while y >= len(self._rows):
            self._rows.append([BLANK] * self.width)
        return self._rows[y]

    def put(self, x: int, y: int, text: str, style: str) -> int:
        """Write neutral text; the column behind it."""
        row = self.row(y)
        if x >= 0 and (text.isascii() or (text == text[0] * len(text) and f.width(text[0]) == 1)):
            fits = text[: max(0, self.width - x)]
            row[x : x + len(fits)] = [(char, style) for char in fits]
            return x + len(fits)
        for char in text:
            size = f.width(char)
            if size == 0:
                if 0 < x <= self.width:
                    row[x - 1] = (row[x - 1][0] + char, row[x - 1][1])
                continue
            if x < 0 or x + size > self.width:
                return x
            row[x] = (char, style)
            for more in range(1, size):
                row[x + more] = ("", style)
            x += size
        return x

    def line(self, x: int, y: int, spans: Line) -> int:
        for text, style in spans:
            x = self.put(x, y, text, style)
        return x

    def down(self, x: int, y: int, end: int, char: str, style: str) -> None:
        """A line from y to before `end`, only where nothing is."""
        for at in range(y, end):
            if 0 <= x < self.width and self.row(at)[x] == BLANK:
                self.row(at)[x] = (char, style)

    def lines(self) -> list[Line]:
        out: list[Line] = []
        for row in self._rows:
            runs = groupby(row, key=itemgetter(1))
            spans = [("".join([char for char, _ in cells]), style) for style, cells in runs]
            while spans and spans[-1] == (" " * len(spans[-1][0]), "text"):
                spans.pop()
            out.append(tuple(spans))
        return out
