"""How well every running container is shut in, of whatever engine: the kernel's word, judged, the worst first."""

from __future__ import annotations

from typing import NamedTuple

from pyctr.core import confinement, posture

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.engine import Engine
    from pyctr.core.posture import Finding
    from pyctr.tui.snapshot import ContainerRow
    from pyctr.tui.sources import Seen

AGAIN = 100
"""Containers whose look is oldest that are looked at again in one look, 3 ms each; new ones always are."""


class Rated(NamedTuple):
    """A container, and what was found about it, the worst first."""

    id: str
    name: str
    status: str
    failed: bool
    engine: str
    """Whose it is; "" for ours."""
    image: str
    pod: str
    pid: int
    findings: tuple[Finding, ...]
    partial: bool = False
    """This user may not look at everything."""
    taken: float = 0.0
    """Epoch seconds."""

    def count(self, level: str) -> int:
        return sum(finding.level == level for finding in self.findings)

    @property
    def gaps(self) -> tuple[Finding, ...]:
        """What is not as it should be."""
        return tuple(finding for finding in self.findings if finding.level != posture.GOOD)


class Ratings(NamedTuple):
    rated: tuple[Rated, ...] = ()
    resting: int = 0
    """Containers that do not run: nothing confines them, nothing needs to."""


def collect(engine: Engine, seen: Seen, before: object) -> object:
    old = {one.id: one for one in before.rated} if isinstance(before, Ratings) else {}
    alive = [row for row in seen.rows.values() if row.live and row.pid]
    known = [row for row in alive if row.id in old and old[row.id].pid == row.pid]
    known.sort(key=lambda row: old[row.id].taken)
    kept = {row.id for row in known[AGAIN:]}
    found = []
    for row in alive:
        if row.id in kept:
            findings, partial, taken = old[row.id].findings, old[row.id].partial, old[row.id].taken
        else:
            try:
                it = confinement.of(engine, row.pid, seen.groups.get(row.id, ""))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended while we looked
            findings, partial, taken = posture.judge(it), it.shared is None or it.mounts is None, seen.time
        found.append(_rated(row, findings, partial, taken))
    found.sort(key=lambda one: (*(-one.count(level) for level in posture.LEVELS[:-1]), one.name, one.id))
    return Ratings(tuple(found), len(seen.rows) - len(alive))


def _rated(row: ContainerRow, findings: tuple[Finding, ...], partial: bool, taken: float) -> Rated:
    return Rated(
        id=row.id,
        name=row.name,
        status=row.status,
        failed=row.failed,
        engine=row.engine,
        image=row.image,
        pod=row.pod,
        pid=row.pid,
        findings=findings,
        partial=partial,
        taken=taken,
    )
