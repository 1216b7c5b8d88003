"""OCI `linux.resources` -> writes to cgroup v1 files (kernel admin-guide/cgroup-v1/)."""

from __future__ import annotations

from pyctr.core.cgroups import devices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

THROTTLES = {
    "throttleReadBpsDevice": "read_bps",
    "throttleWriteBpsDevice": "write_bps",
    "throttleReadIOPSDevice": "read_iops",
    "throttleWriteIOPSDevice": "write_iops",
}


def rdma_words(name: str, limits: dict[str, Any]) -> str:
    """A line of rdma.max, the same on both versions."""
    words = [name]
    for key, word in (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object")):
        if limits.get(key) is not None:
            words.append(f"{word}={limits[key]}")
    return " ".join(words)


def writes(resources: dict[str, Any], has: Callable[[str], bool]) -> list[tuple[str, str, str]]:
    """(controller, file, value) in the order they must be written to a new group.

    `has(controller)` says whether the controller is a v1 hierarchy here; the others are v2's business. Where
    a file may be called differently, the names are separated by "|".
    """
    out: list[tuple[str, str, str]] = []

    def add(controller: str, file: str, value: object) -> None:
        out.append((controller, f"{controller}.{file}", str(value)))

    cpu = resources.get("cpu") or {}
    if has("cpu"):
        if cpu.get("shares"):
            add("cpu", "shares", cpu["shares"])
        # the period first: a quota is checked against the period in force
        if cpu.get("period"):
            add("cpu", "cfs_period_us", cpu["period"])
        if cpu.get("quota"):
            add("cpu", "cfs_quota_us", max(cpu["quota"], -1))
        if cpu.get("burst") is not None:
            add("cpu", "cfs_burst_us", cpu["burst"])
        if cpu.get("realtimePeriod"):
            add("cpu", "rt_period_us", cpu["realtimePeriod"])
        if cpu.get("realtimeRuntime"):
            add("cpu", "rt_runtime_us", cpu["realtimeRuntime"])
        if cpu.get("idle") is not None:
            add("cpu", "idle", cpu["idle"])
    if has("cpuset"):
        if cpu.get("cpus"):
            add("cpuset", "cpus", cpu["cpus"])
        if cpu.get("mems"):
            add("cpuset", "mems", cpu["mems"])

    memory = resources.get("memory") or {}
    if has("memory"):
        if memory.get("limit"):
            add("memory", "limit_in_bytes", memory["limit"])
        # memory + swap, which may not be below the memory limit: after it in a new group
        if memory.get("swap"):
            add("memory", "memsw.limit_in_bytes", memory["swap"])
        if memory.get("reservation"):
            add("memory", "soft_limit_in_bytes", memory["reservation"])
        if memory.get("kernelTCP"):
            add("memory", "kmem.tcp.limit_in_bytes", memory["kernelTCP"])
        if memory.get("swappiness") is not None:
            add("memory", "swappiness", memory["swappiness"])
        if memory.get("disableOOMKiller"):
            add("memory", "oom_control", 1)

    pids = (resources.get("pids") or {}).get("limit")
    if has("pids") and pids is not None:
        add("pids", "max", pids if pids > 0 else "max")

    block = resources.get("blockIO") or {}
    if has("blkio"):
        # CFQ's blkio.weight went in Linux 5.0; BFQ, where it is loaded, has its own
        if block.get("weight"):
            out.append(("blkio", "blkio.weight|blkio.bfq.weight", str(block["weight"])))
        if block.get("leafWeight"):
            add("blkio", "leaf_weight", block["leafWeight"])
        for device in block.get("weightDevice") or []:
            number = f"{device['major']}:{device['minor']}"
            if device.get("weight"):
                out.append(("blkio", "blkio.weight_device|blkio.bfq.weight_device", f"{number} {device['weight']}"))
            if device.get("leafWeight"):
                add("blkio", "leaf_weight_device", f"{number} {device['leafWeight']}")
        for key, name in THROTTLES.items():
            for device in block.get(key) or []:
                add("blkio", f"throttle.{name}_device", f"{device['major']}:{device['minor']} {device['rate']}")

    if has("hugetlb"):
        for page in resources.get("hugepageLimits") or []:
            # reservations, refused at mmap instead of a SIGBUS later, where the kernel counts them (Linux 5.7)
            names = [f"hugetlb.{page['pageSize']}.{kind}limit_in_bytes" for kind in ("rsvd.", "")]
            out.append(("hugetlb", "|".join(names), str(page["limit"])))
    if has("rdma"):
        for name, limits in (resources.get("rdma") or {}).items():
            add("rdma", "max", rdma_words(name, limits))

    network = resources.get("network") or {}
    if has("net_cls") and network.get("classID"):
        add("net_cls", "classid", network["classID"])
    if has("net_prio"):
        for priority in network.get("priorities") or []:
            add("net_prio", "ifpriomap", f"{priority['name']} {priority['priority']}")

    if has("devices"):
        for rule in devices.normal(resources.get("devices") or []):
            add("devices", "allow" if rule.get("allow") else "deny", devices.line(rule))
    return out
