"""Cells of (character, style) to draw on in any order, and the lines they make."""

from __future__ import annotations

from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.tui.format import Line

BLANK, PLAIN = " ", "text"
"""The character and the style of a cell on which nothing was drawn."""


class Canvas:
    """As high as what was drawn on it; what does not fit in the width is not drawn."""

    def __init__(self, width: int) -> None:
        self.width = width
        # characters and styles apart: a text is put down by two copies, whatever its length
        self._rows: list[tuple[list[str], list[str]]] = []

    @property
    def height(self) -> int:
        return len(self._rows)

    def _row(self, y: int) -> tuple[list[str], list[str]]:
        while y >= len(self._rows):
            self._rows.append(([BLANK] * self.width, [PLAIN] * self.width))
        return self._rows[y]

    def put(self, x: int, y: int, text: str, style: str) -> int:
        """Write neutral text; the column behind it."""
        chars, styles = self._row(y)
        if x >= 0 and (text.isascii() or (text == text[0] * len(text) and f.width(text[0]) == 1)):
            fits = text[: max(0, self.width - x)]
            end = x + len(fits)
            chars[x:end] = fits
            styles[x:end] = [style] * len(fits)
            return end
        for char in text:
            size = f.width(char)
            if size == 0:
                if 0 < x <= self.width:
                    chars[x - 1] += char
                continue
            if x < 0 or x + size > self.width:
                return x
            chars[x : x + size] = [char, *[""] * (size - 1)]
            styles[x : x + size] = [style] * size
            x += size
        return x

    def line(self, x: int, y: int, spans: Line) -> int:
        for text, style in spans:
            x = self.put(x, y, text, style)
        return x

    def down(self, x: int, y: int, end: int, char: str, style: str) -> None:
        """A line from y to before `end`, only where nothing is."""
        if not 0 <= x < self.width:
            return
        for at in range(y, end):
            chars, styles = self._row(at)
            if chars[x] == BLANK and styles[x] == PLAIN:
                chars[x], styles[x] = char, style

    def lines(self) -> list[Line]:
        out: list[Line] = []
        for chars, styles in self._rows:
            spans: list[tuple[str, str]] = []
            begin, style = 0, ""
            for at, other in enumerate(styles):
                if other is not style and other != style:
                    if begin < at:
                        spans.append(("".join(chars[begin:at]), style))
                    begin, style = at, other
            if begin < len(chars):
                spans.append(("".join(chars[begin:]), style))
            while spans and spans[-1][1] == PLAIN and not spans[-1][0].strip(BLANK):
                spans.pop()
            out.append(tuple(spans))
        return out
