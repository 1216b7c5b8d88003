"""`pyctr posture`."""

from __future__ import annotations

from pyctr.cli import output
from pyctr.core import confinement, containers, posture, targets
from pyctr.core.errors import IllegalTransition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call
    from pyctr.core.posture import Finding
    from pyctr.core.targets import Target

_COLUMNS = (("Name", "NAME"), ("Bad", "BAD"), ("Warn", "WARN"), ("Note", "NOTE"), ("Good", "GOOD"), ("Worst", "WORST"))
_ENGINE = (("Engine", "ENGINE"),)
_FINDINGS = (("Level", "LEVEL"), ("Title", "FINDING"), ("Evidence", "EVIDENCE"), ("Fix", "FIX"))


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("containers", nargs="*", metavar="CONTAINER", help="every finding of these, of any engine, such as docker:web")
    add("-A", "--all-engines", action="store_true", help="docker's, podman's, Kubernetes' ... too")
    add("--engine", metavar="NAME,...", help="those of these engines: pyctr, docker, podman, ... or all")
    add("--format", metavar="FORMAT", help="json, table, or a Go template")


def run(call: Call, args: Arguments) -> int:
    if not args.containers:
        others = bool(args.all_engines or args.engine)
        rated = [(one, found) for one in _running(call, args) if (found := _judged(call, one)) is not None]
        rated.sort(key=lambda pair: (*(-_counted(pair[1], level) for level in posture.LEVELS[:-1]), pair[0].name))
        columns = (*_COLUMNS[:1], *(_ENGINE if others else ()), *_COLUMNS[1:])
        output.listing([_summary(one, found) for one, found in rated], columns, args.format)
        return 0
    asked = [targets.find(call.engine, name) for name in args.containers]
    for number, one in enumerate(asked):
        findings = _judged(call, one)
        if findings is None:
            raise IllegalTransition(
                f"container '{one.name}' {_state(call, one)}: there is nothing to look at",
                hint=f"pyctr start {one.name}" if one.ours else "its engine starts it",
            )
        if len(asked) > 1 and not args.format:
            output.write(("\n" if number else "") + output.terminal_safe(one.name))
        output.listing([_finding(one, finding) for finding in findings], _FINDINGS, args.format)
    return 0


def _state(call: Call, one: Target) -> str:
    return f"is {containers.find(call.engine, one.id).status}" if one.ours else "does not run"


def _running(call: Call, args: Arguments) -> list[Target]:
    from pyctr.cli import others

    wanted = others.wanted(args)
    found = [targets.of(one) for one in containers.all(call.engine) if one.pid] if targets.OURS in wanted else []
    if args.all_engines or args.engine:
        from pyctr.core.engines import lookup

        found += [targets.foreign(one) for one in lookup.look(call.engine, wanted)[0] if one.pid and not one.infra]
    return found


def _judged(call: Call, one: Target) -> tuple[Finding, ...] | None:
    """None of one that does not run, or has ended while we looked."""
    if not one.pid:
        return None
    try:
        return posture.judge(confinement.of(call.engine, one.pid, one.group))
    except (FileNotFoundError, ProcessLookupError):
        return None


def _counted(findings: tuple[Finding, ...], level: str) -> int:
    return sum(finding.level == level for finding in findings)


def _summary(one: Target, found: tuple[Finding, ...]) -> dict[str, Any]:
    counts = {level.capitalize(): _counted(found, level) for level in posture.LEVELS}
    worst = found[0].title if found and found[0].level != posture.GOOD else "-"
    return {"ID": one.id, "Name": one.name, "Engine": one.engine, **counts, "Worst": worst}


def _finding(one: Target, finding: Finding) -> dict[str, Any]:
    fields = {name.capitalize(): value for name, value in finding._asdict().items()}
    return {"ID": one.id, "Name": one.name, "Engine": one.engine, **fields}
