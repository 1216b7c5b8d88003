"""The host's own past: CPU, memory, pressure, load, in a ring (`ring`) as each container has one.

    <root>/host-history

Whoever records writes it, the shim that does so for all containers and `pyctr record`: a record's place follows from
its time, so two writers only write the same twice. A start path module: shims use it.
"""

from __future__ import annotations

from pyctr.core import ring
from pyctr.core.cgroupstats import Sample

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.cgroupstats import HostSample
    from pyctr.core.paths import Paths
    from pyctr.core.redo import Redo

FILE = "host-history"


def place(paths: Paths) -> str:
    return f"{paths.root}/{FILE}"


def sample_of(host: HostSample) -> Sample:
    """The host as one container whose limits are what it has: `cpu_percent_of_limit` is of all its processors."""
    sample = Sample()
    sample.cpu_usage_us, sample.cpu_user_us, sample.cpu_system_us = (
        host.cpu_busy_us, host.cpu_user_us, host.cpu_system_us,
    )  # fmt: skip
    sample.cpu_limit = None if host.cpus is None else float(host.cpus)
    sample.memory_current = sample.memory_working_set = host.memory_used
    sample.memory_limit, sample.memory_swap = host.memory_total, host.swap_used
    sample.pids = host.tasks
    sample.psi = host.psi
    sample.load = host.load[0] if host.load is not None else None
    return sample


class Writer:
    """Puts the host into its ring. `boot` as in every ring."""

    def __init__(self, paths: Paths, boot: int, redo: Redo | None = None) -> None:
        self._ring = ring.Writer(place(paths), redo)
        self._boot = boot

    def add(self, wall: float, since_boot: float, host: HostSample) -> None:
        """`wall` in seconds since the epoch, `since_boot` by CLOCK_BOOTTIME. Raises OSError."""
        sample = sample_of(host)
        sample.monotonic = since_boot
        self._ring.add(wall, self._boot, 1, sample)
