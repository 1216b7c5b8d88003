"""An area chart over time with its limit as a line, in eighths of a cell."""

from __future__ import annotations

from pyctr.tui.format import Glyphs, duration, fit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyctr.tui.format import Line, Span


def nice_ceiling(value: float, *, binary: bool = False) -> float:
    """The next round number at or above `value`: 1, 2, 5 times a power of ten, or a power of two."""
    if value <= 0:
        return 1024.0 if binary else 1.0
    if binary:
        ceiling = 1024.0
        while ceiling < value:
            ceiling *= 2
        return ceiling
    power = 1.0
    while power * 10 <= value:
        power *= 10
    while power > value:
        power /= 10
    for factor in (1, 2, 5, 10):
        if power * factor >= value:
            return power * factor
    return power * 10


def area(
    values: Sequence[float | None],
    *,
    width: int,
    height: int,
    ceiling: float,
    limit: float | None,
    label: Callable[[float], str],
    span: float,
    glyphs: Glyphs,
    style: str = "chart",
    axis: int = 5,
    end: str = "now",
) -> list[Line]:
    """`height` lines: the plot with labels on the left and, last, the time axis.

    `values` has one entry per plot column, oldest first (None: nothing known then). The limit, if it is
    within the ceiling, is drawn where the area does not reach; columns above it are in the style of a warning.
    """
    rows = height - 1
    plot = width - axis - 1
    if rows < 1 or plot < 4:
        return [((" " * width, "text"),)] * height
    values = list(values)[-plot:]
    values = [None] * (plot - len(values)) + values
    levels = [None if value is None else max(0, min(rows * 8, round(value / ceiling * rows * 8))) for value in values]
    limit_row = None
    if limit is not None and 0 < limit <= ceiling:
        limit_row = rows - 1 - min(rows - 1, max(0, int(limit / ceiling * rows - 0.001)))
    # round values where the eye expects them: the limit itself if there is one, else the ceiling
    top = limit if limit_row is not None and limit is not None else ceiling
    marks = {rows - 1: label(0.0), (0 if limit_row is None else limit_row): label(top)}
    if rows >= 6:
        marks.setdefault(rows - 1 - min(rows - 1, max(0, int(top / 2 / ceiling * rows - 0.001))), label(top / 2))
    corner, side, dash = ("+", "|", "-") if glyphs.ascii else ("┤", "│", "╌")
    lines: list[Line] = []
    for row in range(rows):
        spans: list[Span] = [
            (fit(marks.get(row, ""), axis, "right"), "faint"),
            (corner if row in marks else side, "axis"),
        ]
        floor = (rows - 1 - row) * 8
        for level, value in zip(levels, values, strict=True):
            if level is None or level <= floor:
                if level is not None and row == rows - 1 and value is not None:
                    _add(spans, glyphs.spark[0], style)  # zero is known, nothing is not
                elif row == limit_row:
                    _add(spans, dash, "limit")
                else:
                    _add(spans, " ", "text")
            else:
                part = min(8, level - floor)
                over = limit is not None and value is not None and value >= limit * 0.995
                _add(spans, glyphs.spark[part - 1] if part < 8 else glyphs.full, "chart.over" if over else style)
        lines.append(tuple(spans))
    start = f"-{duration(span)}"
    middle = plot - len(start) - len(end)
    text = start + " " * middle + end if middle > 0 else fit(end, plot, "right")
    lines.append(((" " * (axis + 1), "text"), (text, "faint")))
    return lines


def _add(spans: list[Span], char: str, style: str) -> None:
    """Append to the last span when the style is the same: few spans are fast spans."""
    text, last = spans[-1]
    if last == style:
        spans[-1] = (text + char, style)
    else:
        spans.append((char, style))
