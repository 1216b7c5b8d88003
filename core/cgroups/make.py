"""Making a group: which directories it needs, what they inherit, and writing its limits."""

from __future__ import annotations

import errno
import os

from pyctr.core import errors
from pyctr.core.cgroups import devices
from pyctr.core.cgroups.files import put, read, read_or, refused, write
from pyctr.core.cgroups.tree import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.cgroups import Layout
    from pyctr.core.cgroups.group import Manager

STATISTICS = ("cpu", "memory", "pids", "io")
"""Controllers a v2 group gets although no limit asks for them: without them there is nothing to measure."""

ON_DEMAND = frozenset(["cpuset", "hugetlb", "net_cls", "net_prio", "perf_event", "rdma", "misc"])
"""v1 hierarchies that get a directory only when a limit asks for it: each costs a start 0.2 ms."""

TWIN_DOES = frozenset(["freezer", "cpuacct"])
"""v1 hierarchies that are not needed beside a v2 twin, which freezes and counts CPU time without any controller."""

SYSTEMD = "/run/systemd/system"
"""There if systemd runs (sd_booted(3)); only then does its hierarchy matter: it would end us with the login session."""

BPF = "[bpf] devices"
"""Stands for the device program among the files of `writes`."""


def needed(mode: str, paths: dict[str, str], controllers: set[str], counted: bool = False) -> list[str]:
    """The directories of `Manager.paths` in which a group that limits these controllers must exist.

    `counted`: others than pyctr want to know what it uses and may use, and look at v1's files where there are any:
    podman and docker for the CPU time; a JVM inside takes no notice of any limit unless it finds its cpuset; a systemd
    inside needs its hierarchy, whether one runs outside or not."""
    spared = ON_DEMAND - controllers
    if mode == "hybrid":
        spared |= TWIN_DOES
    if not os.path.isdir(SYSTEMD):
        spared |= {"name=systemd"}
    if counted:
        spared -= {"cpuacct", "cpuset", "name=systemd"}
    return [path for name, path in paths.items() if not spared.issuperset(name.split(","))]


def require(layout: Layout, resources: dict[str, Any]) -> None:
    """A limit that would be dropped silently is worse than a refused start."""
    cpu, block = resources.get("cpu") or {}, resources.get("blockIO") or {}
    network, memory = resources.get("network") or {}, resources.get("memory") or {}
    wanted = {
        "memory": ("memory", any(memory.get(key) for key in ("limit", "swap", "reservation"))),
        "pids": ("pids", resources.get("pids")),
        "hugepageLimits": ("hugetlb", resources.get("hugepageLimits")),
        "rdma": ("rdma", resources.get("rdma")),
        "devices": ("devices", resources.get("devices") and layout.mode != "v2"),
        "cpu": ("cpu", any(cpu.get(key) for key in ("shares", "quota", "period", "burst", "idle", "realtimeRuntime"))),
        "cpu.cpus": ("cpuset", cpu.get("cpus")),
        "cpu.mems": ("cpuset", cpu.get("mems")),
        "network.classID": ("net_cls", network.get("classID")),
        "network.priorities": ("net_prio", network.get("priorities")),
    }
    for field, (controller, asked) in wanted.items():
        if asked and not layout.version(controller):
            _lacking(field, f"this host has no '{controller}' cgroup controller")
    if any(block.values()) and not (layout.version("blkio") or layout.version("io")):
        _lacking("blockIO", "this host has no 'io' cgroup controller")
    if layout.version("cpu") == 2:
        for key in ("realtimeRuntime", "realtimePeriod"):
            if cpu.get(key):
                _lacking(f"cpu.{key}", "cgroup v2 has no real-time budget")
    if layout.version("io") == 2 and (
        block.get("leafWeight") or any(entry.get("leafWeight") for entry in block.get("weightDevice") or [])
    ):
        _lacking("blockIO.leafWeight", "cgroup v2 has no leaf weights")


def _lacking(field: str, what: str) -> None:
    raise errors.Unsupported(
        f"linux.resources.{field}: {what}",
        hint="leave the limit out, or enable the controller ('pyctr doctor' says what is there)",
    )


def ignored(layout: Layout, resources: dict[str, Any]) -> list[str]:
    """See `Manager.ignored`."""
    memory, found = resources.get("memory") or {}, []
    top = "linux.resources.memory"
    if (memory.get("kernel") or 0) > 0:
        found.append(f"{top}.kernel: no kernel limits it by itself any more, ignored")
    if layout.version("memory") == 2:
        if memory.get("swappiness") is not None:
            found.append(f"{top}.swappiness: cgroup v2 has none, ignored")
        if memory.get("disableOOMKiller"):
            found.append(f"{top}.disableOOMKiller: cgroup v2 always kills, ignored")
        if (memory.get("kernelTCP") or 0) > 0:
            found.append(f"{top}.kernelTCP: a part of the memory limit on cgroup v2, ignored")
    return found


def check_usage(manager: Manager, resources: dict[str, Any]) -> None:
    """Refuse a limit below what is used, which v2 would enforce by killing (config-linux.md, "checkBeforeUpdate")."""
    memory = resources.get("memory") or {}
    if not memory.get("checkBeforeUpdate") or not manager.has_v2("memory"):
        return
    limit = memory.get("limit") or 0
    used = int(read_or(f"{manager.unified}/memory.current", "0"))
    if 0 < limit < used:
        raise errors.Conflict(
            f"linux.resources.memory.limit: {limit} is below the {used} bytes in use",
            hint="or leave checkBeforeUpdate out",
        )


_DELEGATE = "/sys/kernel/cgroup/delegate"
_DELEGATED = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")


def give(directory: str, uid: int) -> None:
    """See `Manager.give`."""
    names = read_or(_DELEGATE).split() or _DELEGATED
    for path in (directory, *(f"{directory}/{name}" for name in names)):
        try:
            os.chown(path, uid, -1)
        except FileNotFoundError:
            continue  # a file of a controller that this group does not have
        except OSError as error:
            raise errors.from_oserror(error, "giving a cgroup to its user") from error


def directory(layout: Layout, path: str) -> None:
    try:
        try:
            os.mkdir(path, 0o755)
        except FileNotFoundError:
            _parents(layout, os.path.dirname(path))
            os.mkdir(path, 0o755)
    except FileExistsError:
        try:
            remove_tree(path)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise errors.from_oserror(error, "replacing a cgroup") from error
            raise errors.Conflict(
                f"cgroup '{path}' already has processes", hint="another container or pyctr uses it"
            ) from error
        os.mkdir(path, 0o755)
    except OSError as error:
        raise errors.from_oserror(error, "making a cgroup") from error
    if _is_v1_cpuset(layout, path):
        _inherit_cpuset(path)


def _parents(layout: Layout, path: str) -> None:
    if os.path.isdir(path):
        return
    _parents(layout, os.path.dirname(path))
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        return  # another pyctr was faster
    if _is_v1_cpuset(layout, path):
        _inherit_cpuset(path)
        # children copy cpus and mems by themselves from here on: no writes at a start
        put(f"{path}/cgroup.clone_children", "1")


def hand_down(layout: Layout, group: str, limited: set[str]) -> None:
    """Enable the controllers in `cgroup.subtree_control` from the root of the tree to our parent."""
    wanted = limited | (set(STATISTICS) if layout.mode == "v2" else set())
    wanted = {name for name in wanted if layout.version(name) == 2}
    if not wanted:
        return
    root = layout.unified
    parts = group.strip("/").split("/")[:-1]
    chain = [root + "".join("/" + part for part in parts[:depth]) for depth in range(len(parts) + 1)]
    # from the bottom: when our parent hands everything down already, which is the rule, one read is all
    lacking = []
    for directory in reversed(chain):
        missing = wanted.difference(read_or(f"{directory}/cgroup.subtree_control").split())
        if not missing:
            break
        lacking.append((directory, missing))
    for directory, missing in reversed(lacking):
        for name in sorted(missing):
            path = f"{directory}/cgroup.subtree_control"
            try:
                put(path, f"+{name}")
            except OSError as error:
                if name in limited:
                    raise refused(error, path, f"+{name}") from error
                # only statistics are lost, the Sampler says None for them


def apply(manager: Manager, writes: list[tuple[str, str, str]], resources: dict[str, Any]) -> None:
    """Write what `Manager.entries` says; a refusal names the field that asked for it."""
    for controller, file, value in writes:
        if file == BPF:
            devices.attach(manager.unified, resources["devices"])
            continue
        try:
            _write(manager, controller, file, value)
        except errors.PyctrError as error:
            error.message = f"{_field(file, resources)}: {error.message}"
            error.args = (error.message,)
            raise


def _write(manager: Manager, controller: str, file: str, value: str) -> None:
    write(*place(manager, controller, file, value))


def place(manager: Manager, controller: str, file: str, value: str) -> tuple[str, str]:
    """The absolute file and its value: of several names for a limit ("io.bfq.weight|io.weight"), the first that this
    kernel has, or the last."""
    names, values = file.split("|"), value.split("|")
    values *= len(names) if len(values) == 1 else 1
    for name, one in zip(names[:-1], values[:-1], strict=True):
        if os.path.exists(path := manager.file(controller, name)):
            return path, one
    return manager.file(controller, names[-1]), values[-1]


_FIELDS = {
    "cpu.shares": "cpu.shares",
    "cpu.weight": "cpu.shares",
    "cpu.cfs_period_us": "cpu.period",
    "cpu.cfs_quota_us": "cpu.quota",
    "cpu.max": "cpu.quota",
    "cpu.cfs_burst_us": "cpu.burst",
    "cpu.max.burst": "cpu.burst",
    "cpu.rt_period_us": "cpu.realtimePeriod",
    "cpu.rt_runtime_us": "cpu.realtimeRuntime",
    "cpu.idle": "cpu.idle",
    "cpuset.cpus": "cpu.cpus",
    "cpuset.mems": "cpu.mems",
    "memory.limit_in_bytes": "memory.limit",
    "memory.max": "memory.limit",
    "memory.memsw.limit_in_bytes": "memory.swap",
    "memory.swap.max": "memory.swap",
    "memory.soft_limit_in_bytes": "memory.reservation",
    "memory.low": "memory.reservation",
    "memory.kmem.tcp.limit_in_bytes": "memory.kernelTCP",
    "memory.swappiness": "memory.swappiness",
    "memory.oom_control": "memory.disableOOMKiller",
    "pids.max": "pids.limit",
    "rdma.max": "rdma",
    "net_cls.classid": "network.classID",
    "net_prio.ifpriomap": "network.priorities",
    "devices.allow": "devices",
    "devices.deny": "devices",
}
_FAMILIES = {"blkio": "blockIO", "io": "blockIO", "hugetlb": "hugepageLimits"}


def _field(file: str, resources: dict[str, Any]) -> str:
    """The JSON path of what a file stands for."""
    name = file.partition("|")[0]
    if name in (resources.get("unified") or {}):
        return f"linux.resources.unified.{name}"
    return "linux.resources." + (_FIELDS.get(name) or _FAMILIES.get(name.partition(".")[0]) or name)


def _is_v1_cpuset(layout: Layout, path: str) -> bool:
    return layout.version("cpuset") == 1 and path.startswith(layout.controllers["cpuset"] + "/")


def _inherit_cpuset(path: str) -> None:
    """A new v1 cpuset is empty and takes no process until it has cpus and mems (admin-guide/cgroup-v1/cpusets)."""
    parent = os.path.dirname(path)
    for name in ("cpuset.cpus", "cpuset.mems"):
        if read(f"{path}/{name}").strip():
            continue
        if not read(f"{parent}/{name}").strip():
            _inherit_cpuset(parent)  # another pyctr has made it and comes to this later
        write(f"{path}/{name}", read(f"{parent}/{name}").strip())
