"""A tar archive is unpacked into a tree that has files already, as ADD and `cp -` do it.

Unlike a layer (images/unpack.py) nothing is a whiteout, directories are merged, and what is in the way is replaced.
The archive and the tree are both hostile: parents are opened inside the root, names with `..` are refused.
"""

from __future__ import annotations

import os
import stat

from pyctr.core.errors import StorageError, from_oserror
from pyctr.core.files import writing
from pyctr.core.files.writing import Attributes
from pyctr.core.images import tarstream
from pyctr.core.images.tarstream import Entry, Stream
from pyctr.core.linux.inroot import open_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_KINDS = {tarstream.CHARACTER: stat.S_IFCHR, tarstream.BLOCK: stat.S_IFBLK, tarstream.FIFO: stat.S_IFIFO}


class Extractor:
    """Unpacks below the directory `at` of the tree `root` (a descriptor); links mean places in that tree.

    `owner` replaces the owners in the archive. `strict` refuses to replace a directory by a file and a file by a
    directory, as `cp` does. `renamed` may give a member another name, or "" to leave it out.
    """

    def __init__(
        self,
        root: int,
        at: str = "",
        *,
        owner: tuple[int, int] | None = None,
        strict: bool = False,
        renamed: Callable[[str], str] | None = None,
    ) -> None:
        self.root = root
        self.at = at.strip("/")
        self.owner = owner
        self.strict = strict
        self.renamed = renamed
        self.count = 0
        self._directories: list[tuple[str, Attributes]] = []

    def extract(self, pieces: Iterable[bytes]) -> None:
        """All of it. Raises StorageError for archives that are broken or try to escape, PyctrError."""
        stream = Stream(pieces)
        for entry in tarstream.entries(stream):
            try:
                self._apply(entry, stream)
            except OSError as error:
                raise from_oserror(error, f"unpacking '{entry.name}'") from error
        stream.drain()
        self._finish()

    # inside

    def _apply(self, entry: Entry, stream: Stream) -> None:
        name = "/".join(_components(entry.name, entry.name))
        if self.renamed is not None:
            name = self.renamed(name)
        attributes = self._attributes(entry)
        if not name:
            if entry.kind == tarstream.DIRECTORY and self.renamed is None and not self.at:
                self._directories.append(("", attributes))
            stream.skip(entry.size)
            stream.pad(entry.size)
            return
        self.count += 1
        above, _, last = name.rpartition("/")
        parent = self._parent(above)
        try:
            if entry.kind == tarstream.DIRECTORY:
                self._directory(parent, last, name, attributes)
            elif entry.kind == tarstream.FILE:
                self._way(parent, last, entry)
                with writing.NewFile(parent, last) as fd:
                    stream.fill(entry, fd)
                    writing.apply(fd, attributes)
            elif entry.kind == tarstream.SYMLINK:
                self._way(parent, last, entry)
                writing.new_link(parent, last, entry.linkname, attributes)
            elif entry.kind == tarstream.HARDLINK:
                self._way(parent, last, entry)
                self._link(parent, last, entry)
            elif entry.kind in _KINDS:
                self._way(parent, last, entry)
                device = os.makedev(entry.major, entry.minor) if entry.kind != tarstream.FIFO else 0
                writing.new_node(parent, last, _KINDS[entry.kind], device, attributes)
            else:
                raise StorageError(f"archive member '{entry.name}' has the unknown type '{entry.kind}'")
        finally:
            os.close(parent)

    def _attributes(self, entry: Entry) -> Attributes:
        uid, gid = self.owner or (entry.uid, entry.gid)
        kept = {
            key: value
            for key, value in (entry.xattrs or {}).items()
            if key.startswith(writing.KEPT_XATTRS) and not key.startswith(writing.OVERLAYS_OWN)
        }
        return Attributes(uid, gid, entry.mode, entry.mtime_ns, kept)

    def _parent(self, above: str) -> int:
        place = f"{self.at}/{above}"
        try:
            return open_in(self.root, place, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            uid, gid = self.owner or (0, 0)
            return writing.directory_path(self.root, place, Attributes(uid, gid, 0o755, None))

    def _directory(self, parent: int, last: str, name: str, attributes: Attributes) -> None:
        try:
            fd, _ = writing.enter(parent, last)
        except NotADirectoryError:
            if self.strict:
                raise StorageError(f"'{name}' is a directory, and what is there is none") from None
            writing.make_way(parent, last)
            fd, _ = writing.enter(parent, last)
        os.close(fd)
        # contents change its times, and its mode may forbid them: metadata come last
        self._directories.append((name, attributes))

    def _way(self, parent: int, last: str, entry: Entry) -> None:
        """A directory that is in the way of something else."""
        try:
            found = os.stat(last, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(found.st_mode):
            return
        if self.strict:
            raise StorageError(f"'{entry.name}' would replace a directory")
        from shutil import rmtree

        rmtree(last, dir_fd=parent)

    def _link(self, parent: int, last: str, entry: Entry) -> None:
        target = "/".join(_components(entry.linkname, entry.name))
        if self.renamed is not None and target:
            target = self.renamed(target)
        above, _, name = target.rpartition("/")
        source = -1
        try:
            if target:
                source = open_in(self.root, f"{self.at}/{above}", os.O_PATH | os.O_DIRECTORY)
                writing.hard_link(source, name, parent, last)
                return
        except (FileNotFoundError, IsADirectoryError):
            pass
        finally:
            if source >= 0:
                os.close(source)
        raise StorageError(
            f"archive member '{entry.name}' is a hard link to '{entry.linkname}', which is no file in it"
        )

    def _finish(self) -> None:
        """Owners, modes and times of directories, children before their parents."""
        for name, attributes in reversed(self._directories):
            above, _, last = name.rpartition("/")
            try:
                parent = open_in(self.root, f"{self.at}/{above}", os.O_PATH | os.O_DIRECTORY)
            except OSError:
                continue  # a later member, or somebody else, put something else there
            try:
                fd = os.open(last or ".", writing.OPEN_DIRECTORY, dir_fd=parent)
            except OSError:
                continue  # likewise
            finally:
                os.close(parent)
            try:
                writing.apply(fd, attributes)
            finally:
                os.close(fd)


def _components(path: str, member: str) -> list[str]:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise StorageError(f"archive member '{member}' points outside of it", hint="this archive is broken or hostile")
    return parts
