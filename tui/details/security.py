"""How well it is shut in, as the kernel says, and the flag that would mend each gap."""

from __future__ import annotations

from typing import NamedTuple

from pyctr.core import confinement, namespacemap, posture
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


OFTEN = 30.0
"""Seconds between two looks at everybody's namespaces: that takes every engine's records."""


class Judged(NamedTuple):
    findings: tuple[Finding, ...] = ()
    pid: int = 0
    shared: tuple[tuple[str, str], ...] = ()
    """(names of containers, kinds of namespaces that they are in as well)"""
    taken: float = 0.0
    """`Engine.monotonic()` of the look at the namespaces."""


def collect(engine: Engine, container: Container, before: object) -> object:
    if not (pid := container.pid):
        return Judged()
    try:
        findings = posture.judge(confinement.of(engine, pid, container.state.group))
    except (FileNotFoundError, ProcessLookupError):
        return Judged()
    now = engine.monotonic()
    if isinstance(before, Judged) and before.pid == pid and now - before.taken < OFTEN:
        return before._replace(findings=findings)
    return Judged(findings, pid, () if engine.recorded is not None else _shared(engine, pid), now)


def _shared(engine: Engine, pid: int) -> tuple[tuple[str, str], ...]:
    """With other containers in a namespace that is not the host's: that one is shared with the host is a finding."""
    found: dict[str, list[str]] = {}
    spaces, _ = namespacemap.survey(namespacemap.everyone(engine), engine.paths.proc)
    for space in spaces:
        others = [namespacemap.named(one) for one in space.members if one.pid != pid]
        if not space.host and others and len(others) < len(space.members):
            found.setdefault(", ".join(others), []).append(space.kind)
    return tuple((names, ", ".join(kinds)) for names, kinds in found.items())


def render(document: object, row: ContainerRow, snapshot: Snapshot, width: int, height: int, look: Look) -> list[Line]:
    if not isinstance(document, Judged) or not document.findings:
        return [(("there is nothing to look at while it does not run", "faint"),)]
    body = beside(document.findings, width) if width >= WIDE else _below(document.findings, width)
    return [summary(document.findings), *_sharing(document.shared, width), (), *body]


def _sharing(shared: tuple[tuple[str, str], ...], width: int) -> list[Line]:
    """`shares net, ipc with first, docker:db`"""
    return [
        f.fit_line([("shares ", "muted"), (kinds, "strong"), (" with ", "muted"), (f.neutral(names), "accent")], width)
        for names, kinds in shared
    ]


def summary(findings: tuple[Finding, ...]) -> Line:
    """`2 bad  1 warn  5 good`"""
    numbers = [(level, sum(finding.level == level for finding in findings)) for level in posture.LEVELS]
    return f.join([((str(number), STYLES[level]), (f" {level}", "muted")) for level, number in numbers if number])


def _title(finding: Finding) -> tuple[str, str]:
    return finding.title, "faint" if finding.level == posture.GOOD else "strong"


def beside(findings: tuple[Finding, ...], width: int) -> list[Line]:
    """A line each, below titles."""
    from pyctr.tui.details import table

    fixes, titles, evidence = (
        max((f.width(f.neutral(getattr(finding, name))) for finding in findings), default=0)
        for name in ("fix", "title", "evidence")
    )
    # what would mend it is what one came for; what is left belongs to the titles, and then to the evidence
    room = width - 10 - min(max(fixes, 18), 44)
    title = min(max(titles, 24), max(24, room - min(max(evidence, 10), 34)))
    headings = [
        ("", 4, "left"),
        ("FINDING", title, "left"),
        ("EVIDENCE", min(max(evidence, 10), 34, room - title), "left"),
        ("WHAT WOULD MEND IT", 0, "left"),
    ]
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
