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


def needed(mode: str, paths: dict[str, str], controllers: set[str]) -> list[str]:
    """The directories of `Manager.paths` in which a group that limits these controllers must exist."""
    spared = ON_DEMAND - controllers
    if mode == "hybrid":
        spared |= TWIN_DOES
    if not os.path.isdir(SYSTEMD):
        spared |= {"name=systemd"}
    return [path for name, path in paths.items() if not spared.issuperset(name.split(","))]


def require(layout: Layout, resources: dict[str, Any]) -> None:
    """A limit that would be dropped silently is worse than a refused start."""
    wanted = {"memory": "memory", "pids": "pids", "hugepageLimits": "hugetlb"}
    if layout.mode != "v2":
        wanted["devices"] = "devices"
    missing = [name for key, name in wanted.items() if resources.get(key) and not layout.version(name)]
    cpu = resources.get("cpu") or {}
    if not layout.version("cpu") and any(cpu.get(key) for key in ("shares", "quota", "period")):
        missing.append("cpu")
    if not layout.version("cpuset") and (cpu.get("cpus") or cpu.get("mems")):
        missing.append("cpuset")
    block = any((resources.get("blockIO") or {}).values())
    if block and not (layout.version("blkio") or layout.version("io")):
        missing.append("io")
    if missing:
        raise errors.Unsupported(
            f"this host has no '{missing[0]}' cgroup controller",
            hint="leave the limit out, or enable the controller ('pyctr doctor' says what is there)",
        )


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
    """Write what `Manager._writes` says."""
    for controller, file, value in writes:
        if file == BPF:
            devices.attach(manager.unified, resources["devices"])
            continue
        path = manager.file(controller, file)
        if "|" not in file:
            write(path, value)
            continue
        names, values = file.split("|"), value.split("|")
        values *= len(names) if len(values) == 1 else 1
        for name, one in zip(names, values, strict=True):
            path = manager.file(controller, name)
            if name == names[-1] or os.path.exists(path):
                write(path, one)
                break


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
