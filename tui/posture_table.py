"""How well containers are shut in as rows of a grid, and the gaps of one of them in lines."""

from __future__ import annotations

from pyctr.core import posture
from pyctr.tui import format as f
from pyctr.tui import pattern
from pyctr.tui.details.security import STYLES, WIDE, beside
from pyctr.tui.preview import wrap
from pyctr.tui.table import Column

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.tui.format import Line
    from pyctr.tui.sources.posture import Rated
    from pyctr.tui.table import Look

_HEIGHTS = {posture.BAD: 7, posture.WARN: 4, posture.NOTE: 1, posture.GOOD: 0}
"""Of eighths, in the row's picture of its findings."""
_SHAPE = 16


class PostureFilter:
    """`web` in a name, image or gap; `!web` inverts; `engine:docker`, `level:bad`, `kind:socket` look in one place."""

    FIELDS = ("name", "image", "engine", "pod", "status", "level", "kind")

    def __init__(self, text: str = "") -> None:
        self.text = text.strip()
        body = self.text.removeprefix("!")
        self._invert = body != self.text
        field, colon, rest = body.partition(":")
        self._field = field if colon and field in self.FIELDS else ""
        self._pattern = pattern.compile(rest if self._field else body)

    def __bool__(self) -> bool:
        return self._pattern is not None

    def keeps(self, one: Rated) -> bool:
        if self._pattern is None:
            return True
        if self._field in ("level", "kind"):
            texts = [getattr(gap, self._field) for gap in one.gaps]
        elif self._field:
            texts = [getattr(one, self._field) or ("pyctr" if self._field == "engine" else "")]
        else:
            texts = [one.name, one.image, *(gap.title for gap in one.gaps)]
        return any(self._pattern.search(text) for text in texts) != self._invert


def _glyph(one: Rated, width: int, look: Look) -> Line:
    level = posture.worst(one.findings)
    return ((look.glyphs.state(one.status, failed=one.failed), STYLES[level]),)


def _name(one: Rated, width: int, look: Look) -> Line:
    return ((f.cut(f.neutral(one.name), width, look.glyphs.ellipsis), "strong"),)


def _engine(one: Rated, width: int, look: Look) -> Line:
    return ((f.cut(one.engine or "pyctr", width, look.glyphs.ellipsis), "muted" if one.engine else "faint"),)


def _counted(level: str, gap: int) -> Column:
    def cell(one: Rated, width: int, look: Look) -> Line:
        number = one.count(level)
        return ((str(number), STYLES[level] if number else "faint"),)

    def sort(one: Rated) -> int:
        return one.count(level)

    return Column(level, level.upper(), 4, cell, align="right", gap=gap, sort=sort, descending=True)


def _shape(one: Rated, width: int, look: Look) -> Line:
    """A bar for every finding, the worse the higher."""
    return tuple((look.glyphs.spark[_HEIGHTS[gap.level]], STYLES[gap.level]) for gap in one.findings[:width])


def _worst(one: Rated, width: int, look: Look) -> Line:
    if not one.gaps:
        return (("nothing to mend", "good"),)
    worst = one.gaps[0]
    title = f.cut(worst.title, width, look.glyphs.ellipsis)
    room = width - f.width(title) - 2
    evidence = (
        f"  {f.cut(f.neutral(worst.evidence), room, look.glyphs.ellipsis)}" if room > 8 and worst.evidence else ""
    )
    return ((title, STYLES[worst.level]), (evidence, "muted"))


def _fix(one: Rated, width: int, look: Look) -> Line:
    text = f.neutral(one.gaps[0].fix) if one.gaps else ""
    return ((f.cut(text, width, look.glyphs.ellipsis), "accent"),)


def columns(width: int, look: Look, *, engines: bool = False) -> list[Column]:
    """`engines`: not all of them are ours."""
    chosen = [
        Column("glyph", "", 1, _glyph),
        Column("name", "NAME", 12, _name, grow=1, limit=32, gap=1, sort=lambda one: one.name),
    ]
    if engines:
        chosen.append(
            Column("engine", "ENGINE", 11 if width >= 110 else 6, _engine, gap=1, sort=lambda one: one.engine)
        )
    chosen += [_counted(level, 2 if width >= WIDE else 1) for level in posture.LEVELS]
    if width >= WIDE:
        chosen.append(Column("shape", "", _SHAPE, _shape, gap=3))
    chosen.append(Column("worst", "WORST", 24, _worst, grow=3, limit=90))
    if width >= WIDE:
        chosen.append(Column("fix", "WHAT WOULD MEND IT", 22, _fix, grow=2, limit=60))
    return chosen


def lines(one: Rated, width: int, look: Look) -> list[Line]:
    """Every gap with its evidence and the flag that would mend it; then what holds."""
    gaps = one.gaps
    out: list[Line] = []
    if gaps:
        out += beside(gaps, width) if width >= WIDE else _short(one, width, look)
    else:
        out.append((("nothing to mend: every practice is kept", "good"),))
    held = [finding.title for finding in one.findings if finding.level == posture.GOOD]
    if held:
        text = f" {look.glyphs.dot} ".join(held)
        out.append(())
        first = "holds "
        out += [
            ((first if not place else " " * len(first), STYLES[posture.GOOD]), (line, "faint"))
            for place, line in enumerate(wrap(text, width - len(first)))
        ]
    if one.partial:
        out.append((("not everything could be looked at: what is missing here is not judged", "warn"),))
    return out


def _short(one: Rated, width: int, look: Look) -> list[Line]:
    """A line each: what, and at the right how to mend it."""
    right = min(max(f.width(f.neutral(gap.fix)) for gap in one.gaps), width * 4 // 10)
    left = width - 6 - right - 2
    out: list[Line] = []
    for gap in one.gaps:
        title = f.cut(gap.title, left, look.glyphs.ellipsis)
        room = left - f.width(title) - 2
        evidence = (
            f"  {f.cut(f.neutral(gap.evidence), room, look.glyphs.ellipsis)}" if room > 3 and gap.evidence else ""
        )
        body = f.fit_line([(title, "strong"), (evidence, "text")], left)
        fix = f.cut(f.neutral(gap.fix), right, look.glyphs.ellipsis)
        out.append(((f.fit(gap.level, 6), STYLES[gap.level]), *body, ("  ", "text"), (fix, "accent")))
    return out
