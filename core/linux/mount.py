"""Mounts: mount(2), the descriptor-based mount API, pivot_root(2), openat2(2), statfs(2).

Whoever mounts onto something inside a rootfs opens the target with `openat2` first and mounts onto `fd_path(fd)`
or moves a detached mount with MOVE_MOUNT_T_EMPTY_PATH: a path looked up twice can change in between
(CVE-2021-30465, CVE-2019-16884).
"""

from __future__ import annotations

import errno
import os
import struct

from pyctr.core.linux import const, foreign
from pyctr.core.linux.const import SYSCALLS
from pyctr.core.linux.libc import check, libc, path_bytes, syscall

_OPEN_HOW = struct.Struct("QQQ")
_MOUNT_ATTR = struct.Struct("QQQQ")
_ulong = foreign.c_ulong


def unescape(field: str) -> str:
    """A path of /proc/PID/mountinfo as it is: blanks, tabs, newlines and backslashes are octal there (proc(5))."""
    first, *rest = field.split("\\")
    return first + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)


def fd_path(fd: int) -> str:
    """A path that means exactly this descriptor, for calls that take only paths. Needs /proc."""
    return f"/proc/self/fd/{fd}"


def mount(source: str | None, target: str, fstype: str | None, flags: int = 0, data: str = "") -> None:
    """mount(2). Data of a page or more is refused (E2BIG): the kernel would cut it silently."""
    raw = path_bytes(data) or b""
    if len(raw) >= 4096:
        raise OSError(errno.E2BIG, f"mount: options of {len(raw)} bytes do not fit in a page", target)
    check(
        libc.mount(path_bytes(source), path_bytes(target), path_bytes(fstype), _ulong(flags), raw or None),
        "mount",
        target,
    )


def umount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    check(libc.umount2(path_bytes(target), foreign.c_int(flags)), "umount2", target)


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2). `pivot_root(".", ".")` stacks the old root on the new; unmount it with MNT_DETACH."""
    syscall(SYSCALLS["pivot_root"], path_bytes(new), path_bytes(old), name="pivot_root", path=new)


def openat2(dirfd: int, path: str, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2), close-on-exec; `resolve` are RESOLVE_* bits. Needs Linux 5.6.

    With RESOLVE_IN_ROOT or RESOLVE_BENEATH the kernel answers EAGAIN when something was renamed during the
    lookup of `..`; that is tried again, a bounded number of times, since an attacker can rename for ever.
    """
    raw = path_bytes(path)
    packed = _OPEN_HOW.pack(flags | os.O_CLOEXEC, mode, resolve)
    for _ in range(127):
        try:
            return syscall(SYSCALLS["openat2"], dirfd, raw, packed, len(packed), name="openat2", path=path)
        except BlockingIOError:
            continue
    return syscall(SYSCALLS["openat2"], dirfd, raw, packed, len(packed), name="openat2", path=path)


def open_tree(dirfd: int, path: str, flags: int) -> int:
    """open_tree(2), close-on-exec: a detached copy of a mount with OPEN_TREE_CLONE (and AT_RECURSIVE)."""
    flags |= const.OPEN_TREE_CLOEXEC
    return syscall(SYSCALLS["open_tree"], dirfd, path_bytes(path), flags, name="open_tree", path=path)


def move_mount(from_fd: int, from_path: str, to_fd: int, to_path: str, flags: int = 0) -> None:
    """move_mount(2). An empty path means the descriptor itself; its *_EMPTY_PATH flag is added."""
    if not from_path:
        flags |= const.MOVE_MOUNT_F_EMPTY_PATH
    if not to_path:
        flags |= const.MOVE_MOUNT_T_EMPTY_PATH
    syscall(
        SYSCALLS["move_mount"],
        from_fd,
        path_bytes(from_path),
        to_fd,
        path_bytes(to_path),
        flags,
        name="move_mount",
        path=to_path or None,
    )


def fsopen(fstype: str, flags: int = const.FSOPEN_CLOEXEC) -> int:
    """fsopen(2): a context in which a filesystem is configured."""
    return syscall(SYSCALLS["fsopen"], path_bytes(fstype), flags, name="fsopen", path=fstype)


def fspick(fd: int) -> int:
    """fspick(2): a context that reconfigures the filesystem a descriptor is on."""
    flags = const.FSPICK_CLOEXEC | const.FSPICK_EMPTY_PATH
    return syscall(SYSCALLS["fspick"], fd, path_bytes(""), flags, name="fspick")


def fsconfig(fd: int, command: int, key: str | None = None, value: str | None = None, aux: int = 0) -> None:
    """fsconfig(2). The kernel's explanation of a refusal, if it left one in the context, is in the error."""
    try:
        syscall(SYSCALLS["fsconfig"], fd, command, path_bytes(key), path_bytes(value), aux, name="fsconfig", path=key)
    except OSError as refused:
        if reason := _messages(fd):
            raise OSError(refused.errno, f"{refused.strerror} ({reason})", key) from None
        raise


def fsmount(fd: int, flags: int = const.FSMOUNT_CLOEXEC, attributes: int = 0) -> int:
    """fsmount(2): a detached mount of a configured context; `attributes` are MOUNT_ATTR_*."""
    return syscall(SYSCALLS["fsmount"], fd, flags, attributes, name="fsmount")


def mount_setattr(fd: int, path: str, flags: int, set: int, clear: int, propagation: int = 0, userns: int = 0) -> None:
    """mount_setattr(2) with MOUNT_ATTR_*; AT_RECURSIVE in `flags` for a whole tree. Needs Linux 5.12."""
    if not path:
        flags |= const.AT_EMPTY_PATH
    packed = _MOUNT_ATTR.pack(set, clear, propagation, userns)
    syscall(
        SYSCALLS["mount_setattr"],
        fd,
        path_bytes(path),
        flags,
        packed,
        len(packed),
        name="mount_setattr",
        path=path or None,
    )


def fs_type(target: int | str) -> int:
    """f_type of the filesystem a descriptor or path is on (statfs(2)): compare with const.*_MAGIC."""
    buffer = foreign.buffer(256)
    if isinstance(target, int):
        check(libc.fstatfs(foreign.c_int(target), buffer), "fstatfs")
    else:
        check(libc.statfs(path_bytes(target), buffer), "statfs", target)
    # `long f_type` comes first on both architectures
    return int.from_bytes(buffer.raw[:8], "little") & 0xFFFFFFFF


def _messages(fd: int) -> str:
    """What the kernel logged into a filesystem context, e.g. "e overlay: No changes allowed in reconfigure"."""
    lines = []
    while True:
        try:
            lines.append(os.read(fd, 4096).decode(errors="replace").strip())
        except OSError:
            return "; ".join(lines)  # ENODATA: no more of them


_SET: dict[str, int] = {
    "bind": const.MS_BIND,
    "rbind": const.MS_BIND | const.MS_REC,
    "dirsync": const.MS_DIRSYNC,
    "iversion": const.MS_I_VERSION,
    "lazytime": const.MS_LAZYTIME,
    "mand": const.MS_MANDLOCK,
    "noatime": const.MS_NOATIME,
    "nodev": const.MS_NODEV,
    "nodiratime": const.MS_NODIRATIME,
    "noexec": const.MS_NOEXEC,
    "nosuid": const.MS_NOSUID,
    "nosymfollow": const.MS_NOSYMFOLLOW,
    "relatime": const.MS_RELATIME,
    "remount": const.MS_REMOUNT,
    "ro": const.MS_RDONLY,
    "silent": const.MS_SILENT,
    "strictatime": const.MS_STRICTATIME,
    "sync": const.MS_SYNCHRONOUS,
}
_CLEAR: dict[str, int] = {
    "async": const.MS_SYNCHRONOUS,
    "atime": const.MS_NOATIME,
    "dev": const.MS_NODEV,
    "diratime": const.MS_NODIRATIME,
    "exec": const.MS_NOEXEC,
    "loud": const.MS_SILENT,
    "noiversion": const.MS_I_VERSION,
    "nolazytime": const.MS_LAZYTIME,
    "nomand": const.MS_MANDLOCK,
    "norelatime": const.MS_RELATIME,
    "nostrictatime": const.MS_STRICTATIME,
    "rw": const.MS_RDONLY,
    "suid": const.MS_NOSUID,
    "symfollow": const.MS_NOSYMFOLLOW,
}
_PROPAGATION: dict[str, int] = {
    "private": const.MS_PRIVATE,
    "shared": const.MS_SHARED,
    "slave": const.MS_SLAVE,
    "unbindable": const.MS_UNBINDABLE,
    "rprivate": const.MS_PRIVATE | const.MS_REC,
    "rshared": const.MS_SHARED | const.MS_REC,
    "rslave": const.MS_SLAVE | const.MS_REC,
    "runbindable": const.MS_UNBINDABLE | const.MS_REC,
}
# word: (attributes set, attributes cleared); the atime modes are one field, cleared before any of them is set
_RECURSIVE: dict[str, tuple[int, int]] = {
    "rro": (const.MOUNT_ATTR_RDONLY, 0),
    "rrw": (0, const.MOUNT_ATTR_RDONLY),
    "rnosuid": (const.MOUNT_ATTR_NOSUID, 0),
    "rsuid": (0, const.MOUNT_ATTR_NOSUID),
    "rnodev": (const.MOUNT_ATTR_NODEV, 0),
    "rdev": (0, const.MOUNT_ATTR_NODEV),
    "rnoexec": (const.MOUNT_ATTR_NOEXEC, 0),
    "rexec": (0, const.MOUNT_ATTR_NOEXEC),
    "rnodiratime": (const.MOUNT_ATTR_NODIRATIME, 0),
    "rdiratime": (0, const.MOUNT_ATTR_NODIRATIME),
    "rrelatime": (const.MOUNT_ATTR_RELATIME, const.MOUNT_ATTR__ATIME),
    "rnorelatime": (const.MOUNT_ATTR_STRICTATIME, const.MOUNT_ATTR__ATIME),
    "rnoatime": (const.MOUNT_ATTR_NOATIME, const.MOUNT_ATTR__ATIME),
    "ratime": (const.MOUNT_ATTR_RELATIME, const.MOUNT_ATTR__ATIME),
    "rstrictatime": (const.MOUNT_ATTR_STRICTATIME, const.MOUNT_ATTR__ATIME),
    "rnostrictatime": (const.MOUNT_ATTR_RELATIME, const.MOUNT_ATTR__ATIME),
    "rnosymfollow": (const.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "rsymfollow": (0, const.MOUNT_ATTR_NOSYMFOLLOW),
}
EXTENSIONS = frozenset({"tmpcopyup", "idmap", "ridmap", "defaults"})
"""Words of the OCI specification that are neither flags nor filesystem data; their reader looks for them itself."""


WORDS = frozenset({*_SET, *_CLEAR, *_PROPAGATION, *_RECURSIVE, *EXTENSIONS})
"""All that mean something to us; others are the filesystem's own."""


def parse_options(options: list[str]) -> tuple[int, int, int, str]:
    """OCI mount options (config.md, "Linux mount options") as (flags, clear_flags, propagation, data).

    `clear_flags` were asked to be off explicitly ("rw"), which a remount of a locked mount has to know; the last
    of contradicting words wins. `propagation` is one MS_PRIVATE... value, applied by a mount(2) of its own, or 0.
    Recursive attributes ("rro") are in `parse_recursive`.
    """
    flags = clear = propagation = 0
    data = []
    for option in options:
        if option in _SET:
            flags |= _SET[option]
            clear &= ~_SET[option]
        elif option in _CLEAR:
            flags &= ~_CLEAR[option]
            clear |= _CLEAR[option]
        elif option in _PROPAGATION:
            propagation = _PROPAGATION[option]
        elif option not in _RECURSIVE and option not in EXTENSIONS:
            data.append(option)
    return flags, clear, propagation, ",".join(data)


def parse_recursive(options: list[str]) -> tuple[int, int]:
    """The words that hold for a whole tree of mounts ("rro", "rnosuid"), for `mount_setattr(..., AT_RECURSIVE)`."""
    attributes = clear = 0
    for option in options:
        if option in _RECURSIVE:
            on, off = _RECURSIVE[option]
            attributes = attributes & ~off | on
            clear = clear & ~on | off
    return attributes, clear
