"""The header's row: CPU, memory, pressure and load of the whole host."""

from __future__ import annotations

import os

from pyctr.core import errors
from pyctr.tui.snapshot import HostRow
from pyctr.tui.widgets.sparkline import buckets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyctr.core.cgroups.host import HostSample
    from pyctr.core.cgroupstats import Sampler

SPARK_CELLS = 8


class HostReader:
    """Keeps the sample before, which rates are measured against."""

    def __init__(self, proc: str, sampler: Callable[[], Sampler]) -> None:
        self._proc = proc
        self._sampler = sampler
        self._before: HostSample | None = None
        self._history: list[tuple[float, float]] = []
        self._last = HostRow()

    def look(self, moment: float) -> HostRow:
        """The host at the monotonic `moment`; the last good row where it cannot be read."""
        from pyctr.core import cgroupstats

        try:
            sample = self._sampler().sample_host()
        except (OSError, errors.PyctrError, ValueError):
            return self._last
        before = self._before or sample
        rates = cgroupstats.host_rates(before, sample)
        cpu = self._last.cpu
        if before is sample or sample.monotonic - before.monotonic >= 0.2:
            self._before, cpu = sample, rates.cpu_percent
            if cpu is not None:
                self._history.append((moment, cpu))
                del self._history[:-90]
        pressure = sample.psi or {}
        self._last = HostRow(
            name=_hostname(self._proc),
            cpus=sample.cpus,
            cpu=cpu,
            cpu_spark=buckets(self._history, moment, SPARK_CELLS),
            memory=sample.memory_used,
            memory_total=sample.memory_total,
            memory_percent=(
                sample.memory_used * 100 / sample.memory_total if sample.memory_used and sample.memory_total else None
            ),
            psi_cpu=pressure["cpu"][0] if "cpu" in pressure else None,
            psi_memory=pressure["memory"][0] if "memory" in pressure else None,
            psi_io=pressure["io"][0] if "io" in pressure else None,
            load=sample.load[0] if sample.load else None,
        )
        return self._last


def _hostname(proc: str) -> str:
    try:
        with open(f"{proc}/sys/kernel/hostname") as file:
            return file.read().strip()
    except OSError:
        return os.uname().nodename
