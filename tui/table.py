"""Tables as data: columns with fixed widths, rows as cells at known places.

Pure; the grid widget and the first frame draw it.
"""

from __future__ import annotations

from pyctr.tui.format import Glyphs, fit_line, width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from pyctr.tui.format import Line, Span

    Cell = tuple[int, int, Line]
    """Column on the screen, width, content exactly that wide."""


class Look:
    """What cells need besides their row: the glyph set and the time."""

    def __init__(self, glyphs: Glyphs, now: float = 0.0) -> None:
        self.glyphs = glyphs
        self.now = now


class Column:
    """`cell` gives spans (cut or padded to the width), `sort` a comparable key; `grow` shares what is left."""

    def __init__(
        self,
        key: str,
        title: str,
        width: int,
        cell: Callable[[Any, int, Look], Line],
        *,
        align: str = "left",
        sort: Callable[[Any], Any] | None = None,
        descending: bool = False,
        grow: int = 0,
        limit: int = 40,
        gap: int = 2,
        sort_key: str = "",
    ) -> None:
        self.key = key
        self.title = title
        self.width = width
        self.cell = cell
        self.align = align
        self.sort = sort
        self.descending = descending
        """The first press sorts the largest to the top."""
        self.grow = grow
        self.limit = limit
        self.gap = gap
        """Blank cells before it."""
        self.sort_key = sort_key
        """The capital letter that sorts by it."""


class Layout:
    """Where each column goes in a given width."""

    def __init__(self, columns: Sequence[Column], total: int) -> None:
        self.columns = tuple(columns)
        self.total = total
        fixed = sum(column.width for column in columns) + sum(column.gap for column in columns[1:])
        spare = max(0, total - fixed)
        widths = {column.key: column.width for column in columns}
        growing = [column for column in columns if column.grow]
        while spare > 0 and growing:
            share = sum(column.grow for column in growing)
            given = 0
            for column in growing:
                more = min(max(1, spare * column.grow // share), column.limit - widths[column.key], spare - given)
                widths[column.key] += more
                given += more
            spare -= given
            growing = [column for column in growing if widths[column.key] < column.limit]
            if not given:
                break
        self.places: list[tuple[Column, int, int]] = []
        x = 0
        for index, column in enumerate(columns):
            if index:
                x += column.gap
            if x >= total:
                break
            self.places.append((column, x, min(widths[column.key], total - x)))
            x += widths[column.key]

    def heading(self, glyphs: Glyphs, sorted_by: str = "", descending: bool = False) -> Line:
        """The column titles, the sorted one with its arrow."""
        line: list[Span] = []
        x = 0
        for column, start, size in self.places:
            if start > x:
                line.append((" " * (start - x), "heading"))
            title = column.title
            active = column.key == sorted_by and bool(title)
            if active:
                arrow = glyphs.descending if descending else glyphs.ascending
                title = f"{title}{arrow}" if width(title) < size and column.align == "right" else f"{title} {arrow}"
                if width(title) > size:
                    title = column.title[: size - 1] + arrow
            pad = size - width(title)
            text = (" " * pad + title if column.align == "right" else title + " " * pad) if pad >= 0 else title[:size]
            line.append((text, "heading.active" if active else "heading"))
            x = start + size
        return fit_line(line, self.total, fill="heading")

    def cells(self, row: Any, look: Look, note: tuple[str, str, Line] | None = None) -> tuple[Cell, ...]:
        """The row's cells. `note` = (first column, last column, spans) replaces a run of columns by one message."""
        out: list[Cell] = []
        covering = False
        for column, x, size in self.places:
            if note is not None and (covering or column.key == note[0]):
                if not covering:
                    covering = True
                    start = x
                end = x + size
                if column.key == note[1] or column is self.places[-1][0]:
                    out.append((start, end - start, fit_line(note[2], end - start)))
                    covering, note = False, None
                continue
            spans = column.cell(row, size, look)
            if column.align == "right":
                used = sum(width(text) for text, _ in spans)
                if used < size:
                    spans = ((" " * (size - used), "text"), *spans)
            out.append((x, size, fit_line(spans, size)))
        return tuple(out)

    def line(self, cells: Sequence[Cell]) -> Line:
        """Cells joined into one line of the layout's width."""
        line: list[Span] = []
        x = 0
        for start, size, spans in cells:
            if start > x:
                line.append((" " * (start - x), "text"))
            line.extend(spans)
            x = start + size
        if x < self.total:
            line.append((" " * (self.total - x), "text"))
        return tuple(line)
