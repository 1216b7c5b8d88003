"""How well it is shut in, as the kernel says, and the flag that would mend each gap."""

from __future__ import annotations

from typing import NamedTuple

from pyctr.core import confinement, posture
from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.core.posture import Finding
    from pyctr.tui.format import Line
    from pyctr.tui.snapshot import ContainerRow, Snapshot
    from pyctr.tui.table import Look

STYLES = {posture.BAD: "bad", posture.WARN: "warn", posture.NOTE: "muted", posture.GOOD: "good"}


WIDE = 100
"""Columns from which on there is room for everything in one line."""


class Judged(NamedTuple):
    findings: tuple[Finding, ...] = ()


def collect(engine: Engine, container: Container, before: object) -> object:
    if not (pid := container.pid):
        return Judged()
    try:
        return Judged(posture.judge(confinement.of(engine, pid, container.state.group)))
    except (FileNotFoundError, ProcessLookupError):
        return Judged()


def render(document: object, row: ContainerRow, snapshot: Snapshot, width: int, height: int, look: Look) -> list[Line]:
    if not isinstance(document, Judged) or not document.findings:
        return [(("there is nothing to look at while it does not run", "faint"),)]
    if width >= WIDE:
        return [summary(document.findings), (), *_beside(document.findings, width)]
    return [summary(document.findings), (), *_below(document.findings, width)]


def summary(findings: tuple[Finding, ...]) -> Line:
    """`2 bad  1 warn  5 good`"""
    spans = []
    for level in posture.LEVELS:
        if number := sum(finding.level == level for finding in findings):
            spans += [(str(number), STYLES[level]), (f" {level}   ", "muted")]
    return tuple(spans)


def _title(finding: Finding) -> tuple[str, str]:
    return finding.title, "faint" if finding.level == posture.GOOD else "strong"


def _beside(findings: tuple[Finding, ...], width: int) -> list[Line]:
    from pyctr.tui.details import table

    headings = [("", 4, "left"), ("FINDING", 31, "left"), ("EVIDENCE", 34, "left"), ("WHAT WOULD MEND IT", 0, "left")]
    rows = [
        [
            (finding.level, STYLES[finding.level]),
            _title(finding),
            (f.neutral(finding.evidence), "text"),
            (f.neutral(finding.fix), "accent"),
        ]
        for finding in findings
    ]
    return table(headings, rows, width)


def _below(findings: tuple[Finding, ...], width: int) -> list[Line]:
    """What would mend it on a line of its own."""
    lines: list[Line] = []
    for finding in findings:
        title, style = _title(finding)
        evidence = f"  {f.neutral(finding.evidence)}" if finding.evidence else ""
        spans = [(f.fit(finding.level, 6), STYLES[finding.level]), (title, style), (evidence, "text")]
        lines.append(f.fit_line(spans, width))
        if finding.fix:
            lines.append(f.fit_line([(" " * 6, "text"), (f.neutral(finding.fix), "accent")], width))
    return lines
