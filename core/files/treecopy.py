"""Files and directories copied from one tree into another, both reached by descriptor."""

from __future__ import annotations

import os
import stat

from pyctr.core.errors import StorageError, from_oserror
from pyctr.core.files import writing
from pyctr.core.files.contents import copy_contents
from pyctr.core.files.writing import Attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyctr.core.files.walking import Entry

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Copier:
    """Copies what `walking.walk` tells of into directories; one for all sources, so hard links among them stay.

    `owner` None keeps owners. `mode` makes the new mode (12 bits) of an old one (st_mode). `keep_top`: a directory that
    is there already and is copied to keeps its own metadata; directories below it get the source's in any case.
    """

    def __init__(
        self,
        owner: tuple[int, int] | None = None,
        mode: Callable[[int], int] | None = None,
        *,
        keep_top: bool = True,
    ) -> None:
        self.owner = owner
        self.mode = mode
        self.keep_top = keep_top
        self.size = 0
        """Bytes of files."""
        self.count = 0
        self._tops: list[int] = []
        self._linked: dict[tuple[int, int], tuple[int, str]] = {}
        """(device, inode) of a source with several names -> (one of `_tops`, path of its copy below that)."""

    def __enter__(self) -> Copier:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._tops:
            os.close(fd)
        self._tops, self._linked = [], {}

    def copy(self, entries: Iterable[Entry], parent: int, name: str, *, merged: bool = False) -> None:
        """Put what comes first at `name` in `parent`, a descriptor, and the rest below that.

        What is there is replaced; directories are merged. `merged`: the first entry is a directory and `parent` is
        the directory to fill, whose own metadata stay (name ""). Raises PyctrError when a directory would replace
        a file or the other way round.
        """
        levels: list[_Level] = []
        self._tops.append(os.dup(parent))
        try:
            for entry in entries:
                self.count += 1
                while levels and not _below(levels[-1].path, entry.path):
                    self._leave(levels.pop())
                if not levels and entry.path == "" and merged:
                    levels.append(_Level("", os.open(".", writing.OPEN_DIRECTORY, dir_fd=parent), None))
                    continue
                into = levels[-1].fd if levels else parent
                own = entry.path.rpartition("/")[2] if levels else name
                try:
                    if entry.is_directory:
                        levels.append(self._enter(entry, into, own, top=not levels))
                    else:
                        self._file(entry, into, own, f"{name}/{entry.path}".strip("/"))
                except OSError as error:
                    raise _told(error, own) from error
            while levels:
                self._leave(levels.pop())
        finally:
            for level in levels:
                os.close(level.fd)

    # inside

    def _enter(self, entry: Entry, into: int, name: str, *, top: bool) -> _Level:
        fd, made = writing.enter(into, name)
        try:
            kept = None if top and not made and self.keep_top else self._described(entry)
        except BaseException:
            os.close(fd)
            raise
        return _Level(entry.path, fd, kept)

    def _described(self, entry: Entry) -> Attributes:
        source = os.open(entry.name, writing.OPEN_DIRECTORY, dir_fd=entry.parent)
        try:
            return self._attributes(os.fstat(source), writing.xattrs(source))
        finally:
            os.close(source)

    @staticmethod
    def _leave(level: _Level) -> None:
        try:
            if level.attributes is not None:
                writing.apply(level.fd, level.attributes)
        finally:
            os.close(level.fd)

    def _file(self, entry: Entry, into: int, name: str, place: str) -> None:
        found = entry.found
        kind = stat.S_IFMT(found.st_mode)
        if kind == stat.S_IFSOCK:
            return  # it means nothing without the process that bound it
        key = (found.st_dev, found.st_ino)
        if found.st_nlink > 1 and (first := self._linked.get(key)) is not None:
            try:
                writing.hard_link(first[0], first[1], into, name)
                return
            except IsADirectoryError:
                raise
            except OSError:
                pass  # another filesystem, or the copy is gone: it is copied again
        if kind == stat.S_IFREG:
            self._regular(entry, into, name)
        elif kind == stat.S_IFLNK:
            target = os.readlink(entry.name, dir_fd=entry.parent)
            writing.new_link(into, name, target, self._attributes(found, {}))
        else:
            writing.new_node(into, name, kind, found.st_rdev, self._attributes(found, {}))
        if found.st_nlink > 1 and key not in self._linked:
            self._linked[key] = (self._tops[-1], place)

    def _regular(self, entry: Entry, into: int, name: str) -> None:
        reader = os.open(entry.name, _READ, dir_fd=entry.parent)
        try:
            now = os.fstat(reader)
            if not stat.S_ISREG(now.st_mode):
                raise StorageError(f"'{entry.path or entry.name}' became something else while it was copied")
            with writing.NewFile(into, name) as writer:
                copy_contents(reader, writer, now.st_size)
                writing.apply(writer, self._attributes(now, writing.xattrs(reader)))
        finally:
            os.close(reader)
        self.size += now.st_size

    def _attributes(self, found: os.stat_result, xattrs: dict[str, bytes]) -> Attributes:
        uid, gid = self.owner or (found.st_uid, found.st_gid)
        mode = self.mode(found.st_mode) if self.mode else stat.S_IMODE(found.st_mode)
        return Attributes(uid, gid, mode, found.st_mtime_ns, xattrs)


class _Level:
    """A directory being filled; metadata are set when that is done, None leaves them."""

    __slots__ = ("attributes", "fd", "path")

    def __init__(self, path: str, fd: int, attributes: Attributes | None) -> None:
        self.path = path
        self.fd = fd
        self.attributes = attributes


def _below(above: str, path: str) -> bool:
    return not above or path.startswith(f"{above}/")


def _told(error: OSError, name: str) -> Exception:
    if isinstance(error, IsADirectoryError):
        return StorageError(f"'{name}' is a file, and what is there is a directory")
    if isinstance(error, NotADirectoryError):
        return StorageError(f"'{name}' is a directory, and what is there is none")
    return from_oserror(error, f"copying '{name}'")
