"""What a container used in the past, from its ring: readings of counters -> moments with rates.

Between two readings of one incarnation that follow each other the rates are exact means. Across a gap (the host was
off, nobody recorded), a restart or a reset there are none, and the moment after it says so.
"""

from __future__ import annotations

from pyctr.core import ring
from pyctr.core.cgroups.fields import delta
from pyctr.core.cgroupstats import Rates, rates

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from pyctr.core.ring import Reading

PATIENCE = 2.5
"""Steps of a tier after which what comes next is beyond a gap."""
_REACH = float(ring.TIERS[-1][0])
"""Seconds before a window in which the reading lies that its first rates are measured from."""


class Moment:
    """A container at one time. `rates.interval` are the seconds its rates are the mean of, 0 if it has none."""

    __slots__ = ("gap", "pid", "rates", "time")

    def __init__(self, time: float, pid: int, gap: bool, rates: Rates) -> None:
        self.time = time
        """Seconds since the epoch."""
        self.pid = pid
        self.gap = gap
        """Nothing is known of the time just before."""
        self.rates = rates
        """`psi_...` are the percent of the interval in which something waited."""

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; values that are not known are null."""
        values = self.rates.to_dict()
        return {"time": self.time, "pid": self.pid, "gap": self.gap, **values}


def read(path: str, since: float = 0.0, until: float = float("inf")) -> list[Moment]:
    """The moments in [since, until] that a container's ring knows of, oldest first. Raises OSError."""
    found = moments(ring.read(path, since - _REACH, until))
    return [moment for moment in found if moment.time >= since]


def moments(readings: Iterable[Reading]) -> list[Moment]:
    """What happened between readings, which come oldest first."""
    found: list[Moment] = []
    before: Reading | None = None
    for reading in readings:
        apart = before is not None and (reading.pid, reading.boot) != (before.pid, before.boot)
        late = before is not None and reading.time - before.time > PATIENCE * max(before.step, reading.step)
        if before is None or apart or late:
            got = rates(reading.sample, reading.sample)
            _no_pressure(got)
            found.append(Moment(reading.time, reading.pid, late, got))
        else:
            got = rates(before.sample, reading.sample)
            _pressure(got, before, reading)
            found.append(Moment(reading.time, reading.pid, False, got))
        before = reading
    return found


def _no_pressure(got: Rates) -> None:
    got.psi_cpu = got.psi_memory = got.psi_io = None


def _pressure(got: Rates, before: Reading, after: Reading) -> None:
    """From the totals: averages of ten seconds say nothing of an interval of ten minutes."""
    _no_pressure(got)
    if got.interval <= 0:
        return
    for resource in ("cpu", "memory", "io"):
        first, second = ((one.sample.psi or {}).get(resource) for one in (before, after))
        waited = delta(first[2] if first else None, second[2] if second else None)
        if waited is not None:
            setattr(got, f"psi_{resource}", min(waited / got.interval / 10_000, 100.0))


HIGHEST = (
    "memory_current", "memory_working_set", "memory_anon", "memory_swap", "memory_limit", "memory_percent_of_limit",
    "pids", "pids_limit", "processes", "threads", "open_files", "waiting", "stuck", "layer", "log",
)  # fmt: skip
"""Of which an interval shows the peak; of the others it shows the mean, and of what is in SUMS the sum."""
SUMS = ("oom_kills", "pids_failures")


def thin(found: Sequence[Moment], count: int) -> list[Moment]:
    """At most `count` moments: neighbours within one incarnation, without a gap between them, made one."""
    each = max(1, -(-len(found) // count))
    out: list[Moment] = []
    group: list[Moment] = []
    for moment in found:
        if group and (len(group) >= each or moment.gap or moment.pid != group[-1].pid):
            out.append(_merged(group))
            group = []
        group.append(moment)
    if group:
        out.append(_merged(group))
    return out


def _merged(group: list[Moment]) -> Moment:
    if len(group) == 1:
        return group[0]
    together = Rates()
    together.interval = sum(moment.rates.interval for moment in group)
    for name in Rates.__annotations__:
        if name == "interval":
            continue
        values = [(value, one.rates.interval) for one in group if (value := getattr(one.rates, name)) is not None]
        if not values:
            continue
        if name in HIGHEST:
            setattr(together, name, max(value for value, _ in values))
        elif name in SUMS:
            setattr(together, name, sum(value for value, _ in values))
        else:
            weight = sum(interval for _, interval in values)
            setattr(together, name, sum(value * interval for value, interval in values) / weight if weight else None)
    return Moment(group[-1].time, group[-1].pid, group[0].gap, together)
