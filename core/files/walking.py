"""A file or directory and all that is below it, one entry after the other, by descriptor and never through a link."""

from __future__ import annotations

import os
import stat

from pyctr.core.files.writing import OPEN_DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Filter = Callable[[str, bool], tuple[bool, bool]]
    """(path below the start, is it a directory) -> (take it, look below it)."""


class Entry:
    """One file: its path below the start ("" for the start itself), the open directory that has it, its lstat."""

    __slots__ = ("found", "name", "parent", "path")

    def __init__(self, path: str, parent: int, name: str, found: os.stat_result) -> None:
        self.path = path
        self.parent = parent
        self.name = name
        self.found = found

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.found.st_mode)


def everything(path: str, directory: bool) -> tuple[bool, bool]:
    """The filter that takes all."""
    return True, True


def walk(parent: int, name: str, chosen: Filter = everything) -> Iterator[Entry]:
    """The start, then what is below it, in name order, every directory before its contents.

    A directory that the filter does not take comes all the same right before the first of its contents that it does
    take. Descriptors in an entry are good until the next one. What vanishes meanwhile is left out. Raises OSError.
    """
    found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    take, below = chosen("", stat.S_ISDIR(found.st_mode))
    start = Entry("", parent, name, found)
    if not stat.S_ISDIR(found.st_mode):
        if take:
            yield start
        return
    if not below:
        if take:
            yield start
        return
    stack: list[_Level] = []
    try:
        stack.append(_Level(start, os.open(name, OPEN_DIRECTORY, dir_fd=parent), take))
        while stack:
            level = stack[-1]
            if level.told and not level.yielded:
                level.yielded = True
                yield level.entry
            if not level.names:
                os.close(stack.pop().fd)
                continue
            child = level.names.pop()
            path = f"{level.entry.path}/{child}" if level.entry.path else child
            try:
                found = os.stat(child, dir_fd=level.fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            directory = stat.S_ISDIR(found.st_mode)
            take, below = chosen(path, directory)
            entry = Entry(path, level.fd, child, found)
            if directory and below:
                try:
                    fd = os.open(child, OPEN_DIRECTORY, dir_fd=level.fd)
                except FileNotFoundError:
                    continue
                except NotADirectoryError:
                    continue  # it was one a moment ago
                stack.append(_Level(entry, fd, take))
                if not take:
                    continue
            if take:
                for above in stack:
                    if not above.yielded:
                        above.yielded = True
                        yield above.entry
                if not (directory and below):
                    yield entry
    finally:
        for level in stack:
            os.close(level.fd)


class _Level:
    """A directory being read: names not looked at yet (from the end), and whether anybody was told of it."""

    __slots__ = ("entry", "fd", "names", "told", "yielded")

    def __init__(self, entry: Entry, fd: int, told: bool) -> None:
        self.entry = entry
        self.fd = fd
        self.told = told
        self.yielded = False
        self.names = sorted(os.listdir(fd), reverse=True)
