"""Lines of (text, style name) on the screen: what every live widget here is made of.

Textual asks for single lines (its Line API); a widget says which regions changed, and only these go to the terminal.
"""

from __future__ import annotations

from rich.segment import Segment
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from pyctr.tui import format as f
from pyctr.tui.theming import Theme

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyctr.tui.format import Line
    from pyctr.tui.table import Look


def theme_of(widget: Widget) -> Theme:
    """The app's theme in our words."""
    return widget.app.palette  # type: ignore[attr-defined,no-any-return]


def look_of(widget: Widget) -> Look:
    return widget.app.look  # type: ignore[attr-defined,no-any-return]


def strip(
    line: Iterable[tuple[str, str]], theme: Theme, width: int, over: str = "", ground: str = "background"
) -> Strip:
    """One line of exactly `width` cells; `over` is the style of a cursor below it, `ground` the role below that."""
    segments = [Segment(text, theme.rich(style, over, ground)) for text, style in f.fit_line(line, width)]
    if theme.ascii:
        segments = [Segment(f.ascii_only(text), style) for text, style, _ in segments]
    return Strip(segments, width)


GAP = 8
"""Unchanged cells between two changed ones that are cheaper to send again than to jump over."""


def changed_runs(old: Line | None, new: Line) -> list[tuple[int, int]]:
    """(first, one past last) cell of every run in which two lines differ."""
    if old is None:
        return [(0, f.line_width(new))]
    if old == new:
        return []
    before, after = _cells(old), _cells(new)
    if len(before) != len(after):
        return [(0, max(len(before), len(after)))]
    runs: list[tuple[int, int]] = []
    for place, (one, two) in enumerate(zip(before, after, strict=True)):
        if one != two:
            if runs and place - runs[-1][1] < GAP:
                runs[-1] = (runs[-1][0], place + 1)
            else:
                runs.append((place, place + 1))
    return runs


def _cells(line: Line) -> list[tuple[str, str]]:
    out = []
    for text, style in line:
        for char in text:
            size = f.width(char)
            out.append((char, style))
            out.extend([("", style)] * (size - 1))
    return out


class PaintedLine(Widget):
    """One line, drawn anew only where it changed."""

    DEFAULT_CSS = "PaintedLine { height: 1; width: 1fr; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._line: Line = ()
        self.ground = "background"

    def compose_line(self, width: int) -> Line:
        """The line for a width; what a subclass gives."""
        return self._line

    def update_line(self) -> None:
        """Look again, and redraw the changed cells."""
        width = self.size.width
        if not width:
            return
        new = f.fit_line(self.compose_line(width), width)
        runs = changed_runs(self._line or None, new)
        if runs:
            self._line = new
            self.refresh(*(Region(start, 0, end - start, 1) for start, end in runs))

    def on_resize(self) -> None:
        self._line = f.fit_line(self.compose_line(self.size.width), self.size.width)
        self.refresh()

    def restyle(self) -> None:
        """The theme changed."""
        self.refresh()

    def render_line(self, y: int) -> Strip:
        if f.line_width(self._line) != self.size.width:
            self._line = f.fit_line(self.compose_line(self.size.width), self.size.width)
        return strip(self._line, theme_of(self), self.size.width, ground=self.ground)


class PaintedLines(ScrollView, can_focus=True):
    """A block of lines that scrolls; `show` redraws only the lines, and the cells in them, that changed."""

    DEFAULT_CSS = "PaintedLines { scrollbar-size: 1 1; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.lines: tuple[Line, ...] = ()
        self.ground = "background"

    def show(self, lines: Sequence[Line]) -> None:
        old, self.lines = self.lines, tuple(lines)
        widest = max((f.line_width(line) for line in self.lines), default=0)
        size = Size(widest, len(self.lines))
        if size != self.virtual_size:
            self.virtual_size = size
            self.refresh()
            return
        top, height = self.scroll_offset.y, self.size.height
        width = max(self.size.width, widest)
        dirty = []
        for y in range(top, min(top + height, len(self.lines))):
            if old[y] == self.lines[y]:
                continue
            for start, end in changed_runs(f.fit_line(old[y], width), f.fit_line(self.lines[y], width)):
                dirty.append(Region(start - self.scroll_offset.x, y - top, end - start, 1))
        if dirty:
            self.refresh(*dirty)

    def restyle(self) -> None:
        self.refresh()

    def render_line(self, y: int) -> Strip:
        x, top = self.scroll_offset
        width = self.size.width
        if top + y >= len(self.lines):
            return strip((), theme_of(self), width, ground=self.ground)
        line = self.lines[top + y]
        full = strip(line, theme_of(self), max(f.line_width(line), x + width), ground=self.ground)
        return full.crop(x, x + width)
