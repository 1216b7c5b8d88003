"""OCI `linux.resources` -> writes to cgroup v2 files (kernel admin-guide/cgroup-v2).

The runtime specification speaks v1: shares, a swap limit that contains the memory limit, weights of
10 to 1000. The conversions are those of runc >= 1.3.2 and crun >= 1.23, so that a limit means the same
under every engine.
"""

from __future__ import annotations

from pyctr.core import errors
from pyctr.core.cgroups import v1

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

DEFAULT_PERIOD = 100_000

THROTTLES = {
    "throttleReadBpsDevice": "rbps",
    "throttleWriteBpsDevice": "wbps",
    "throttleReadIOPSDevice": "riops",
    "throttleWriteIOPSDevice": "wiops",
}


def writes(resources: dict[str, Any], has: Callable[[str], bool]) -> list[tuple[str, str, str]]:
    """(controller, file, value) for the controllers that `has` says are in the v2 hierarchy.

    Where a file may be called differently, the names, and the values that go with them, are separated by "|".
    """
    out: list[tuple[str, str, str]] = []

    def add(file: str, value: object) -> None:
        out.append((file.split(".", 1)[0], file, str(value)))

    cpu = resources.get("cpu") or {}
    if has("cpu"):
        if cpu.get("shares"):
            add("cpu.weight", shares_to_weight(cpu["shares"]))
        if cpu.get("quota") or cpu.get("period"):
            quota = cpu.get("quota") or -1
            add("cpu.max", f"{quota if quota > 0 else 'max'} {cpu.get('period') or DEFAULT_PERIOD}")
        if cpu.get("burst") is not None:
            add("cpu.max.burst", cpu["burst"])
        if cpu.get("idle") is not None:
            add("cpu.idle", cpu["idle"])
    if has("cpuset"):
        if cpu.get("cpus"):
            add("cpuset.cpus", cpu["cpus"])
        if cpu.get("mems"):
            add("cpuset.mems", cpu["mems"])

    if has("memory"):
        memory = resources.get("memory") or {}
        limit = memory.get("limit") or 0
        if (swap := swap_max(limit, memory.get("swap") or 0)) is not None:
            add("memory.swap.max", swap)
        if limit:
            add("memory.max", limit if limit > 0 else "max")
        if memory.get("reservation"):
            add("memory.low", memory["reservation"])

    pids = (resources.get("pids") or {}).get("limit")
    if has("pids") and pids is not None:
        add("pids.max", pids if pids > 0 else "max")

    block = resources.get("blockIO") or {}
    if has("io"):
        if weight := block.get("weight"):
            # io.weight needs iocost, io.bfq.weight the BFQ scheduler, whose scale is that of blkio
            add("io.weight|io.bfq.weight", f"default {blkio_to_io_weight(weight)}|default {weight}")
        for device in block.get("weightDevice") or []:
            # an entry with nothing but leafWeight says nothing that v2 knows
            if weight := device.get("weight"):
                number = f"{device['major']}:{device['minor']}"
                add("io.weight|io.bfq.weight", f"{number} {blkio_to_io_weight(weight)}|{number} {weight}")
        for key, name in THROTTLES.items():
            for device in block.get(key) or []:
                add("io.max", f"{device['major']}:{device['minor']} {name}={device['rate'] or 'max'}")

    if has("hugetlb"):
        for page in resources.get("hugepageLimits") or []:
            add(f"hugetlb.{page['pageSize']}.rsvd.max|hugetlb.{page['pageSize']}.max", page["limit"])
    if has("rdma"):
        for name, limits in (resources.get("rdma") or {}).items():
            add("rdma.max", v1.rdma_words(name, limits))
    return out


def unified(resources: dict[str, Any], has: Callable[[str], bool]) -> list[tuple[str, str, str]]:
    """The `unified` member, verbatim; last, so that it wins over what was converted.

    Raises UsageError for a name that is no file of the group, Unsupported where the controller is v1.
    """
    out = []
    for file, value in (resources.get("unified") or {}).items():
        controller = file.split(".", 1)[0]
        if "/" in file or "." not in file:
            raise errors.UsageError(
                f"linux.resources.unified: '{file}' is not the name of a cgroup file", hint="for example 'memory.high'"
            )
        if controller != "cgroup" and not has(controller):
            raise errors.Unsupported(
                f"linux.resources.unified.{file}: '{value}' needs the '{controller}' controller on cgroup v2, "
                "which this host does not have",
                hint="boot with systemd.unified_cgroup_hierarchy=1 or leave the limit out",
            )
        out.append((controller, file, str(value)))
    return out


def shares_to_weight(shares: int) -> int:
    """cpu.shares (2 to 262144, default 1024) -> cpu.weight (1 to 10000, default 100).

    A quadratic in log2(shares) that fits both ends and maps the default to the default
    (opencontainers/cgroups pull 20, containers/crun pull 1767); the older linear rule made 39 of 1024.
    """
    if shares <= 2:
        return 1
    if shares >= 262_144:
        return 10_000
    from math import ceil, log2

    power = log2(shares)
    weight = 10 ** ((power * power + 125 * power) / 612 - 7 / 34)
    return ceil(weight - 1e-9)  # 1024 gives 100.00000000000001 in binary floating point


def blkio_to_io_weight(weight: int) -> int:
    """blkio weight (10 to 1000) -> io.weight (1 to 10000), as runc does it."""
    return 1 + (weight - 10) * 9999 // 990


def swap_max(limit: int, swap: int) -> str | None:
    """memory.swap.max of a memory limit and an OCI swap limit (which is memory + swap); None: leave it.

    0 means not given, -1 unlimited. Raises UsageError for a sum below its part or without one.
    """
    if swap == 0:
        return "max" if limit == -1 else None
    if swap == -1:
        return "max"
    if limit <= 0:
        raise errors.UsageError(
            f"a swap limit of '{swap}' needs a memory limit", hint="give both --memory and --memory-swap"
        )
    if swap < limit:
        raise errors.UsageError(
            f"the limit of memory plus swap, '{swap}', is below the memory limit '{limit}'",
            hint="--memory-swap counts both together; equal to --memory means no swap",
        )
    return str(swap - limit)
