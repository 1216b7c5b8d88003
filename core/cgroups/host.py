"""The host's own counters: what /proc says, and the rates between two samples of it."""

from __future__ import annotations

import os

from pyctr.core.cgroups.fields import Fields, delta

TYPE_CHECKING = False
if TYPE_CHECKING:
    Pressure = tuple[float, float | None, int, int | None]


class HostSample(Fields):
    """The host at one moment, from /proc."""

    monotonic: float = 0.0
    cpus: int | None = None
    """Online CPUs."""
    cpu_busy_us: int | None = None
    """All CPUs together, without idle and iowait."""
    cpu_user_us: int | None = None
    cpu_system_us: int | None = None
    cpu_iowait_us: int | None = None
    cpu_steal_us: int | None = None
    cpu_total_us: int | None = None
    memory_total: int | None = None
    memory_available: int | None = None
    memory_used: int | None = None
    """total - available"""
    memory_cache: int | None = None
    swap_total: int | None = None
    swap_used: int | None = None
    psi: dict[str, Pressure] | None = None
    load: tuple[float, float, float] | None = None
    tasks_running: int | None = None
    tasks: int | None = None
    uptime: float | None = None
    """Seconds."""


class HostRates(Fields):
    """The host between two samples; percent of all CPUs together."""

    interval: float = 0.0
    cpu_percent: float | None = None
    cpu_iowait_percent: float | None = None
    cpu_steal_percent: float | None = None
    memory_percent: float | None = None


def cpu_counters(sample: HostSample, text: bytes) -> None:
    """proc_stat(5): user nice system idle iowait irq softirq steal guest guest_nice in clock ticks."""
    tick = 1_000_000 // os.sysconf("SC_CLK_TCK")
    lines = text.split(b"\n")
    ticks = [int(word) * tick for word in lines[0].split()[1:]]
    user, nice, system, idle, iowait, irq, softirq, steal = (ticks + [0] * 8)[:8]
    sample.cpus = sum(line.startswith(b"cpu") for line in lines) - 1
    sample.cpu_user_us = user + nice
    sample.cpu_system_us = system + irq + softirq
    sample.cpu_iowait_us = iowait
    sample.cpu_steal_us = steal
    sample.cpu_busy_us = user + nice + system + irq + softirq + steal
    sample.cpu_total_us = sample.cpu_busy_us + idle + iowait


def memory_gauges(sample: HostSample, text: bytes) -> None:
    """proc_meminfo(5), in kB."""

    def size(key: bytes) -> int | None:
        start = text.find(key)
        return int(text[start + len(key) :].split(None, 1)[0]) * 1024 if start >= 0 else None

    sample.memory_total = size(b"MemTotal:")
    sample.memory_available = size(b"MemAvailable:")
    if sample.memory_total is not None and sample.memory_available is not None:
        sample.memory_used = sample.memory_total - sample.memory_available
    sample.memory_cache = size(b"\nCached:")
    sample.swap_total = size(b"SwapTotal:")
    free = size(b"SwapFree:")
    if sample.swap_total is not None and free is not None:
        sample.swap_used = sample.swap_total - free


def host_rates(before: HostSample, after: HostSample) -> HostRates:
    """The host's rates between two samples."""
    out = HostRates()
    out.interval = after.monotonic - before.monotonic
    if after.memory_total and after.memory_used is not None:
        out.memory_percent = 100 * after.memory_used / after.memory_total
    total = delta(before.cpu_total_us, after.cpu_total_us)
    if total:
        for name in ("busy", "iowait", "steal"):
            part = delta(getattr(before, f"cpu_{name}_us"), getattr(after, f"cpu_{name}_us"))
            field = "cpu_percent" if name == "busy" else f"cpu_{name}_percent"
            setattr(out, field, None if part is None else min(100 * part / total, 100.0))
    return out
