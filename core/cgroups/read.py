"""Which files hold a group's counters on each kind of host, and what their text means.

A reader is (level, controller, file, parse): `parse(sample, text)` puts what it finds into the sample; what a
text does not say stays None. Formats: admin-guide/cgroup-v2, cgroup-v1/{memory,blkio-controller,cpuacct,pids},
accounting/psi.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyctr.core.cgroups import Layout
    from pyctr.core.cgroupstats import Sample

    Reader = tuple[int, str, str, Callable[[Sample, bytes], None]]

ACTIVITY, FAST, MEDIUM, SLOW = 0, 1, 2, 3
"""Levels. ACTIVITY is read in every sample; if nothing moved there the group did not run, and FAST cannot have moved.
MEDIUM is dear (memory.stat 10 us) and kept up by the kernel every 2 s only. SLOW are limits and high-water marks."""

PAGE = 4096
UNLIMITED = 1 << 62
"""v1 says "no limit" as the largest page-aligned long, 9223372036854771712 with pages of 4 KiB."""


def number(text: bytes, key: bytes) -> int | None:
    """The value behind a key such as b"\\nanon "; ten times faster than a dict of the sixty lines of memory.stat."""
    start = text.find(key)
    if start < 0:
        return None
    start += len(key)
    end = text.find(b"\n", start)
    return int(text[start:end] if end >= 0 else text[start:])


def limit(text: bytes) -> int | None:
    """A single-value file; None for "max", -1 and v1's unlimited constants."""
    word = text.strip()
    if not word.isdigit():
        return None
    value = int(word)
    return value if value < UNLIMITED else None


def pressure(text: bytes) -> tuple[float, float | None, int, int | None] | None:
    """(some avg10, full avg10, some total in us, full total in us); `full` None where the kernel has no such line."""
    lines = text.split(b"\n")
    some = lines[0].split()
    if len(some) != 5:
        return None
    full = lines[1].split() if len(lines) > 1 else []
    if len(full) == 5:
        return float(some[1][6:]), float(full[1][6:]), int(some[4][6:]), int(full[4][6:])
    return float(some[1][6:]), None, int(some[4][6:]), None


def network(text: bytes) -> dict[str, tuple[int, int, int, int, int, int, int, int]]:
    """proc_pid_net_dev(5): interface -> (rx, tx) of bytes, of packets, of errors, of drops: eight numbers."""
    out = {}
    for line in text.split(b"\n")[2:]:
        name, colon, rest = line.partition(b":")
        if colon:
            w = rest.split()
            out[name.strip().decode("utf-8", "replace")] = (
                int(w[0]), int(w[8]), int(w[1]), int(w[9]), int(w[2]), int(w[10]), int(w[3]), int(w[11]),
            )  # fmt: skip
    return out


def _cpu_stat(sample: Sample, text: bytes) -> None:
    """v2: usage in three lines, and the periods if the controller is on."""
    words = text.split(None, 6)
    if len(words) >= 6 and words[0] == b"usage_usec":
        sample.cpu_usage_us, sample.cpu_user_us, sample.cpu_system_us = int(words[1]), int(words[3]), int(words[5])
    _throttling(sample, text)


def _throttling(sample: Sample, text: bytes) -> None:
    start = text.find(b"nr_periods ")
    if start < 0:
        return
    words = text[start:].split(None, 6)
    sample.cpu_periods, sample.cpu_throttled = int(words[1]), int(words[3])
    # v1: throttled_time in ns
    sample.cpu_throttled_us = int(words[5]) // (1000 if words[4] == b"throttled_time" else 1)


def _cpuacct_usage(sample: Sample, text: bytes) -> None:
    sample.cpu_usage_us = int(text) // 1000


def _cpuacct_user(sample: Sample, text: bytes) -> None:
    sample.cpu_user_us = int(text) // 1000


def _cpuacct_system(sample: Sample, text: bytes) -> None:
    sample.cpu_system_us = int(text) // 1000


def _cpu_max(sample: Sample, text: bytes) -> None:
    quota, period = text.split()
    sample.cpu_limit = int(quota) / int(period) if quota != b"max" else None


def _cfs_period(sample: Sample, text: bytes) -> None:
    sample.cpu_period_us = int(text)


def _cfs_quota(sample: Sample, text: bytes) -> None:
    quota = int(text)
    sample.cpu_limit = quota / sample.cpu_period_us if quota > 0 and sample.cpu_period_us else None


def _memory_current(sample: Sample, text: bytes) -> None:
    sample.memory_current = int(text)


def _memory_stat_v2(sample: Sample, text: bytes) -> None:
    text = b"\n" + text
    sample.memory_anon = number(text, b"\nanon ")
    sample.memory_cache = number(text, b"\nfile ")
    sample.memory_kernel = number(text, b"\nkernel ")
    if sample.memory_kernel is None:  # Linux < 5.18
        parts = [number(text, key) for key in (b"\nslab ", b"\nkernel_stack ", b"\npagetables ", b"\npercpu ")]
        sample.memory_kernel = sum(part or 0 for part in parts) if parts[0] is not None else None
    sample.memory_inactive_file = number(text, b"\ninactive_file ")
    _refaults(sample, text, b"\nworkingset_refault", 1)


def _memory_stat_v1(sample: Sample, text: bytes) -> None:
    sample.memory_anon = number(text, b"\ntotal_rss ")
    sample.memory_cache = number(text, b"\ntotal_cache ")
    sample.memory_swap = number(text, b"\ntotal_swap ")
    value = number(text, b"\nhierarchical_memory_limit ")
    sample.memory_limit = value if value is not None and value < UNLIMITED else None
    sample.memory_inactive_file = number(text, b"\ntotal_inactive_file ")
    # before Linux 6.7, which has `swapcached` here, it counts them in bytes as all else
    _refaults(sample, text, b"\ntotal_workingset_refault", 1 if b"\nswapcached " in text else PAGE)


def _refaults(sample: Sample, text: bytes, key: bytes, unit: int) -> None:
    pages = number(text, key + b"_file ")
    if pages is None:
        pages = number(text, key + b" ")  # Linux < 5.9 counts those of files alone; v1 has none then
    if pages is not None:
        sample.memory_refaults = (pages + (number(text, key + b"_anon ") or 0)) // unit


def _memory_swap(sample: Sample, text: bytes) -> None:
    sample.memory_swap = int(text)


def _memory_kmem(sample: Sample, text: bytes) -> None:
    sample.memory_kernel = int(text)


def _memory_peak(sample: Sample, text: bytes) -> None:
    sample.memory_peak = int(text)


def _memory_max(sample: Sample, text: bytes) -> None:
    sample.memory_limit = limit(text)


def _memory_events(sample: Sample, text: bytes) -> None:
    words = text.split()
    sample.memory_events = {key.decode(): int(value) for key, value in zip(words[::2], words[1::2], strict=False)}


def _oom_control(sample: Sample, text: bytes) -> None:
    kills = number(b"\n" + text, b"\noom_kill ")
    if kills is not None:  # Linux 4.13
        sample.memory_events = {**(sample.memory_events or {}), "oom_kill": kills}


def _failcnt(sample: Sample, text: bytes) -> None:
    sample.memory_events = {**(sample.memory_events or {}), "max": int(text)}


def _memsw_failcnt(sample: Sample, text: bytes) -> None:
    sample.memory_events = {**(sample.memory_events or {}), "swap_max": int(text)}


def _pids_current(sample: Sample, text: bytes) -> None:
    sample.pids = int(text)


def _pids_max(sample: Sample, text: bytes) -> None:
    sample.pids_limit = limit(text)


def _pids_events(sample: Sample, text: bytes) -> None:
    sample.pids_failures = number(b"\n" + text, b"\nmax ")


def _io_stat(sample: Sample, text: bytes) -> None:
    devices = {}
    for line in text.split(b"\n"):
        words = line.split()
        if len(words) < 5:
            continue  # a device that never saw I/O has its number alone
        values = dict(word.split(b"=", 1) for word in words[1:] if b"=" in word)
        try:
            devices[words[0].decode()] = tuple(int(values[key]) for key in (b"rbytes", b"wbytes", b"rios", b"wios"))
        except KeyError:
            continue
    _io(sample, devices)


def _blkio(sample: Sample, text: bytes, at: int) -> None:
    # two files make one table: bytes at 0 and 1, then operations at 2 and 3
    devices = {device: list(values) for device, values in (sample.io or {}).items()}
    for line in text.split(b"\n"):
        words = line.split()
        if len(words) == 3 and words[1] in (b"Read", b"Write"):
            values = devices.setdefault(words[0].decode(), [0, 0, 0, 0])
            values[at + (words[1] == b"Write")] = int(words[2])
    _io(sample, {device: tuple(values) for device, values in devices.items()})


def _blkio_bytes(sample: Sample, text: bytes) -> None:
    _blkio(sample, text, 0)


def _blkio_operations(sample: Sample, text: bytes) -> None:
    _blkio(sample, text, 2)


def _io(sample: Sample, devices: dict[str, tuple[int, ...]]) -> None:
    sample.io = devices  # type: ignore[assignment]  # always four
    sample.io_read_bytes = sum(values[0] for values in devices.values())
    sample.io_write_bytes = sum(values[1] for values in devices.values())


def _psi(resource: str) -> Callable[[Sample, bytes], None]:
    def parse(sample: Sample, text: bytes) -> None:
        if (values := pressure(text)) is not None:
            sample.psi = {**(sample.psi or {}), resource: values}

    return parse


def readers(layout: Layout, *, twin: bool) -> list[Reader]:
    """What to read for a group, in order; controller "" means the v2 directory. `twin`: it has one on a hybrid host."""
    out: list[Reader] = []
    unified = bool(layout.unified) and (layout.mode == "v2" or twin)

    if unified:
        # usage is counted in every v2 group, with or without the cpu controller
        out.append((ACTIVITY, "", "cpu.stat", _cpu_stat))
    elif layout.version("cpuacct") == 1:
        out += [
            (ACTIVITY, "cpuacct", "cpuacct.usage", _cpuacct_usage),
            (FAST, "cpuacct", "cpuacct.usage_user", _cpuacct_user),
            (FAST, "cpuacct", "cpuacct.usage_sys", _cpuacct_system),
        ]
    if layout.version("cpu") == 1:
        out.append((FAST, "cpu", "cpu.stat", _throttling))
        out.append((SLOW, "cpu", "cpu.cfs_period_us", _cfs_period))
        out.append((SLOW, "cpu", "cpu.cfs_quota_us", _cfs_quota))
    elif layout.version("cpu") == 2:
        out.append((SLOW, "cpu", "cpu.max", _cpu_max))

    if layout.version("memory") == 2:
        out += [
            (ACTIVITY, "memory", "memory.current", _memory_current),
            (MEDIUM, "memory", "memory.events", _memory_events),
            (MEDIUM, "memory", "memory.stat", _memory_stat_v2),
            (SLOW, "memory", "memory.max", _memory_max),
            (SLOW, "memory", "memory.peak", _memory_peak),
            (SLOW, "memory", "memory.swap.current", _memory_swap),
        ]
    elif layout.version("memory") == 1:
        out += [
            (ACTIVITY, "memory", "memory.usage_in_bytes", _memory_current),
            (MEDIUM, "memory", "memory.oom_control", _oom_control),
            (MEDIUM, "memory", "memory.stat", _memory_stat_v1),
            (SLOW, "memory", "memory.failcnt", _failcnt),
            (SLOW, "memory", "memory.memsw.failcnt", _memsw_failcnt),
            (SLOW, "memory", "memory.max_usage_in_bytes", _memory_peak),
            (SLOW, "memory", "memory.kmem.usage_in_bytes", _memory_kmem),
        ]

    if layout.version("pids"):
        out.append((FAST, "pids", "pids.current", _pids_current))
        out.append((SLOW, "pids", "pids.max", _pids_max))
        out.append((SLOW, "pids", "pids.events", _pids_events))

    if layout.version("io") == 2:
        # writeback goes on without the group's own CPU time
        out.append((ACTIVITY, "io", "io.stat", _io_stat))
    elif layout.version("blkio") == 1:
        out.append((ACTIVITY, "blkio", "blkio.throttle.io_service_bytes_recursive", _blkio_bytes))
        out.append((FAST, "blkio", "blkio.throttle.io_serviced_recursive", _blkio_operations))

    if unified:
        out += [(MEDIUM, "", f"{resource}.pressure", _psi(resource)) for resource in ("cpu", "memory", "io")]
    return out
