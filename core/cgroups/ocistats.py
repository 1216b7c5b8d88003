"""A group's counters as runc's `events --stats` shows them: its callers read nanoseconds, bytes and these names.

What the host does not count is absent, or 0 where runc itself writes 0 for it.
"""

from __future__ import annotations

import os

from pyctr.core import errors
from pyctr.core.cgroups.files import read_or
from pyctr.core.cgroups.tree import pairs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.cgroups.group import Manager

_UNLIMITED = (1 << 64) - 1
"""What runc says for "max" of v2."""


_CPUSET = (
    *("cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page", "memory_spread_slab"),
    *("memory_pressure", "sched_load_balance", "sched_relax_domain_level"),
)


def collect(group: Manager) -> dict[str, Any]:
    """Raises Unsupported for a container without a group."""
    if group.mode == "none":
        raise errors.Unsupported(
            "events: this container has no cgroup, which would count what it uses",
            hint="its user could not make one; run it as root",
        )
    return {
        "cpu": _cpu(group),
        "cpuset": _cpuset(group),
        "memory": _memory(group),
        "pids": _pids(group),
        "blkio": _block(group),
        "hugetlb": _huge(group),
        "intel_rdt": {},
        "network_interfaces": None,
    }


def _file(group: Manager, controller: str, name: str) -> str:
    return read_or(group.file(controller, name)) if controller in group.layout.controllers else ""


def _number(text: str, otherwise: int = 0) -> int:
    text = text.strip()
    return _UNLIMITED if text == "max" else int(text) if text.lstrip("-").isdigit() else otherwise


def _cpu(group: Manager) -> dict[str, Any]:
    usage: dict[str, Any] = {"total": 0, "kernel": 0, "user": 0}
    throttling: dict[str, int] = {}
    if group.has_v1("cpuacct"):
        usage["total"] = _number(_file(group, "cpuacct", "cpuacct.usage"))
        if words := _file(group, "cpuacct", "cpuacct.usage_percpu").split():
            usage["percpu"] = [int(word) for word in words]
        if rows := [line.split() for line in _file(group, "cpuacct", "cpuacct.usage_all").splitlines()[1:]]:
            usage["percpu_kernel"] = [int(row[2]) for row in rows]
            usage["percpu_user"] = [int(row[1]) for row in rows]
        ticks = pairs(_file(group, "cpuacct", "cpuacct.stat"))
        scale = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        usage["kernel"], usage["user"] = ticks.get("system", 0) * scale, ticks.get("user", 0) * scale
    if group.unified and not usage["total"]:
        counts = pairs(read_or(f"{group.unified}/cpu.stat"))
        for name, key in (("total", "usage_usec"), ("kernel", "system_usec"), ("user", "user_usec")):
            usage[name] = counts.get(key, 0) * 1000
    counts = pairs(_file(group, "cpu", "cpu.stat"))
    for name, key, scale in (
        ("periods", "nr_periods", 1),
        ("throttledPeriods", "nr_throttled", 1),
        ("throttledTime", "throttled_time", 1),
        ("throttledTime", "throttled_usec", 1000),
    ):
        if counts.get(key):
            throttling[name] = counts[key] * scale
    return {"usage": usage, "throttling": throttling}


def _cpuset(group: Manager) -> dict[str, Any]:
    from pyctr.core.linux import cpulist

    found: dict[str, Any] = {}
    for name, files in (
        ("cpus", ("cpuset.cpus", "cpuset.cpus.effective")),
        ("mems", ("cpuset.mems", "cpuset.mems.effective")),
    ):
        text = next((text for file in files if (text := _file(group, "cpuset", file).strip())), "")
        if text:
            found[name] = sorted(cpulist.parse(text))
    for name in _CPUSET:
        found[name] = _number(_file(group, "cpuset", f"cpuset.{name}"))
    return found


def _memory(group: Manager) -> dict[str, Any]:
    raw = pairs(_file(group, "memory", "memory.stat"))
    if group.has_v2("memory"):
        events = pairs(_file(group, "memory", "memory.events"))
        return {
            **({"cache": cache} if (cache := raw.get("file", 0)) else {}),
            "usage": _usage(group, "memory.current", "memory.max", "memory.peak", events.get("max", 0)),
            "swap": _usage(group, "memory.swap.current", "memory.swap.max", "memory.swap.peak", 0),
            "kernel": {"failcnt": 0, "limit": 0, "usage": raw.get("kernel", 0)},
            "kernelTCP": {"failcnt": 0, "limit": 0, "usage": raw.get("sock", 0)},
            "raw": raw,
        }
    out: dict[str, Any] = {"cache": cache} if (cache := raw.get("cache", 0)) else {}
    for name, part in (("usage", ""), ("swap", ".memsw"), ("kernel", ".kmem"), ("kernelTCP", ".kmem.tcp")):
        prefix = f"memory{part}"
        failures = _number(_file(group, "memory", f"{prefix}.failcnt"))
        usage, limit, peak = (f"{prefix}.{word}_in_bytes" for word in ("usage", "limit", "max_usage"))
        out[name] = _usage(group, usage, limit, peak, failures)
    return {**out, "raw": raw}


def _usage(group: Manager, usage: str, limit: str, peak: str, failures: int) -> dict[str, int]:
    found = {"limit": _number(_file(group, "memory", limit)), "failcnt": failures}
    for name, file in (("usage", usage), ("max", peak)):
        if value := _number(_file(group, "memory", file)):
            found[name] = value
    return found


def _pids(group: Manager) -> dict[str, int]:
    found = {"current": _number(_file(group, "pids", "pids.current"))}
    limit = _file(group, "pids", "pids.max").strip()
    if limit.isdigit():
        found["limit"] = int(limit)
    return found


_V1_BLOCK = (
    ("ioServiceBytesRecursive", "io_service_bytes_recursive", "throttle.io_service_bytes_recursive"),
    ("ioServicedRecursive", "io_serviced_recursive", "throttle.io_serviced_recursive"),
    ("ioQueueRecursive", "io_queued_recursive", ""),
    ("ioServiceTimeRecursive", "io_service_time_recursive", ""),
    ("ioWaitTimeRecursive", "io_wait_time_recursive", ""),
    ("ioMergedRecursive", "io_merged_recursive", ""),
    ("ioTimeRecursive", "time_recursive", ""),
    ("sectorsRecursive", "sectors_recursive", ""),
)


def _block(group: Manager) -> dict[str, Any]:
    if group.has_v2("io"):
        return _io(_file(group, "io", "io.stat"))
    found: dict[str, Any] = {}
    for name, file, second in _V1_BLOCK:
        for candidate in ("bfq." + file, file, second):
            if candidate and (rows := _rows(_file(group, "blkio", f"blkio.{candidate}"))):
                found[name] = rows
                break
    return found


def _rows(text: str) -> list[dict[str, Any]]:
    rows = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or ":" not in words[0]:
            continue
        row = _device(words[0])
        if len(words) > 2:
            row["op"] = words[1]
        if value := _number(words[-1]):
            row["value"] = value
        rows.append(row)
    return rows


def _device(text: str) -> dict[str, Any]:
    major, _, minor = text.partition(":")
    return {name: int(number) for name, number in (("major", major), ("minor", minor)) if number.strip("0")}


def _io(text: str) -> dict[str, Any]:
    names = {
        "rbytes": ("ioServiceBytesRecursive", "Read"),
        "wbytes": ("ioServiceBytesRecursive", "Write"),
        "dbytes": ("ioServiceBytesRecursive", "Discard"),
        "rios": ("ioServicedRecursive", "Read"),
        "wios": ("ioServicedRecursive", "Write"),
        "dios": ("ioServicedRecursive", "Discard"),
    }
    found: dict[str, Any] = {}
    for line in text.splitlines():
        device, *words = line.split()
        for word in words:
            key, _, value = word.partition("=")
            if key in names:
                name, op = names[key]
                row = {**_device(device), "op": op}
                if int(value):
                    row["value"] = int(value)
                found.setdefault(name, []).append(row)
    return found


def _huge(group: Manager) -> dict[str, Any]:
    if "hugetlb" not in group.layout.controllers:
        return {}
    found = {}
    version = group.layout.version("hugetlb")
    try:
        sizes = os.listdir("/sys/kernel/mm/hugepages")
    except FileNotFoundError:
        return {}
    for directory in sizes:
        kilobytes = int("".join(sign for sign in directory if sign.isdigit()))
        size = f"{kilobytes >> 20}GB" if kilobytes >= 1 << 20 else f"{kilobytes >> 10}MB"
        if not kilobytes >> 10:
            size = f"{kilobytes}KB"
        usage, failures = ("usage_in_bytes", "failcnt") if version == 1 else ("current", "events")
        found[size] = {"failcnt": 0}
        if value := _number(_file(group, "hugetlb", f"hugetlb.{size}.{usage}")):
            found[size]["usage"] = value
        text = _file(group, "hugetlb", f"hugetlb.{size}.{failures}")
        found[size]["failcnt"] = _number(text) if version == 1 else pairs(text).get("max", 0)
        if version == 1 and (value := _number(_file(group, "hugetlb", f"hugetlb.{size}.max_usage_in_bytes"))):
            found[size]["max"] = value
    return found
