"""Control groups: what this host offers, and one manager contract for v1, v2 and hybrid hosts.

    v2      one hierarchy with all controllers                     /sys/fs/cgroup
    v1      one hierarchy per controller (or a few co-mounted)      /sys/fs/cgroup/memory, ...
    hybrid  v1 hierarchies, and beside them a v2 tree without       /sys/fs/cgroup/unified
            (most) controllers, which still freezes, kills, and
            measures pressure: each container gets a twin there

See cgroups(7) and the kernel's admin-guide/cgroup-v1 and cgroup-v2. Imports stay within what the shim may import.
"""

from __future__ import annotations

import os

from pyctr.core import errors
from pyctr.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.cgroups.group import Manager

V1_CONTROLLERS = frozenset(
    [
        "cpu",
        "cpuacct",
        "cpuset",
        "memory",
        "devices",
        "freezer",
        "blkio",
        "pids",
        "hugetlb",
        "net_cls",
        "net_prio",
        "perf_event",
        "rdma",
        "misc",
    ]
)


class Layout(Record):
    """Where the controllers of this host are."""

    mode: str
    """v1, v2 or hybrid"""
    controllers: dict[str, str] = {}
    """Controller -> mount point of its hierarchy. Hierarchies without a controller appear as name=NAME."""
    unified: str = ""
    """Mount point of the v2 hierarchy, "" if there is none."""

    def version(self, controller: str) -> int:
        """1 or 2, or 0 if the host does not have the controller."""
        mountpoint = self.controllers.get(controller)
        if mountpoint is None:
            return 0
        return 2 if mountpoint == self.unified else 1


def detect(root: str = "/sys/fs/cgroup") -> Layout:
    """The layout below `root`, which may be a recorded tree. Needs no privilege and changes nothing.

    A directory is known by the file that only its kind of file system has in every directory:
    `cgroup.controllers` means cgroup2, `tasks` means cgroup v1. That is what statfs(2) would say by f_type,
    but Python's os.statvfs has no f_type, loading ctypes for it costs a start 3 ms, and recorded trees have none.
    """
    if available := _controllers(root):
        return Layout(mode="v2", controllers=dict.fromkeys(available.split(), root), unified=root)
    controllers: dict[str, str] = {}
    unified = ""
    try:
        names = sorted(os.listdir(root))
    except OSError:
        names = []
    for name in names:
        path = f"{root}/{name}"
        if os.path.islink(path):
            continue  # cpu -> cpu,cpuacct
        if os.path.exists(f"{path}/cgroup.controllers"):
            unified = path
        elif os.path.exists(f"{path}/tasks"):
            parts = name.split(",")
            known = V1_CONTROLLERS.issuperset(parts)
            controllers.update(dict.fromkeys(parts if known else [f"name={name}"], path))
    if unified:
        mode = "hybrid" if controllers else "v2"
        for name in (_controllers(unified) or "").split():
            controllers.setdefault(name, unified)
    elif controllers:
        mode = "v1"
    elif os.path.exists(f"{root}/cgroup.controllers"):
        return Layout(mode="v2", unified=root)  # a delegated tree that was given no controller
    else:
        raise errors.Unsupported(
            f"no cgroup file system is mounted on '{root}'", hint=f"mount -t cgroup2 cgroup2 {root}"
        )
    return Layout(mode=mode, controllers=controllers, unified=unified)


def _controllers(directory: str) -> str | None:
    try:
        with open(f"{directory}/cgroup.controllers", "rb", buffering=0) as file:
            return file.read().decode()
    except OSError:
        return None


def manager(layout: Layout, group: str) -> Manager:
    """The manager of one group, a path below every hierarchy's root such as "/pyctr/<id>"."""
    from pyctr.core.cgroups.group import Manager

    return Manager(layout, group)
