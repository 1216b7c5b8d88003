"""Who is sick as rows of a grid, and what is known about one of them in lines."""

from __future__ import annotations

from pyctr.tui import format as f
from pyctr.tui.preview import wrap
from pyctr.tui.table import Column

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.triage import Diagnosis, Fact
    from pyctr.tui.format import Line, Span
    from pyctr.tui.sources.triage import Case
    from pyctr.tui.table import Look

GRAVE, GRAVER = 50, 70
"""Ranks from which on a diagnosis is a warning, and bad."""


def style(diagnosis: Diagnosis) -> str:
    if diagnosis.rank >= GRAVER:
        return "bad"
    return "warn" if diagnosis.rank >= GRAVE else "muted"


def fact(known: Fact) -> str:
    """`psi cpu 38%`, `limit 256M`, `last 12s ago`"""
    value = known.value
    if isinstance(value, str):
        shown = f.neutral(value)
    elif known.unit == "bytes":
        shown = f.size(value)
    elif known.unit == "percent":
        shown = f"{value:.0f}%"
    elif known.unit == "cores":
        shown = f"{value:.1f} cores"
    elif known.unit == "duration":
        shown = f.duration(max(0.0, value))
    elif known.unit == "seconds":
        shown = f"{f.duration(max(0.0, value))} ago"
    else:
        shown = f"{value:.0f}"
    return f"{known.name} {shown}"


def since(diagnosis: Diagnosis, now: float) -> str:
    """`3m`; `?` for what was there when we came."""
    return f.duration(max(0.0, now - diagnosis.since)) if diagnosis.since else "?"


def _glyph(case: Case, width: int, look: Look) -> Line:
    return ((look.glyphs.state(case.status, failed=case.failed), style(case.worst)),)


def _name(case: Case, width: int, look: Look) -> Line:
    return ((f.cut(f.neutral(case.name), width, look.glyphs.ellipsis), "strong"),)


def _engine(case: Case, width: int, look: Look) -> Line:
    return ((f.cut(case.engine or "pyctr", width, look.glyphs.ellipsis), "muted" if case.engine else "faint"),)


def _title(case: Case, width: int, look: Look) -> Line:
    more = f" +{len(case.diagnoses) - 1}" if len(case.diagnoses) > 1 else ""
    return ((case.worst.title, style(case.worst)), (more, "faint"))


def _facts(case: Case, width: int, look: Look) -> Line:
    text = f" {look.glyphs.dot} ".join(map(fact, case.worst.facts))
    return ((f.cut(text, width, look.glyphs.ellipsis), "text"),)


def _since(case: Case, width: int, look: Look) -> Line:
    return ((since(case.worst, look.now), "muted"),)


def columns(width: int, look: Look, *, engines: bool = False) -> list[Column]:
    """`engines`: not all of them are ours."""
    return [
        Column("glyph", "", 1, _glyph),
        Column("name", "NAME", 12, _name, grow=1, limit=32, gap=1),
        *([Column("engine", "ENGINE", 11 if width >= 110 else 6, _engine, gap=1)] if engines else []),
        Column("verdict", "VERDICT", 18, _title),
        Column("since", "FOR", 4, _since, align="right"),
        Column("facts", "EVIDENCE", 24, _facts, grow=4, limit=160),
    ]


def lines(case: Case, keys: dict[str, str], width: int, look: Look) -> list[Line]:
    """Every diagnosis: what, since when, the numbers, why, and what helps. `keys` are acts -> keys."""
    out: list[Line] = []
    for diagnosis in case.diagnoses:
        when = f"for {since(diagnosis, look.now)}" if diagnosis.since else "since before this program looked"
        out.append(((diagnosis.title, style(diagnosis)), ("  ", "text"), (when, "muted")))
        if diagnosis.facts:
            text = f" {look.glyphs.dot} ".join(map(fact, diagnosis.facts))
            out += [(("  ", "text"), (line, "text")) for line in wrap(text, width - 2)]
        out.append((("  ", "text"), (f.cut(diagnosis.why, width - 2, look.glyphs.ellipsis), "muted")))
        helps: list[Span] = [("  ", "text")]
        for act, what in diagnosis.helps:
            if act in keys or not case.engine:  # another engine's is not changed from here
                helps += [(keys.get(act, "?"), "key"), (f" {what}   ", "text")]
        out.append(f.fit_line(helps, width))
        out.append(())
    return out[:-1]
