"""The bytes of one file of one layer, bounded, by descriptor, and never by a link that leads elsewhere."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from pyctr.core.errors import UsageError

LIMIT = 256 << 10
"""Bytes shown of a file unless somebody wants more."""
_BINARY = frozenset(range(32)) - frozenset(b"\t\n\r\f\x1b\b")


class View(NamedTuple):
    content: bytes
    size: int
    """Bytes of the whole file."""
    binary: bool


def open_file(directory: str, path: str) -> int:
    """A descriptor of a regular file below a layer's directory. Raises OSError, UsageError for anything else."""
    from pyctr.core.linux import const
    from pyctr.core.linux.mount import fd_path, openat2

    resolve = const.RESOLVE_BENEATH | const.RESOLVE_NO_SYMLINKS | const.RESOLVE_NO_XDEV
    top = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        place = openat2(top, path.strip("/") or ".", os.O_PATH | os.O_NOFOLLOW, 0, resolve)
    finally:
        os.close(top)
    try:
        # looked at before it is opened: opening a device or a FIFO does something
        if not stat.S_ISREG(os.fstat(place).st_mode):
            raise UsageError(f"'{path}' is no regular file")
        return os.open(fd_path(place), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(place)


def view(directory: str, path: str, limit: int = LIMIT) -> View:
    """The beginning of a file. Raises as `open_file`."""
    fd = open_file(directory, path)
    try:
        size = os.fstat(fd).st_size
        pieces, left = [], limit
        while left and (piece := os.read(fd, left)):
            pieces.append(piece)
            left -= len(piece)
    finally:
        os.close(fd)
    content = b"".join(pieces)
    return View(content, size, any(byte in _BINARY for byte in content[:8192]))


def hexdump(content: bytes) -> list[str]:
    """`00000010  7f 45 4c 46 …  |.ELF…|`, sixteen bytes a line."""
    lines = []
    for at in range(0, len(content), 16):
        piece = content[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
        lines.append(f"{at:08x}  {piece[:8].hex(' '):<23}  {piece[8:].hex(' '):<23}  |{text}|")
    return lines
