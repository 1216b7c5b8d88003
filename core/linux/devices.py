"""Device nodes of a container's /dev (OCI config-linux.md, "Default Devices")."""

from __future__ import annotations

import errno
import os
import stat

from pyctr.core.linux import const, inroot, mount

DEFAULT = [
    ("null", "c", 1, 3, 0o666, 0, 0),
    ("zero", "c", 1, 5, 0o666, 0, 0),
    ("full", "c", 1, 7, 0o666, 0, 0),
    ("random", "c", 1, 8, 0o666, 0, 0),
    ("urandom", "c", 1, 9, 0o666, 0, 0),
    ("tty", "c", 5, 0, 0o666, 0, 0),
]
"""(name below /dev, type, major, minor, mode, uid, gid)."""

LINKS = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
]
"""(name below /dev, target)."""

FORMATS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def make(
    dirfd: int, name: str, type: str, major: int, minor: int, mode: int = 0o666, uid: int = 0, gid: int = 0
) -> None:
    """A device node `name` ("null", "net/tun") below the container's /dev, whose descriptor is `dirfd`.

    Type is c, u, b or p as in mknod(1). Raises FileExistsError if something has the name; PermissionError in a user
    namespace, where `bind` is the way. Changes the umask for a moment: single-threaded callers only.
    """
    directory, _, base = name.rpartition("/")
    parent = inroot.make_directories(dirfd, directory) if directory else os.dup(dirfd)
    # the mode must be right from the start: chmod by path could follow a link put there in between
    umask = os.umask(0)
    try:
        os.mknod(base, FORMATS[type] | mode, os.makedev(major, minor), dir_fd=parent)
        if uid or gid:
            os.chown(base, uid, gid, dir_fd=parent, follow_symlinks=False)
    except OSError as error:
        raise OSError(error.errno, f"mknod: {error.strerror}", name) from error
    finally:
        os.umask(umask)
        os.close(parent)


def make_default(dirfd: int) -> None:
    """All of DEFAULT and LINKS in a fresh /dev; by bind mounts from the host's /dev where mknod is forbidden."""
    for device in DEFAULT:
        try:
            make(dirfd, *device)
        except PermissionError:
            bind(dirfd, device[0], f"/dev/{device[0]}", *device[1:4])
    for name, target in LINKS:
        os.symlink(target, name, dir_fd=dirfd)


def open_verified(path: str, major: int, minor: int, type: str = "c") -> int:
    """An O_PATH descriptor of a device, checked to be this very device.

    Whoever bind-mounts /dev/null as a mask opens it with this: a container could have replaced the path
    (CVE-2025-31133). Raises ENODEV.
    """
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    status = os.fstat(fd)
    if stat.S_IFMT(status.st_mode) != FORMATS[type] or status.st_rdev != os.makedev(major, minor):
        os.close(fd)
        raise OSError(errno.ENODEV, f"open: not the device {major}:{minor}", path)
    return fd


def bind(dirfd: int, name: str, source: str, type: str, major: int, minor: int) -> None:
    """The host's device node `source` bind-mounted on `name` below the container's /dev."""
    origin = open_verified(source, major, minor, type)
    try:
        target = inroot.make_file(dirfd, name)
        try:
            tree = mount.open_tree(origin, "", const.OPEN_TREE_CLONE | const.AT_EMPTY_PATH)
            try:
                mount.move_mount(tree, "", target, "")
            finally:
                os.close(tree)
        finally:
            os.close(target)
    finally:
        os.close(origin)


def lookup(path: str) -> tuple[str, int, int, int, int, int]:
    """A device node of the host as (type, major, minor, mode, uid, gid). Raises ENODEV for anything else."""
    status = os.stat(path)
    if stat.S_ISCHR(status.st_mode):
        type = "c"
    elif stat.S_ISBLK(status.st_mode):
        type = "b"
    else:
        raise OSError(errno.ENODEV, "stat: not a device", path)
    device = status.st_rdev
    return type, os.major(device), os.minor(device), stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
