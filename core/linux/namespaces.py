"""Namespaces and pidfds: clone3(2), unshare(2), setns(2), pidfd_open(2).

Only a single-threaded process may call `clone3` here: between the kernel's fork and exec the child runs Python,
and a lock another thread held at that moment would stay locked in it for ever. The client and the TUI start a
shim with posix_spawn instead.
"""

from __future__ import annotations

import errno
import itertools
import os
import struct

from pyctr.core.linux import const, foreign
from pyctr.core.linux.libc import check, error, libc, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

FLAGS = {
    "pid": const.CLONE_NEWPID,
    "network": const.CLONE_NEWNET,
    "mount": const.CLONE_NEWNS,
    "uts": const.CLONE_NEWUTS,
    "ipc": const.CLONE_NEWIPC,
    "user": const.CLONE_NEWUSER,
    "cgroup": const.CLONE_NEWCGROUP,
    "time": const.CLONE_NEWTIME,
}
"""OCI namespace type (config-linux.md) -> CLONE_NEW*."""

PROC_NAMES = {
    "pid": "pid",
    "network": "net",
    "mount": "mnt",
    "uts": "uts",
    "ipc": "ipc",
    "user": "user",
    "cgroup": "cgroup",
    "time": "time",
}
"""OCI namespace type -> file in /proc/PID/ns."""

_SIGCHLD = 17
_CLONE_ARGS = struct.Struct("11Q")


def _python_fork_hooks() -> tuple[Any, ...]:
    python = foreign.library(holding=True)
    hooks = (python.PyOS_BeforeFork, python.PyOS_AfterFork_Parent, python.PyOS_AfterFork_Child)
    for hook in hooks:
        hook.restype = None
        hook.argtypes = ()
    return hooks


def clone3(flags: int, cgroup_fd: int | None = None) -> tuple[int, int]:
    """A forked child in new namespaces: (0, -1) in the child, (pid, close-on-exec pidfd) in the parent.

    `cgroup_fd`, a directory of a v2 hierarchy, puts the child there before it runs (CLONE_INTO_CGROUP), which
    also spares the RCU grace period of a write to cgroup.procs. Where clone3 is filtered away with ENOSYS, as in
    containers of Docker, clone(2) does the same without `cgroup_fd` and time namespaces. With CLONE_PARENT the child
    is our sibling and tells our parent of its end.
    """
    # PyDLL keeps the GIL over the call: a CDLL would let it go and take it again in the child,
    # before PyOS_AfterFork_Child has made the child's GIL anew.
    raw = foreign.library(holding=True).syscall
    raw.restype = foreign.c_long
    long = foreign.c_long
    before, after_parent, after_child = _python_fork_hooks()
    pidfd = foreign.c_int(-1)
    pidfd_address = foreign.addressof(pidfd)
    with_cgroup = const.CLONE_INTO_CGROUP if cgroup_fd is not None else 0
    # a sibling's signal is ours, clone(2)
    signal = 0 if flags & const.CLONE_PARENT else _SIGCHLD
    packed = _CLONE_ARGS.pack(
        flags | const.CLONE_PIDFD | with_cgroup, pidfd_address, 0, 0, signal, 0, 0, 0, 0, 0, cgroup_fd or 0
    )
    arguments = foreign.buffer(packed, len(packed))
    name = "clone3"
    before()
    pid = _fork(raw, after_child, long(const.SYSCALLS["clone3"]), arguments, foreign.c_size_t(len(packed)))
    number = foreign.get_errno()
    if pid < 0 and number == errno.ENOSYS and cgroup_fd is None and not flags & ~0xFFFFFF00:
        name = "clone"
        # stack 0 shares the page-aligned copy like fork(2); the third argument takes the pidfd (clone(2), CLONE_PIDFD)
        pid = _fork(
            raw,
            after_child,
            long(const.SYSCALLS["clone"]),
            long(flags | const.CLONE_PIDFD | signal),
            long(0),
            long(pidfd_address),
            long(0),
            long(0),
        )
        number = foreign.get_errno()
    if pid == 0:
        return 0, -1
    after_parent()
    if pid < 0:
        raise error(name, None, number)
    return pid, pidfd.value


def _fork(raw: Any, after_child: Any, *arguments: Any) -> int:
    """What `raw` returned in the parent; 0 in the child, where `after_child` has run.

    No bytecode runs in between, C calls C: if another thread wanted the GIL at the moment of the fork, the child's
    first bytecode would hand it over and wait for a thread that the child does not have.
    """
    asked = map(raw, *((argument,) for argument in arguments))
    answer = next(itertools.chain(iter(asked.__next__, 0), iter(after_child, 0)))
    return answer or 0


def unshare(flags: int) -> None:
    """unshare(2)."""
    check(libc.unshare(foreign.c_int(flags)), "unshare")


def setns(fd: int, flags: int = 0) -> None:
    """setns(2): `fd` of a namespace, or a pidfd with `flags` naming which namespaces of that process to join."""
    check(libc.setns(foreign.c_int(fd), foreign.c_int(flags)), "setns")


def within(place: int, make: Callable[[], T]) -> T:
    """What is made (a socket belongs there for ever) while this thread is in the network namespace of a descriptor."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(place, const.CLONE_NEWNET)
        try:
            return make()
        finally:
            setns(here, const.CLONE_NEWNET)
    finally:
        os.close(here)


def open_namespace(pid: int, kind: str, proc: str = "/proc") -> int:
    """A descriptor of a process's namespace; `kind` is the OCI type ("network", "mount", ...)."""
    return os.open(f"{proc}/{pid}/ns/{PROC_NAMES[kind]}", os.O_RDONLY | os.O_CLOEXEC)


def kind_of(fd: int) -> int:
    """CLONE_NEW* of a namespace's descriptor (ioctl_nsfs(2), NS_GET_NSTYPE), 0 for any other file."""
    ns_get_nstype = 0xB703
    result: int = libc.ioctl(foreign.c_int(fd), foreign.c_ulong(ns_get_nstype))
    return max(result, 0)


def pidfd_open(pid: int, flags: int = 0) -> int:
    """A close-on-exec descriptor of a process, readable once it has exited. ProcessLookupError if it is gone."""
    return syscall(const.SYSCALLS["pidfd_open"], pid, flags, name="pidfd_open", path=str(pid))


def pidfd_send_signal(pidfd: int, signal: int) -> None:
    """A signal that cannot hit another process which got the pid meanwhile."""
    syscall(const.SYSCALLS["pidfd_send_signal"], pidfd, signal, None, 0, name="pidfd_send_signal")


def pidfd_getfd(pidfd: int, fd: int) -> int:
    """A duplicate (close-on-exec) of another process's descriptor; needs ptrace access to it."""
    return syscall(const.SYSCALLS["pidfd_getfd"], pidfd, fd, 0, name="pidfd_getfd")


def sethostname(name: str) -> None:
    """The host name of the current UTS namespace, at most 64 bytes."""
    raw = os.fsencode(name)
    check(libc.sethostname(raw, foreign.c_size_t(len(raw))), "sethostname", name)


def setdomainname(name: str) -> None:
    """The NIS domain name of the current UTS namespace, at most 64 bytes."""
    raw = os.fsencode(name)
    check(libc.setdomainname(raw, foreign.c_size_t(len(raw))), "setdomainname", name)
