"""What one layer's directory has in it, entry by entry, so that a walk can be paused, counted and given up anywhere.

    walk(directory) -> File, File, …      a directory before what is in it; whiteouts as deletions ("D")

All steps are by descriptor and never follow a link. What vanishes while a container is at work is left out.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from pyctr.core.images.merged import MARKS, is_opaque
from pyctr.core.images.unpack import is_whiteout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
DEEPEST = 200
"""Directories below one another that are followed; each holds two descriptors open."""

ADDED, CHANGED, DELETED, SAME = "A", "C", "D", ""


@dataclass(slots=True)
class File:
    """One path as one layer has it."""

    path: str
    change: str
    """ADDED, CHANGED or DELETED, against what is below; a walk alone knows only DELETED."""
    mode: int
    """With the file type bits; 0 for a deletion."""
    size: int
    """Bytes of a regular file; 0 for a further name of one that was counted already."""
    was: int = 0
    """Bytes below that it hides: of the old file, or of everything in a deleted directory."""
    uid: int = 0
    gid: int = 0
    link: str = ""
    """Target of a symbolic link, or the other name of a hard link."""
    mtime: float = 0.0
    layer: int = 0
    """Number of the layer that has it, 0 for the bottom one."""
    opaque: bool = False
    """A directory that hides all that is below it."""
    leaf: bool = True
    """Nothing in the same layer is below it."""
    implied: bool = False
    """Gone together with the directory it was in."""

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_regular(self) -> bool:
        return stat.S_ISREG(self.mode)


def walk(directory: str) -> Iterator[File]:
    """Every entry below a directory. Closing the iterator closes what it has open. Raises OSError for the top alone."""
    top = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    open_: list[tuple[int, Iterator[os.DirEntry[str]], str]] = []
    inodes: dict[tuple[int, int], list[File]] = {}
    try:
        open_.append((top, os.scandir(top), ""))
        while open_:
            fd, entries, place = open_[-1]
            entry = next(entries, None)
            if entry is None:
                open_.pop()
                os.close(fd)
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # a container is at work
            path = f"{place}/{entry.name}"
            if entry.name in MARKS:
                continue
            if is_whiteout(status):
                yield File(path, DELETED, 0, 0)
                continue
            file = _file(fd, entry.name, status, path, inodes)
            if not file.is_directory or len(open_) > DEEPEST:
                yield file
                continue
            try:
                child = os.open(entry.name, _DIRECTORY, dir_fd=fd)
            except OSError:
                continue  # replaced since
            file.opaque = is_opaque(child)
            open_.append((child, os.scandir(child), path))
            yield file
    finally:
        for fd, entries, _ in open_:
            entries.close()  # type: ignore[attr-defined]
            os.close(fd)


def _file(fd: int, name: str, status: os.stat_result, path: str, inodes: dict[tuple[int, int], list[File]]) -> File:
    file = File(path, ADDED, status.st_mode, 0, uid=status.st_uid, gid=status.st_gid, mtime=status.st_mtime)
    if stat.S_ISLNK(status.st_mode):
        try:
            file.link = os.readlink(name, dir_fd=fd)
        except OSError:
            file.link = "?"  # replaced since
    elif stat.S_ISREG(status.st_mode):
        file.size = status.st_size
        if status.st_nlink > 1:
            _linked(file, inodes.setdefault((status.st_dev, status.st_ino), []))
    return file


def _linked(file: File, names: list[File]) -> None:
    """The first name of the alphabet, which `names` begins with, has the bytes, in whatever order they are met."""
    if not names:
        names.append(file)
    elif file.path > names[0].path:
        names.append(file)
        file.size, file.link = 0, names[0].path
    else:
        names.insert(0, file)
        for other in names[1:]:
            other.size, other.link = 0, file.path
