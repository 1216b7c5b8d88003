"""The live list: fixed column widths, a cursor and marks that stay with their row, thousands of rows.

DataTable redraws a whole table for one changed cell; this one keeps what each visible row looked like and
refreshes only the cells that differ.
"""

from __future__ import annotations

from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from pyctr.tui import format as f
from pyctr.tui.table import Layout
from pyctr.tui.widgets.painted import PaintedLine, look_of, strip, theme_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from pyctr.tui.format import Line
    from pyctr.tui.table import Cell, Column, Look

EDGE = 2
"""Cells left of the first column: the mark and a blank."""


class GridHeading(PaintedLine):
    """The titles over a grid."""

    def __init__(self, grid: Grid, **names: str) -> None:
        super().__init__(**names)
        self._grid = grid

    def compose_line(self, width: int) -> Line:
        grid = self._grid
        layout = grid.current_layout
        heading = layout.heading(look_of(self).glyphs, grid.sorted_by, grid.descending)
        return ((" " * EDGE, "heading"), *heading)

    def on_click(self, event: events.Click) -> None:
        for column, start, size in self._grid.current_layout.places:
            if start <= event.x - EDGE < start + size and column.sort is not None:
                self._grid.post_message(Grid.SortRequested(self._grid, column))
                return


class Grid(ScrollView, can_focus=True):
    """`columns(width)` chooses the columns, `key(row)` names a row for good, `note` may replace cells by a message."""

    DEFAULT_CSS = "Grid { scrollbar-size-vertical: 1; overflow-x: hidden; }"

    class Moved(Message):
        """The cursor is on another row now."""

        def __init__(self, grid: Grid, key: str) -> None:
            super().__init__()
            self.grid = grid
            self.key = key

        @property
        def control(self) -> Grid:
            return self.grid

    class Chosen(Moved):
        """Enter or a double click on a row."""

    class SortRequested(Message):
        """A click on a title."""

        def __init__(self, grid: Grid, column: Column) -> None:
            super().__init__()
            self.grid = grid
            self.column = column

        @property
        def control(self) -> Grid:
            return self.grid

    def __init__(
        self,
        columns: Callable[[int], list[Column]],
        key: Callable[[Any], str],
        *,
        note: Callable[[Any, Look, Layout], tuple[str, str, Line] | None] | None = None,
        empty: Callable[[], Sequence[Line]] | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._columns = columns
        self._key = key
        self._note = note
        self._empty = empty
        self._said: Sequence[Line] | None = None
        """What stands there instead of rows."""
        self.rows: list[Any] = []
        self._index: dict[str, int] = {}
        self.cursor = ""
        self.marks: set[str] = set()
        self.sorted_by = ""
        self.descending = False
        self._layout: Layout | None = None
        self._drawn: dict[int, tuple[str, tuple[Cell, ...], bool, bool]] = {}

    def layout_for(self, total: int) -> Layout:
        width = max(1, total - EDGE)
        if self._layout is None or self._layout.total != width:
            self._layout = Layout(self._columns(width), width)
            self._drawn.clear()
        return self._layout

    @property
    def chosen_columns(self) -> tuple[Column, ...]:
        return self.current_layout.columns

    @property
    def current_layout(self) -> Layout:
        """Where the columns are now."""
        return self.layout_for(self._width())

    def _width(self) -> int:
        # one cell is always kept for the scrollbar, so that columns stay when it comes and goes
        return max(EDGE + 1, self.container_size.width - 1) if self.container_size.width else 80

    @property
    def current(self) -> Any | None:
        """The row under the cursor."""
        index = self._index.get(self.cursor)
        return None if index is None else self.rows[index]

    @property
    def marked(self) -> list[Any]:
        """Marked rows in their order."""
        return [row for row in self.rows if self._key(row) in self.marks]

    def visible_keys(self) -> tuple[str, ...]:
        top = self.scroll_offset.y
        return tuple(self._key(row) for row in self.rows[top : top + self.size.height + 1])

    def show(self, rows: Sequence[Any]) -> None:
        """Take these rows in this order. The cursor stays on its row, or on its line if the row went."""
        line = self._index.get(self.cursor, 0)
        self.rows = list(rows)
        self._index = {self._key(row): number for number, row in enumerate(self.rows)}
        self.marks &= self._index.keys()
        moved = False
        if self.cursor not in self._index:
            self.cursor = self._key(self.rows[min(line, len(self.rows) - 1)]) if self.rows else ""
            moved = True
        size = Size(0, len(self.rows))
        if size != self.virtual_size:
            self.virtual_size = size
            self._drawn.clear()
            self.refresh()
        elif not self.rows:
            # why there is nothing may have changed: still looking, cannot be read, nothing matches
            words = self._empty() if self._empty is not None else ()
            if words != self._said:
                self._said = words
                self.refresh()
        else:
            self._refresh_changed()
        if moved:
            self._keep_in_view()
            self.post_message(self.Moved(self, self.cursor))

    def _refresh_changed(self) -> None:
        top = self.scroll_offset.y
        dirty: list[Region] = []
        for y in range(self.size.height):
            number = top + y
            drawn = self._drawn.get(number)
            if number >= len(self.rows):
                break
            now = self._render_row(number)
            if drawn is None:
                dirty.append(Region(0, y, self.size.width, 1))
                continue
            if now == drawn:
                continue
            self._drawn[number] = now
            if now[0] != drawn[0] or now[2:] != drawn[2:] or len(now[1]) != len(drawn[1]):
                dirty.append(Region(0, y, self.size.width, 1))
                continue
            for before, after in zip(drawn[1], now[1], strict=True):
                if before != after:
                    if before[:2] == after[:2]:
                        dirty.append(Region(EDGE + after[0], y, after[1], 1))
                    else:
                        dirty.append(Region(0, y, self.size.width, 1))
                        break
        if dirty:
            self.refresh(*dirty)

    def _render_row(self, number: int) -> tuple[str, tuple[Cell, ...], bool, bool]:
        row = self.rows[number]
        key = self._key(row)
        layout = self.current_layout
        look = look_of(self)
        note = self._note(row, look, layout) if self._note else None
        return key, layout.cells(row, look, note), key == self.cursor, key in self.marks

    def restyle(self) -> None:
        self._drawn.clear()
        self._layout = None
        self.refresh()

    def on_resize(self) -> None:
        self._keep_in_view()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        number = self.scroll_offset.y + y
        theme = theme_of(self)
        if number >= len(self.rows):
            if not self.rows and self._empty is not None:
                lines = self._empty()
                start = max(0, (self.size.height - len(lines)) // 3)
                if start <= y < start + len(lines):
                    line = lines[y - start]
                    pad = max(0, (width - f.line_width(line)) // 2)
                    return strip(((" " * pad, "text"), *line), theme, width)
            return strip((), theme, width)
        drawn = self._render_row(number)
        if len(self._drawn) > 4 * max(20, self.size.height):
            self._drawn.clear()
        self._drawn[number] = drawn
        _, cells, current, marked = drawn
        layout = self.current_layout
        over = "" if not current else "cursor" if self.has_focus else "cursor.idle"
        glyphs = look_of(self).glyphs
        edge = (glyphs.mark, "mark") if marked else (" ", "text")
        return strip((edge, (" ", "text"), *layout.line(cells)), theme, width, over)

    def move(self, to: int) -> None:
        """Put the cursor on a line."""
        if not self.rows:
            return
        number = max(0, min(len(self.rows) - 1, to))
        key = self._key(self.rows[number])
        if key == self.cursor:
            return
        before = self._index.get(self.cursor)
        self.cursor = key
        top = self.scroll_offset.y
        self.refresh(*(Region(0, line - top, self.size.width, 1) for line in (before, number) if line is not None))
        self._keep_in_view()
        self.post_message(self.Moved(self, key))

    def select(self, key: str) -> None:
        if key in self._index:
            self.move(self._index[key])

    def move_by(self, lines: int) -> None:
        self.move(self._index.get(self.cursor, 0) + lines)

    def page(self, direction: int) -> None:
        self.move_by(direction * max(1, self.size.height - 1))

    def toggle_mark(self) -> None:
        """Mark or unmark the row under the cursor and go on to the next."""
        if not self.cursor:
            return
        self.marks ^= {self.cursor}
        line = self._index[self.cursor]
        self.refresh(Region(0, line - self.scroll_offset.y, self.size.width, 1))
        self.move_by(1)

    def clear_marks(self) -> None:
        if self.marks:
            self.marks = set()
            self.refresh()

    def _keep_in_view(self) -> None:
        line = self._index.get(self.cursor)
        height = self.size.height
        if line is None or not height:
            return
        top = self.scroll_offset.y
        if line < top:
            self.scroll_to(y=line, animate=False, force=True)
        elif line >= top + height:
            self.scroll_to(y=line - height + 1, animate=False, force=True)

    def on_click(self, event: events.Click) -> None:
        number = self.scroll_offset.y + event.y
        if number >= len(self.rows):
            return
        self.move(number)
        if event.chain == 2:
            self.post_message(self.Chosen(self, self.cursor))
