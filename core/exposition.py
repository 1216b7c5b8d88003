"""What containers use, as Prometheus and OpenMetrics read it: names and meanings of cAdvisor, base units, counters.

OpenMetrics 1.0 (prometheus.io/docs/specs/om/open_metrics_spec), Prometheus text format 0.0.4. A value that cannot be
known has no line.
"""

from __future__ import annotations

from pyctr import __version__
from pyctr.core import health
from pyctr.core.state import CREATED, DEAD, PAUSED, RESTARTING, RUNNING, STOPPED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from pyctr.core.cgroupstats import Sample
    from pyctr.core.rounds import Vital

    Points = Iterable[tuple[dict[str, str], float]]

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
STATES = (CREATED, RUNNING, PAUSED, RESTARTING, STOPPED, DEAD)


def _value(field: str, scale: float = 1) -> Callable[[Sample], Points]:
    def read(sample: Sample) -> Points:
        value = getattr(sample, field)
        return () if value is None else (({}, value * scale if scale != 1 else value),)

    return read


def _device(column: int) -> Callable[[Sample], Points]:
    return lambda sample: (({"device": name}, values[column]) for name, values in sorted((sample.io or {}).items()))


def _interface(column: int) -> Callable[[Sample], Points]:
    return lambda sample: (
        ({"interface": name}, values[column]) for name, values in sorted((sample.net or {}).items()) if name != "lo"
    )


def _pressure(resource: str, column: int) -> Callable[[Sample], Points]:
    def read(sample: Sample) -> Points:
        found = (sample.psi or {}).get(resource)
        total = found[column] if found is not None else None
        return () if total is None else (({}, total / 1e6),)

    return read


def _killed(sample: Sample) -> Points:
    events = sample.memory_events
    return () if events is None or "oom_kill" not in events else (({}, events["oom_kill"]),)


def _waiting(sample: Sample) -> Points:
    return () if sample.waiting is None else (({"state": "uninterruptible"}, sample.waiting),)


def _quota(sample: Sample) -> Points:
    if sample.cpu_limit is None or not sample.cpu_period_us:
        return ()
    return (({}, round(sample.cpu_limit * sample.cpu_period_us)),)


MICROSECONDS = 1e-6
_SAMPLED: tuple[tuple[str, str, str, str, Callable[[Sample], Points]], ...] = (
    ("container_cpu_usage_seconds", "counter", "seconds", "CPU time taken", _value("cpu_usage_us", MICROSECONDS)),
    ("container_cpu_user_seconds", "counter", "seconds", "CPU time in user mode", _value("cpu_user_us", MICROSECONDS)),
    ("container_cpu_system_seconds", "counter", "seconds", "CPU time in the kernel",
     _value("cpu_system_us", MICROSECONDS)),
    ("container_cpu_cfs_periods", "counter", "", "Periods of the CPU quota in which it wanted to run",
     _value("cpu_periods")),
    ("container_cpu_cfs_throttled_periods", "counter", "", "Periods in which the quota cut it short",
     _value("cpu_throttled")),
    ("container_cpu_cfs_throttled_seconds", "counter", "seconds", "Time for which the quota held it back",
     _value("cpu_throttled_us", MICROSECONDS)),
    ("container_spec_cpu_period", "gauge", "", "Period of the CPU quota in microseconds", _value("cpu_period_us")),
    ("container_spec_cpu_quota", "gauge", "", "CPU quota in microseconds per period", _quota),
    ("container_memory_usage_bytes", "gauge", "bytes", "Memory in use, page cache included", _value("memory_current")),
    ("container_memory_working_set_bytes", "gauge", "bytes", "Memory that cannot be taken back for free",
     _value("memory_working_set")),
    ("container_memory_rss", "gauge", "", "Anonymous memory in bytes", _value("memory_anon")),
    ("container_memory_cache", "gauge", "", "Page cache in bytes", _value("memory_cache")),
    ("container_memory_swap", "gauge", "", "Swap in bytes", _value("memory_swap")),
    ("container_memory_kernel_usage", "gauge", "", "Kernel memory in bytes", _value("memory_kernel")),
    ("container_memory_max_usage_bytes", "gauge", "bytes", "Highest use of memory", _value("memory_peak")),
    ("container_spec_memory_limit_bytes", "gauge", "bytes", "Limit of memory", _value("memory_limit")),
    ("container_memory_refaults", "counter", "", "Pages read again soon after they were taken from it",
     _value("memory_refaults")),
    ("container_oom_events", "counter", "", "Processes the kernel killed for memory", _killed),
    ("container_threads", "gauge", "", "Processes and threads", _value("pids")),
    ("container_threads_max", "gauge", "", "Limit of processes and threads", _value("pids_limit")),
    ("container_threads_refused", "counter", "", "Forks and clones that the limit refused", _value("pids_failures")),
    ("container_processes", "gauge", "", "Processes", _value("processes")),
    ("container_file_descriptors", "gauge", "", "Descriptors that its processes have open", _value("open_files")),
    ("container_tasks_state", "gauge", "", "Tasks by state; uninterruptible is D", _waiting),
    ("container_fs_usage_bytes", "gauge", "bytes", "Writable layer on disk, as last measured", _value("layer")),
    ("pyctr_container_log_bytes", "gauge", "bytes", "Log on disk, rotated files included", _value("log")),
    ("container_fs_reads_bytes", "counter", "bytes", "Bytes read from a device", _device(0)),
    ("container_fs_writes_bytes", "counter", "bytes", "Bytes written to a device", _device(1)),
    ("container_fs_reads", "counter", "", "Reads of a device", _device(2)),
    ("container_fs_writes", "counter", "", "Writes to a device", _device(3)),
    ("container_network_receive_bytes", "counter", "bytes", "Bytes received", _interface(0)),
    ("container_network_transmit_bytes", "counter", "bytes", "Bytes sent", _interface(1)),
    ("container_network_receive_packets", "counter", "", "Packets received", _interface(2)),
    ("container_network_transmit_packets", "counter", "", "Packets sent", _interface(3)),
    ("container_network_receive_errors", "counter", "", "Packets not received for errors", _interface(4)),
    ("container_network_transmit_errors", "counter", "", "Packets not sent for errors", _interface(5)),
    ("container_network_receive_packets_dropped", "counter", "", "Packets dropped on receipt", _interface(6)),
    ("container_network_transmit_packets_dropped", "counter", "", "Packets dropped before sending", _interface(7)),
    ("container_pressure_cpu_waiting_seconds", "counter", "seconds", "Time in which something waited for a core",
     _pressure("cpu", 2)),
    ("container_pressure_memory_waiting_seconds", "counter", "seconds", "Time in which something waited for memory",
     _pressure("memory", 2)),
    ("container_pressure_memory_stalled_seconds", "counter", "seconds", "Time in which all waited for memory",
     _pressure("memory", 3)),
    ("container_pressure_io_waiting_seconds", "counter", "seconds", "Time in which something waited for a device",
     _pressure("io", 2)),
    ("container_pressure_io_stalled_seconds", "counter", "seconds", "Time in which all waited for a device",
     _pressure("io", 3)),
)  # fmt: skip
"""(family, type, unit, help, points of a sample)"""


def _started(vital: Vital) -> Points:
    return (({}, vital.started_at),) if vital.started_at else ()


def _code(vital: Vital) -> Points:
    return () if vital.live or vital.code is None else (({}, vital.code),)


def _health(vital: Vital) -> Points:
    status = vital.health
    if not status:
        return ()
    return (({"health": one}, float(one == status)) for one in health.STATUSES if one != health.NONE)


_KNOWN: tuple[tuple[str, str, str, str, Callable[[Vital], Points]], ...] = (
    ("container_start_time_seconds", "gauge", "seconds", "When it started, since 1970", _started),
    ("pyctr_container_state", "gauge", "", "1 for the state it is in",
     lambda vital: (({"state": one}, float(one == vital.status)) for one in STATES)),
    ("pyctr_container_health", "gauge", "", "1 for what its probe says", _health),
    ("pyctr_container_restarts", "counter", "", "Starts by its restart policy",
     lambda vital: (({}, vital.restarts),)),
    ("pyctr_container_exit_code", "gauge", "", "How it ended the last time", _code),
)  # fmt: skip


def text(vitals: Iterable[Vital], *, openmetrics: bool = True) -> str:
    """The whole exposition."""
    known = list(vitals)
    out = [*_family("pyctr_build", "info", "", "Which pyctr this is", [({"version": __version__}, 1)], openmetrics)]
    counts = [({"state": state}, sum(vital.status == state for vital in known)) for state in STATES]
    out += _family("pyctr_containers", "gauge", "", "Containers by state", counts, openmetrics)
    labels = [_labels(vital) for vital in known]
    for name, kind, unit, about, of_vital in _KNOWN:
        points = [
            ({**own, **more}, value)
            for vital, own in zip(known, labels, strict=True)
            for more, value in of_vital(vital)
        ]
        out += _family(name, kind, unit, about, points, openmetrics)
    for name, kind, unit, about, of_sample in _SAMPLED:
        points = [
            ({**own, **more}, value)
            for vital, own in zip(known, labels, strict=True)
            if vital.sample is not None
            for more, value in of_sample(vital.sample)
        ]
        out += _family(name, kind, unit, about, points, openmetrics)
    if openmetrics:
        out.append("# EOF")
    return "\n".join(out) + "\n"


def _labels(vital: Vital) -> dict[str, str]:
    """cAdvisor's: `id` is the cgroup. `engine` is only said of those that are not ours."""
    engine = {"engine": vital.engine} if vital.engine else {}
    return {"id": vital.group, "name": vital.container.name, "image": vital.image, **engine}


_SUFFIXES = {"counter": "_total", "info": "_info"}


def _family(
    name: str, kind: str, unit: str, about: str, points: Iterable[tuple[dict[str, str], Any]], openmetrics: bool
) -> Iterator[str]:
    sample = name + _SUFFIXES.get(kind, "")
    lines = [f"{sample}{{{_pairs(labels)}}} {_number(value)}" for labels, value in points]
    if not lines:
        return
    told = name if openmetrics else sample  # the older format knows no families, and no info
    yield f"# HELP {told} {about}"
    yield f"# TYPE {told} {kind if openmetrics or kind != 'info' else 'gauge'}"
    if unit and openmetrics:
        yield f"# UNIT {told} {unit}"
    yield from lines


def _pairs(labels: dict[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    """UTF-8 is what the formats are; what is none of it must not make the whole answer unreadable."""
    value = value.encode("utf-8", "replace").decode()
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return repr(value) if isinstance(value, int) else f"{value:.9g}" if abs(value) < 1e6 else f"{value:.3f}"
