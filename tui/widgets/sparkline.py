"""Eight heights of one cell: the last minute of a value at a glance."""

from __future__ import annotations

from pyctr.tui.format import Glyphs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SPAN = 60.0
"""Seconds that every sparkline covers, whatever its width, so that neighbours compare."""


def buckets(
    points: Sequence[tuple[float, float]], now: float, width: int, span: float = SPAN
) -> tuple[float | None, ...]:
    """Mean of the points (monotonic seconds, value) per cell, oldest first; None where nothing was sampled.

    Cell borders are multiples of span/width on the clock itself: between two borders only the newest cell
    changes, which keeps the picture calm and the line to the terminal quiet.
    """
    step = span / width
    last = int(now // step)
    sums = [0.0] * width
    seen = [0] * width
    for moment, value in points:
        index = int(moment // step) - last + width - 1
        if 0 <= index < width:
            sums[index] += value
            seen[index] += 1
    return tuple(total / number if number else None for total, number in zip(sums, seen, strict=True))


def sparkline(values: Sequence[float | None], ceiling: float, glyphs: Glyphs) -> str:
    """One character per value against a common ceiling; a gap stays blank."""
    top = len(glyphs.spark) - 1
    out = []
    for value in values:
        if value is None:
            out.append(" ")
        else:
            out.append(glyphs.spark[max(0, min(top, int(value / ceiling * (top + 1)))) if ceiling > 0 else 0])
    return "".join(out)
