"""Subvolumes of btrfs: made, copied in an instant, removed (btrfs-ioctl(2), include/uapi/linux/btrfs.h)."""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAGIC = 0x9123683E
_ARGUMENTS = struct.Struct("q4088s")  # fd, name
_ARGUMENTS_V2 = struct.Struct("qQQ32x4040s")  # fd, transid, flags, name
_SUBVOL_CREATE, _SNAP_DESTROY, _SNAP_CREATE_V2 = 0x5000940E, 0x5000940F, 0x50009417


def is_btrfs(path: str) -> bool:
    from pyctr.core.linux.mount import fs_type

    return fs_type(path) == MAGIC


def create(path: str) -> None:
    """An empty subvolume. Raises OSError."""
    _do(path, _SUBVOL_CREATE, lambda name: _ARGUMENTS.pack(0, name))


def snapshot(source: str, path: str) -> None:
    """A writable copy of a subvolume, sharing all its blocks. Raises OSError."""
    fd = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _do(path, _SNAP_CREATE_V2, lambda name: _ARGUMENTS_V2.pack(fd, 0, 0, name))
    finally:
        os.close(fd)


def destroy(path: str) -> None:
    """Remove a subvolume with all that is in it. Raises OSError: FileNotFoundError, EINVAL for what is none."""
    _do(path, _SNAP_DESTROY, lambda name: _ARGUMENTS.pack(0, name))


def _do(path: str, request: int, pack: Callable[[bytes], bytes]) -> None:
    import fcntl

    parent, _, name = path.rpartition("/")
    raw = os.fsencode(name)
    if not raw or len(raw) > 255:
        raise ValueError(f"'{name}' is no name of a subvolume")
    fd = os.open(parent or "/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, request, bytearray(pack(raw)))  # more than 1024 bytes only in place
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(fd)
