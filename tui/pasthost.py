"""The machine at another moment: the header's line and the host screen's page, from the host's own ring."""

from __future__ import annotations

from pyctr.core import history, hosthistory, ring
from pyctr.tui.snapshot import HostRow
from pyctr.tui.sources.machine import KEPT, Core, Machine
from pyctr.tui.widgets.sparkline import buckets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.cgroupstats import Sample
    from pyctr.core.paths import Paths
    from pyctr.core.ring import Reading

SPAN = 310.0
"""Seconds that the page shows."""
_BACK = 1300.0
"""Seconds in which its last record is looked for: two of the coarsest tier."""
_CELLS = 8


class Then:
    """What is on record of the host at a moment, seconds since the epoch; `row` has None for what is not."""

    def __init__(self, paths: Paths, name: str, at: float) -> None:
        self.at = at
        self.row = HostRow(name=name)
        self.readings: list[Reading] = []
        self._points: list[tuple[float, float]] = []
        try:
            self.readings = ring.read(hosthistory.place(paths), at - _BACK, at)
        except OSError:
            return  # not ours to read
        moments = history.moments(self.readings)
        if not moments:
            return
        last, step = moments[-1], moments[-1].rates.interval or float(ring.TIERS[0][0])
        if at - last.time > history.PATIENCE * step:
            return  # nobody recorded then
        self._points = [(one.time, share) for one in moments if (share := one.rates.cpu_percent_of_limit) is not None]
        got, sample = last.rates, self.readings[-1].sample
        self.row = HostRow(
            name=name,
            cpus=round(sample.cpu_limit) if sample.cpu_limit else None,
            cpu=got.cpu_percent_of_limit,
            cpu_spark=buckets(self._points, at, _CELLS),
            memory=got.memory_working_set,
            memory_total=got.memory_limit,
            memory_percent=got.memory_percent_of_limit,
            psi_cpu=got.psi_cpu,
            psi_memory=got.psi_memory,
            psi_io=got.psi_io,
            load=got.load,
        )

    def machine(self) -> Machine | None:
        """For the host screen; what it has of single processors, caches and the kernel is not on record."""
        if self.row.memory_total is None:
            return None
        row, sample = self.row, self.readings[-1].sample
        used = self.row.memory or 0.0
        memory = {"MemTotal": int(row.memory_total or 0), "MemAvailable": int((row.memory_total or 0) - used)}
        recent = [one for one in self.readings if one.time >= self.at - SPAN]
        return Machine(
            self.at,
            cores=(Core("all", row.cpu, 0.0),) if row.cpu is not None else (),
            cpus=row.cpus,
            past=self.at,
            memory=memory,
            pressure={kind: found for kind in ("cpu", "memory", "io") if (found := self._pressure(kind))},
            load=None,
            tasks=None,
            uptime=sample.monotonic,
            cpu_points=tuple(point for point in self._points if point[0] >= self.at - SPAN)[-KEPT:],
            memory_points=tuple(
                (one.time, float(one.sample.memory_working_set))
                for one in recent
                if one.sample.memory_working_set is not None
            )[-KEPT:],
        )

    def _pressure(self, kind: str) -> dict[str, tuple[float, float, float]]:
        """Percent of the last 10, 60, 300 seconds, from the totals."""
        found = {}
        for name, part in (("some", 2), ("full", 3)):
            ten, sixty, all = (self._waited(kind, part, window) for window in (10.0, 60.0, 300.0))
            if all is not None:
                # where records are further apart than ten seconds, what they have
                found[name] = (all if ten is None else ten, all if sixty is None else sixty, all)
        return found

    def _waited(self, kind: str, part: int, window: float) -> float | None:
        last = self.readings[-1]
        before = [one for one in self.readings[:-1] if one.boot == last.boot and last.time - one.time <= window + 2.5]
        first = before[0] if before else None
        if first is None:
            return None
        began, ended = _total(first.sample, kind, part), _total(last.sample, kind, part)
        if began is None or ended is None or ended < began:
            return None
        return min((ended - began) / (last.time - first.time) / 10_000, 100.0)


def _total(sample: Sample, kind: str, part: int) -> int | None:
    values = (sample.psi or {}).get(kind)
    total = values[part] if values is not None else None
    return None if total is None else int(total)
