"""A shell with the host's tools inside a container's namespaces, for images that have none.

The tools, their files and their rights stay the host's; what they look at is the container's: its network, its hosts'
names, its System V objects, and with a procfs of its own its processes, behind whose /proc/1/root lie its files.

Who can trace the shell owns the host, so a container with CAP_SYS_PTRACE in the host's user namespace, which could
trace whatever appears in its pid namespace, does not get it there: see ptrace(2), "Ptrace access mode checking".
"""

from __future__ import annotations

import os

from pyctr.core import errors
from pyctr.core.linux import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.targets import Target

_JOINED = ("net", "uts", "ipc")


class Inside:
    """What `enter` joined. `root` is where the container's files are; `among` whether its processes are seen."""

    def __init__(self, root: str, among: bool, why: str = "") -> None:
        self.root = root
        self.among = among
        self.why = why
        """Why not among them."""


def enter(target: Target) -> Inside:
    """Join: afterwards a forked child, which must call `settle`, is inside. The calling process keeps the host's files
    and its own pid namespace. Raises IllegalTransition, PermissionDenied, OSError."""
    from pyctr.core.linux import const, namespaces

    if os.geteuid() != 0:
        raise errors.PermissionDenied("joining a container's namespaces needs root", hint="sudo pyctr debug ...")
    if not target.pid:
        raise errors.IllegalTransition(f"container '{target.name}' does not run", hint="there is nothing to look at")
    born = procfs.start_time(target.pid)
    try:
        why = _traceable(target.pid)
        kinds = [kind for kind in (*_JOINED, *([] if why else ["pid"])) if not _ours(target.pid, kind)]
        # every descriptor before the first is joined, and then a look at whose they are
        opened = [(kind, os.open(f"/proc/{target.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)) for kind in kinds]
    except (FileNotFoundError, ProcessLookupError):
        born = None
    if born is None or not procfs.alive(target.pid, born):
        raise errors.IllegalTransition(f"container '{target.name}' ended just now")
    among = False
    for kind, fd in opened:
        namespaces.setns(fd, namespaces.kind_of(fd))
        os.close(fd)
        among = among or kind == "pid"
    namespaces.unshare(const.CLONE_NEWNS)
    return Inside("/proc/1/root" if among else f"/proc/{target.pid}/root", among, why)


def settle(inside: Inside) -> None:
    """In the child: the container's processes in /proc, in a mount namespace that nobody else sees."""
    from pyctr.core.linux import const, mount

    mount.mount(None, "/", None, const.MS_PRIVATE | const.MS_REC)
    if inside.among:
        mount.mount("proc", "/proc", "proc", const.MS_NOSUID | const.MS_NODEV | const.MS_NOEXEC)


def _ours(pid: int, kind: str) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}") == os.readlink(f"/proc/self/ns/{kind}")
    except FileNotFoundError:
        if os.path.exists(f"/proc/{pid}"):
            return True  # a kernel without that kind
        raise


def _traceable(pid: int) -> str:
    """Why something in there could trace us; "" if nothing can. The bounding set: what any of it may come to have."""
    from pyctr.core.linux.capnames import number

    if not _ours(pid, "user"):
        return ""  # its rights end at its own user namespace
    if int(procfs.status(pid).get("CapBnd", "0"), 16) >> number("sys_ptrace") & 1:
        return "it has sys_ptrace and could take over what appears among its processes"
    return ""
