"""statx(2) for those who must not wait: what the kernel knows now, without asking a FUSE daemon for it."""

from __future__ import annotations

import errno
import struct
from typing import NamedTuple

from pyctr.core.linux import const, foreign
from pyctr.core.linux.const import SYSCALLS
from pyctr.core.linux.libc import path_bytes, syscall

_DONT_SYNC = 0x4000
_BASIC = 0x7FF
_FORMAT = struct.Struct("=IIQIIIHxxQQQQ")
"""struct statx up to stx_attributes_mask: mask, blksize, attributes, nlink, uid, gid, mode, ino, size, blocks."""
_NUMBERS = struct.Struct("=IIII")
"""Behind the times, at 128: of a device node and of the file system, major and minor."""
_TIMES_END = 128
_LENGTH = 256


class Known(NamedTuple):
    """As os.stat_result has them; `device` is (major, minor) of the file system."""

    mode: int
    links: int
    inode: int
    size: int
    blocks: int
    """Of 512 bytes."""
    device: tuple[int, ...]


def cached(path: str) -> Known:
    """Follows links. Raises OSError; ENOSYS before Linux 4.11."""
    if (number := SYSCALLS.get("statx")) is None:
        raise OSError(errno.ENOSYS, "statx: its number is not known on this machine", path)
    buffer = (foreign.c_char * _LENGTH)()
    place, flags = foreign.addressof(buffer), const.AT_NO_AUTOMOUNT | _DONT_SYNC
    syscall(number, const.AT_FDCWD, path_bytes(path), flags, _BASIC, place, name="statx", path=path)
    raw = bytes(buffer)
    _, _, _, links, _, _, mode, inode, size, blocks, _ = _FORMAT.unpack_from(raw)
    numbers = _NUMBERS.unpack_from(raw, _TIMES_END)
    return Known(mode, links, inode, size, blocks, numbers[2:])
