"""Who was sick at another moment, by the same rules: from the containers' rings and the journal.

What neither has is not judged: what a health check said (the journal has its word), zombies, and disks.
"""

from __future__ import annotations

from pyctr.core.past import pasts
from pyctr.core.triage import Machine, Past, Patient, diagnose
from pyctr.tui.sources.triage import Case, Ward

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyctr.core.cgroupstats import Rates
    from pyctr.core.events import Event
    from pyctr.core.pastevents import Then
    from pyctr.core.thresholds import Thresholds
    from pyctr.tui.snapshot import ContainerRow, HostRow


def ward(
    at: float,
    rows: Sequence[ContainerRow],
    rates: Mapping[str, Rates],
    then: Mapping[str, Then],
    events: Sequence[Event],
    host: HostRow,
    bounds: Thresholds,
) -> Ward:
    """At a moment, seconds since the epoch; `rates` of those that lived then and were recorded."""
    known = pasts({}, (event for event in events if event.time_ns <= at * 1e9), at, bounds.window_seconds)
    machine = Machine(host.cpus, host.cpu)
    cases = []
    for row in rows:
        found = diagnose(
            _patient(row, rates.get(row.id), known.get(row.id, Past()), then.get(row.id)), machine, at, bounds
        )
        if found:
            cases.append(Case(row.id, row.name, row.status, row.failed, found, row.engine))
    cases.sort(key=lambda case: (-case.worst.rank, case.worst.since or at, case.name))
    return Ward(tuple(cases), len(rows) - len(cases))


def _patient(row: ContainerRow, got: Rates | None, past: Past, then: Then | None) -> Patient:
    return Patient(
        row.status,
        got,
        past,
        cpu_limit=row.cpu_limit,
        memory_limit=row.memory_limit,
        health=then.health if then is not None and row.live else "",
        restart=row.restart_policy,
        wanted=row.wanted,
        code=row.exit_code,
        started=row.started_at,
        finished=row.finished_at,
        oom_killed=row.oom_killed,
        waiting=(got.waiting or 0) if got is not None else 0,
        stuck=(got.stuck or 0.0) if got is not None else 0.0,
    )
