"""What is in a file goes into another one, holes as holes."""

from __future__ import annotations

import errno
import os

_PIECE = 1 << 20
_CANNOT = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF)


def copy_contents(reader: int, writer: int, size: int) -> None:
    """Copy the first `size` bytes into an empty file; of a file that says 0 (procfs) whatever can be read.

    The bound is what fstat said: a file that its owner keeps growing must not keep us for ever. Holes are not read
    (lseek(2), SEEK_DATA), blocks are shared where the filesystem can (copy_file_range(2)).
    """
    if not size:
        while piece := os.read(reader, _PIECE):
            _write(writer, piece)
        return
    at = 0
    while at < size:
        try:
            start = os.lseek(reader, at, os.SEEK_DATA)
            stop = min(size, os.lseek(reader, start, os.SEEK_HOLE))
        except OSError as error:
            if error.errno == errno.ENXIO:
                break  # only a hole is left, or the file became shorter
            if error.errno != errno.EINVAL:
                raise
            start, stop = at, size  # a filesystem that knows of no holes
        if start >= size or not _range(reader, writer, start, stop):
            break
        at = stop
    os.ftruncate(writer, size)


def _range(reader: int, writer: int, start: int, stop: int) -> bool:
    """False when the file ended before."""
    at = start
    while at < stop:
        try:
            copied = os.copy_file_range(reader, writer, stop - at, at, at)
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
            copied = 0  # pseudo files and odd pairs of filesystems
        if not copied:
            break
        at += copied
    while at < stop:
        piece = os.pread(reader, min(_PIECE, stop - at), at)
        if not piece:
            return False
        os.lseek(writer, at, os.SEEK_SET)
        _write(writer, piece)
        at += len(piece)
    return True


def _write(writer: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(writer, view) :]
