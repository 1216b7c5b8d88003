"""Attributes of the calling process: prctl(2), prlimit(2), close_range(2), scheduling, personality(2), memory."""

from __future__ import annotations

import os
import struct

from pyctr.core.linux import const, foreign
from pyctr.core.linux.libc import check, libc, prctl, syscall

RLIMITS = {
    name: number
    for number, name in enumerate(
        (
            "RLIMIT_CPU",
            "RLIMIT_FSIZE",
            "RLIMIT_DATA",
            "RLIMIT_STACK",
            "RLIMIT_CORE",
            "RLIMIT_RSS",
            "RLIMIT_NPROC",
            "RLIMIT_NOFILE",
            "RLIMIT_MEMLOCK",
            "RLIMIT_AS",
            "RLIMIT_LOCKS",
            "RLIMIT_SIGPENDING",
            "RLIMIT_MSGQUEUE",
            "RLIMIT_NICE",
            "RLIMIT_RTPRIO",
            "RLIMIT_RTTIME",
        )
    )
}
"""Name -> resource number (getrlimit(2))."""

UNLIMITED = (1 << 64) - 1

PERSONALITIES = {"LINUX": 0x0000, "LINUX32": 0x0008}
"""OCI's words (config-linux.md, "Personality") -> PER_*."""
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
SCHEDULER_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
MEMORY_MODES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
MEMORY_FLAGS = {"MPOL_F_NUMA_BALANCING": 1 << 13, "MPOL_F_RELATIVE_NODES": 1 << 14, "MPOL_F_STATIC_NODES": 1 << 15}
_SCHED_ATTR = struct.Struct("=IIQiIQQQII")


def no_new_privs() -> None:
    """execve(2) never grants more from now on (PR_SET_NO_NEW_PRIVS)."""
    prctl(const.PR_SET_NO_NEW_PRIVS, 1)


def parent_death_signal(signal: int) -> None:
    """Be sent `signal` when the parent thread dies. Check getppid() afterwards: it may be dead already."""
    prctl(const.PR_SET_PDEATHSIG, signal)


_SUBREAPER = [
    (foreign.c_int(const.PR_SET_CHILD_SUBREAPER), *map(foreign.c_long, (adopts, 0, 0, 0))) for adopts in (0, 1)
]
"""Made ahead: every fork of a launcher calls this, and what it makes anew takes pages."""


_subreaper = 0
"""The process that is one: a fork of it is none."""


def subreaper(adopts: bool = True) -> None:
    """Orphaned descendants become our children, or no more."""
    global _subreaper
    check(libc.prctl(*_SUBREAPER[adopts]), "prctl PR_SET_CHILD_SUBREAPER")
    _subreaper = os.getpid() if adopts else 0


def is_subreaper() -> bool:
    """Whether `subreaper` has made this process one; to ask the kernel would cost a sleeping shim pages."""
    return _subreaper == os.getpid()


def set_dumpable(dumpable: bool) -> None:
    """Whether others of our uid may ptrace us and open our /proc files (CVE-2016-9962, CVE-2019-5736)."""
    prctl(const.PR_SET_DUMPABLE, int(dumpable))


def keep_capabilities(keep: bool) -> None:
    """Keep the permitted set over a setuid from 0; cleared by execve."""
    prctl(const.PR_SET_KEEPCAPS, int(keep))


def set_name(name: str) -> None:
    """What ps shows as the command, 15 bytes of it."""
    # as bytes: a buffer of its own length would be a type of its own
    none = foreign.c_long(0)
    check(libc.prctl(foreign.c_int(const.PR_SET_NAME), os.fsencode(name)[:15], none, none, none), "prctl PR_SET_NAME")


def execveat(fd: int, arguments: list[str], environment: list[str] | None = None) -> None:
    """Execute the file behind a descriptor, without environment if none is given. Returns never; raises OSError."""
    argv = (foreign.c_char_p * (len(arguments) + 1))(*map(os.fsencode, arguments), None)
    words = [os.fsencode(word) for word in environment or ()]
    envp = (foreign.c_char_p * (len(words) + 1))(*words, None)
    syscall(const.SYSCALLS["execveat"], fd, b"", argv, envp, const.AT_EMPTY_PATH, name="execveat")


def close_range(first: int, last: int = 0xFFFFFFFF, flags: int = 0) -> None:
    """Close (or mark with CLOSE_RANGE_CLOEXEC) all descriptors of a range. Needs Linux 5.9, the mark 5.11."""
    syscall(const.SYSCALLS["close_range"], first, last, flags, name="close_range")


def close_on_exec_from(first: int = 3) -> None:
    """No descriptor from `first` on survives execve(2) (CVE-2024-21626)."""
    try:
        close_range(first, flags=const.CLOSE_RANGE_CLOEXEC)
    except OSError:
        # ENOSYS, EINVAL: an older kernel; one by one
        for name in os.listdir("/proc/self/fd"):
            if int(name) >= first:
                try:
                    os.set_inheritable(int(name), False)
                except OSError:
                    pass  # the descriptor of the listing itself


def setrlimit(name: str, soft: int, hard: int, pid: int = 0) -> None:
    """prlimit(2) of a process, 0 for this one; -1 is unlimited. `name` as in RLIMITS, the prefix may be missing."""
    full = name.upper() if name.upper().startswith("RLIMIT_") else f"RLIMIT_{name.upper()}"
    if full not in RLIMITS:
        raise ValueError(f"unknown resource limit '{name}'")
    values = struct.pack("QQ", soft & UNLIMITED, hard & UNLIMITED)
    result = libc.prlimit(foreign.c_int(pid), foreign.c_int(RLIMITS[full]), values, None)
    check(result, "prlimit", full)


def getrlimit(name: str, pid: int = 0) -> tuple[int, int]:
    """(soft, hard) of a process; -1 is unlimited."""
    buffer = foreign.buffer(16)
    check(libc.prlimit(foreign.c_int(pid), foreign.c_int(RLIMITS[name]), None, buffer), "prlimit", name)
    soft, hard = struct.unpack("QQ", buffer.raw)
    return -1 if soft == UNLIMITED else soft, -1 if hard == UNLIMITED else hard


def set_ioprio(io_class: int, priority: int) -> None:
    """I/O class (1 real-time, 2 best-effort, 3 idle) and priority 0-7 of this thread."""
    syscall(const.SYSCALLS["ioprio_set"], 1, 0, io_class << 13 | priority, name="ioprio_set")


def set_personality(domain: int) -> None:
    """Execution domain, e.g. 0x0008 PER_LINUX32 (OCI config-linux.md, "Personality")."""
    syscall(const.SYSCALLS["personality"], domain, name="personality")


def set_scheduler(
    policy: int,
    *,
    flags: int = 0,
    nice: int = 0,
    priority: int = 0,
    runtime: int = 0,
    deadline: int = 0,
    period: int = 0,
) -> None:
    """sched_setattr(2) of this thread; times in nanoseconds. Utilisation clamps, if flagged, are 0."""
    size = _SCHED_ATTR.size
    packed = _SCHED_ATTR.pack(size, policy, flags, nice, priority, runtime, deadline, period, 0, 0)
    syscall(const.SYSCALLS["sched_setattr"], 0, packed, 0, name="sched_setattr")


def set_memory_policy(mode: int, nodes: list[int]) -> None:
    """set_mempolicy(2) of this thread, flags being a part of `mode`. ENOSYS in a kernel without NUMA."""
    bits = sum(1 << node for node in nodes)
    length = (max(nodes, default=0) // 64 + 1) * 8
    mask = bits.to_bytes(length, "little") if nodes else None
    # the kernel reads one bit less than it is told
    syscall(const.SYSCALLS["set_mempolicy"], mode, mask, length * 8 + 1 if nodes else 0, name="set_mempolicy")
