"""Bars against a limit. Without a limit there is no bar: the caller shows the number alone."""

from __future__ import annotations

from pyctr.tui.format import Glyphs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.tui.format import Line

WARN, BAD = 75.0, 90.0


def judge(percent: float | None, *, warn: float = WARN, bad: float = BAD) -> str:
    """good, warn or bad: the only three judgements there are."""
    if percent is None or percent < warn:
        return "good"
    return "bad" if percent >= bad else "warn"


def meter(percent: float | None, width: int, glyphs: Glyphs, *, warn: float = WARN, bad: float = BAD) -> Line:
    """A bar of `width` cells in steps of an eighth, on a track; blank when nothing is known."""
    if percent is None:
        return ((" " * width, "text"),)
    eighths = max(0, min(width * 8, round(percent * width * 8 / 100)))
    if percent > 0 and eighths == 0:
        eighths = 1  # something is not nothing
    whole, part = divmod(eighths, 8)
    filled = glyphs.full * whole + glyphs.eighths[part]
    style = {"good": "bar", "warn": "bar.warn", "bad": "bar.bad"}[judge(percent, warn=warn, bad=bad)]
    rest = width - len(filled)
    return ((filled, style), (glyphs.rest * rest, "track")) if rest else ((filled, style),)
