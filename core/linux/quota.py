"""Project quotas: a limit for all blocks below one directory (quotactl(2), ioctl_fs FS_IOC_FSSETXATTR).

A directory's project is inherited by what is made in it, and the filesystem counts the blocks of each project:
ext4 with the features `project` and `quota` and the mount option prjquota, xfs with pquota. Numbers are those of
include/uapi/linux/{fs,quota}.h; quotactl_fd(2) needs Linux 5.14.
"""

from __future__ import annotations

import os
import struct

from pyctr.core.linux import foreign
from pyctr.core.linux.libc import syscall

_FSXATTR = struct.Struct("5I8x")  # xflags, extsize, nextents, projid, cowextsize
_GETXATTR, _SETXATTR = 0x801C581F, 0x401C5820
_PROJINHERIT = 0x200
_DQBLK = struct.Struct("8QI4x")  # bhardlimit bsoftlimit curspace ihardlimit isoftlimit curinodes btime itime valid
_BLOCK = 1024
"""Limits are in these, use is in bytes."""
_QUOTACTL_FD = 443
_GETQUOTA, _SETQUOTA = 0x800007, 0x800008
_PROJECT = 2
_BLOCK_LIMITS = 1


def project(fd: int) -> int:
    """The project of an open file or directory; 0 for none. Raises OSError where the filesystem has none."""
    import fcntl

    number: int = _FSXATTR.unpack(fcntl.ioctl(fd, _GETXATTR, bytes(_FSXATTR.size)))[3]
    return number


def set_project(fd: int, number: int) -> None:
    """Put an open, empty directory into a project, and all that will be made in it."""
    import fcntl

    flags, extent, count, _, copied = _FSXATTR.unpack(fcntl.ioctl(fd, _GETXATTR, bytes(_FSXATTR.size)))
    fcntl.ioctl(fd, _SETXATTR, _FSXATTR.pack(flags | _PROJINHERIT, extent, count, number, copied))


def use(fd: int, number: int) -> tuple[int, int, int]:
    """(bytes used, inodes, limit in bytes or 0) of a project on the filesystem of `fd`. OSError when nobody counts."""
    buffer = foreign.buffer(_DQBLK.size)
    try:
        _quotactl(fd, _GETQUOTA, number, buffer)
    except FileNotFoundError:
        return 0, 0, 0  # ENOENT: this project never had anything (xfs)
    found = _DQBLK.unpack(buffer.raw)
    return found[2], found[5], found[0] * _BLOCK


def limit(fd: int, number: int, size: int) -> None:
    """Let a project have `size` bytes of blocks on the filesystem of `fd`; 0 takes the limit away."""
    packed = _DQBLK.pack(-(-size // _BLOCK), 0, 0, 0, 0, 0, 0, 0, _BLOCK_LIMITS)
    _quotactl(fd, _SETQUOTA, number, foreign.buffer(packed, len(packed)))


def counted(path: str) -> bool:
    """Does the filesystem of a directory count projects?"""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        project(fd)
        use(fd, 1)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _quotactl(fd: int, command: int, number: int, buffer: object) -> None:
    syscall(_QUOTACTL_FD, fd, command << 8 | _PROJECT, number, buffer, name="quotactl_fd")
