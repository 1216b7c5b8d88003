"""`pyctr posture`."""

from __future__ import annotations

from pyctr.cli import output
from pyctr.core import confinement, containers, posture
from pyctr.core.errors import IllegalTransition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call
    from pyctr.core.containers import Container
    from pyctr.core.posture import Finding

_COLUMNS = (("Name", "NAME"), ("Bad", "BAD"), ("Warn", "WARN"), ("Note", "NOTE"), ("Good", "GOOD"), ("Worst", "WORST"))
_FINDINGS = (("Level", "LEVEL"), ("Title", "FINDING"), ("Evidence", "EVIDENCE"), ("Fix", "FIX"))


def configure(parser: Declares) -> None:
    parser.add_argument("containers", nargs="*", metavar="CONTAINER", help="every finding of these")
    parser.add_argument("--format", metavar="FORMAT", help="json, table, or a Go template")


def run(call: Call, args: Arguments) -> int:
    if not args.containers:
        running = [container for container in containers.all(call.engine) if container.pid]
        rows = [_summary(container, found) for container in running if (found := _judged(call, container)) is not None]
        output.listing(rows, _COLUMNS, args.format)
        return 0
    asked = [containers.find(call.engine, name) for name in args.containers]
    for number, container in enumerate(asked):
        found = _judged(call, container)
        if found is None:
            raise IllegalTransition(
                f"container '{container.name}' is {container.status}: there is nothing to look at",
                hint=f"pyctr start {container.name}",
            )
        if len(asked) > 1 and not args.format:
            output.write(("\n" if number else "") + output.terminal_safe(container.name))
        output.listing([_finding(container, finding) for finding in found], _FINDINGS, args.format)
    return 0


def _judged(call: Call, container: Container) -> tuple[Finding, ...] | None:
    """None of one that does not run, or has ended while we looked."""
    if not container.pid:
        return None
    try:
        return posture.judge(confinement.of(call.engine, container.pid, container.state.group))
    except (FileNotFoundError, ProcessLookupError):
        return None


def _summary(container: Container, found: tuple[Finding, ...]) -> dict[str, Any]:
    counts = {level.capitalize(): sum(finding.level == level for finding in found) for level in posture.LEVELS}
    worst = found[0].title if found and found[0].level != posture.GOOD else "-"
    return {"ID": container.id, "Name": container.name, **counts, "Worst": worst}


def _finding(container: Container, finding: Finding) -> dict[str, Any]:
    fields = {name.capitalize(): value for name, value in finding._asdict().items()}
    return {"ID": container.id, "Name": container.name, **fields}
