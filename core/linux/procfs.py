"""What /proc says about processes (proc(5)). `proc` is the mount point, so that a recorded host can be read.

Reading needs no ctypes, which costs a client 2 ms: what mounts or opens procfs itself imports it then.
"""

from __future__ import annotations

import errno
import os


class Stat:
    """The fields of /proc/PID/stat that we read; times in clock ticks, `start_time` after boot."""

    __slots__ = (
        "comm",
        "flags",
        "pgrp",
        "pid",
        "ppid",
        "rss",
        "session",
        "start_time",
        "state",
        "stime",
        "threads",
        "tty",
        "utime",
        "vsize",
    )

    def __init__(self, text: bytes) -> None:
        # comm may hold spaces and parentheses: the last one closes it
        head, _, tail = text.rpartition(b")")
        pid, _, comm = head.partition(b" (")
        fields = tail.split()
        self.pid = int(pid)
        self.comm = comm.decode(errors="replace")
        self.state = fields[0].decode()
        self.ppid, self.pgrp, self.session, self.tty = (int(field) for field in fields[1:5])
        self.flags = int(fields[6])
        self.utime = int(fields[11])
        self.stime = int(fields[12])
        self.threads = int(fields[17])
        self.start_time = int(fields[19])
        self.vsize = int(fields[20])
        self.rss = int(fields[21])
        """Pages."""


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        while chunk := os.read(fd, 65536):
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        os.close(fd)


def boot_id(proc: str = "/proc") -> str:
    """Differs after every boot: a stored pid means nothing under another one."""
    return _read(f"{proc}/sys/kernel/random/boot_id").decode().strip()


def stat(pid: int | str, proc: str = "/proc") -> Stat:
    """/proc/PID/stat. Raises FileNotFoundError or ProcessLookupError when the process is gone."""
    return Stat(_read(f"{proc}/{pid}/stat"))


def start_time(pid: int, proc: str = "/proc") -> int | None:
    """Clock ticks after boot at which a process started (field 22), None if it is gone."""
    try:
        return stat(pid, proc).start_time
    except (FileNotFoundError, ProcessLookupError):
        return None


def alive(pid: int, start_time: int, proc: str = "/proc") -> bool:
    """Whether this very process still runs; a zombie is dead, and so is a later process with the same pid."""
    try:
        found = stat(pid, proc)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return found.start_time == start_time and found.state not in "ZXx"


def status(pid: int | str, proc: str = "/proc") -> dict[str, str]:
    """/proc/PID/status as {"Name": ..., "CapEff": ..., ...}, values stripped."""
    fields = {}
    for line in _read(f"{proc}/{pid}/status").decode(errors="replace").splitlines():
        key, _, value = line.partition(":")
        fields[key] = value.strip()
    return fields


def children(pid: int, proc: str = "/proc") -> list[int]:
    """Direct children of all threads of a process, ascending; [] if it is gone."""
    found: list[int] = []
    try:
        for task in os.listdir(f"{proc}/{pid}/task"):
            try:
                found += map(int, _read(f"{proc}/{pid}/task/{task}/children").split())
            except ProcessLookupError:
                continue  # that thread ended meanwhile
            except FileNotFoundError:
                if not os.path.exists(f"{proc}/{pid}/task/{task}"):
                    continue
                return _children_by_parent(pid, proc)  # a kernel without CONFIG_PROC_CHILDREN
    except (FileNotFoundError, ProcessLookupError):
        return []
    return sorted(found)


def zombies(pid: int, proc: str = "/proc", most: int | None = None) -> int:
    """Children of a process that have ended and that it has not waited for, among the first `most` of them."""
    found = 0
    for child in children(pid, proc)[:most]:
        try:
            found += stat(child, proc).state == "Z"
        except (FileNotFoundError, ProcessLookupError):
            continue  # waited for meanwhile
    return found


def _children_by_parent(pid: int, proc: str) -> list[int]:
    found = []
    for name in os.listdir(proc):
        if not name.isdigit():
            continue
        try:
            if stat(name, proc).ppid == pid:
                found.append(int(name))
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended while we looked
    return sorted(found)


def parse_net_dev(text: bytes) -> dict[str, tuple[int, int, int, int, int, int, int, int]]:
    """The text of a net/dev file, see `net_dev`."""
    counters = {}
    for line in text.splitlines()[2:]:
        name, _, values = line.rpartition(b":")
        column = values.split()
        if len(column) >= 12:
            counters[name.strip().decode(errors="replace")] = (
                int(column[0]),
                int(column[1]),
                int(column[2]),
                int(column[3]),
                int(column[8]),
                int(column[9]),
                int(column[10]),
                int(column[11]),
            )
    return counters


def net_dev(pid: int | str = "self", proc: str = "/proc") -> dict[str, tuple[int, int, int, int, int, int, int, int]]:
    """Interfaces of a process's network namespace.

    {name: (rx_bytes, rx_packets, rx_errs, rx_drop, tx_bytes, tx_packets, tx_errs, tx_drop)}
    """
    return parse_net_dev(_read(f"{proc}/{pid}/net/dev"))


def open_root(proc: str = "/proc") -> int:
    """An O_PATH descriptor of the root of a real procfs; ENODEV if something else is mounted there."""
    from pyctr.core.linux import const
    from pyctr.core.linux.mount import fs_type

    fd = os.open(proc, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    if fs_type(fd) != const.PROC_SUPER_MAGIC or os.fstat(fd).st_ino != const.PROC_ROOT_INO:
        os.close(fd)
        raise OSError(errno.ENODEV, "open: not the root of a procfs", proc)
    return fd


def private_root() -> int:
    """A detached procfs of this pid namespace, over which nobody can have mounted anything.

    Needs CAP_SYS_ADMIN and Linux 5.2; otherwise raises OSError and `open_root` is the next best.
    """
    from pyctr.core.linux import const
    from pyctr.core.linux.mount import fsconfig, fsmount, fsopen

    context = fsopen("proc")
    try:
        fsconfig(context, const.FSCONFIG_CMD_CREATE)
        return fsmount(context, attributes=const.MOUNT_ATTR_NOSUID | const.MOUNT_ATTR_NODEV | const.MOUNT_ATTR_NOEXEC)
    finally:
        os.close(context)


def open_verified(path: str, flags: int = os.O_RDONLY, proc: str | int = "/proc") -> int:
    """A file of procfs that is what it is called: no mount on top of it, no magic link on the way.

    `path` is relative to the procfs ("self/attr/exec", "sys/net/ipv4/ip_forward"), `proc` its mount point or a
    descriptor of its root. A container's image or volumes can redirect writes that check less (CVE-2019-16884,
    CVE-2025-52881). Raises EXDEV or ELOOP when something is in the way.
    """
    from pyctr.core.linux import const
    from pyctr.core.linux.mount import fs_type, openat2

    root = proc if isinstance(proc, int) else open_root(proc)
    try:
        resolve = const.RESOLVE_BENEATH | const.RESOLVE_NO_XDEV | const.RESOLVE_NO_MAGICLINKS
        fd = openat2(root, path.lstrip("/"), flags, 0, resolve)
    finally:
        if not isinstance(proc, int):
            os.close(root)
    if fs_type(fd) != const.PROC_SUPER_MAGIC:
        os.close(fd)
        raise OSError(errno.EXDEV, "open: not on procfs", path)
    return fd
