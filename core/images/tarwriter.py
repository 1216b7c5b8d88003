"""Files on disk become a tar archive: a container's whole view, or what its writable layer adds to the image.

The tree may belong to a running, hostile container: everything is opened by descriptor and never through a symlink, and
what was opened is what is described. Times are whole seconds, as in other tools' layers.
"""

from __future__ import annotations

import os
import stat
import tarfile

from pyctr.core.files.writing import OVERLAYS_OWN
from pyctr.core.images.merged import MARKS, Directory, is_opaque
from pyctr.core.images.unpack import OPAQUE, WHITEOUT, is_whiteout, overlay_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyctr.core.files.walking import Entry

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE = 1 << 20
_BLOCK = 512
_XATTRS = ("user.", "security.capability", "system.posix_acl_")


class TarWriter:
    """Writes members to `write`, which takes bytes. `finish` ends the archive.

    No time in it is later than `latest` (seconds since the epoch), if that is given: SOURCE_DATE_EPOCH.
    """

    def __init__(self, write: Callable[[bytes], object], latest: int | None = None) -> None:
        self._write = write
        self._latest = latest
        self._linked: dict[tuple[int, int], str] = {}

    def merged(self, root: Directory) -> None:
        """Everything in a merged view, whiteouts resolved, in name order."""
        self._merged(root, "")

    def upper(self, fd: int) -> None:
        """An overlay's upper directory as a layer: its whiteouts in the archive's own spelling (layer.md)."""
        self._upper(fd, "")

    def changed(self, root: Directory, changes: list[tuple[str, str]]) -> None:
        """The given changes (kind, path) of a merged view, for drivers that keep whole copies."""
        for kind, path in changes:
            above, _, name = path.strip("/").rpartition("/")
            if kind == "D":
                self._whiteout(f"{above}/" if above else "", WHITEOUT + name)
                continue
            parent = root.resolve(above)
            if parent is None:
                continue  # gone since
            with parent:
                found = parent.lookup(name)
                if found is not None:
                    self._member(found[0], name, f"{above}/{name}" if above else name, found[1])

    def walked(self, entries: Iterable[Entry], name: str) -> None:
        """What `files.walking.walk` tells of, below `name`."""
        for entry in entries:
            self._member(entry.parent, entry.name, f"{name}/{entry.path}" if entry.path else name, entry.found)

    def finish(self) -> None:
        self._write(b"\0" * (2 * _BLOCK))

    # inside

    def _merged(self, directory: Directory, path: str) -> None:
        for name, fd, found in sorted(directory.entries(), key=lambda entry: entry[0]):
            place = f"{path}{name}"
            self._member(fd, name, place, found)
            if stat.S_ISDIR(found.st_mode) and (child := directory.open(name)) is not None:
                with child:
                    self._merged(child, f"{place}/")

    def _upper(self, fd: int, path: str) -> None:
        for name in sorted(os.listdir(fd)):
            if name in MARKS:
                continue  # said below, as layers say it
            try:
                found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue  # the container is at work
            if is_whiteout(found):
                self._whiteout(path, WHITEOUT + name)
                continue
            self._member(fd, name, f"{path}{name}", found)
            if stat.S_ISDIR(found.st_mode):
                try:
                    child = os.open(name, _DIRECTORY, dir_fd=fd)
                except OSError:
                    continue  # replaced since
                try:
                    if is_opaque(child):
                        self._whiteout(f"{path}{name}/", OPAQUE)
                    self._upper(child, f"{path}{name}/")
                finally:
                    os.close(child)

    def _member(self, parent: int, name: str, path: str, found: os.stat_result) -> None:
        kind = stat.S_IFMT(found.st_mode)
        if kind == stat.S_IFSOCK:
            return  # means nothing without the process that bound it
        if kind in (stat.S_IFREG, stat.S_IFDIR):
            try:
                fd = os.open(name, _OPEN, dir_fd=parent)
            except OSError:
                return  # gone, or another thing since
            try:
                now = os.fstat(fd)
                if stat.S_IFMT(now.st_mode) == kind:
                    self._opened(fd, path, now)
            finally:
                os.close(fd)
            return
        info = self._info(path, found)
        if kind == stat.S_IFLNK:
            info.type, info.linkname = tarfile.SYMTYPE, os.readlink(name, dir_fd=parent)
        elif kind == stat.S_IFIFO:
            info.type = tarfile.FIFOTYPE
        else:
            info.type = tarfile.CHRTYPE if kind == stat.S_IFCHR else tarfile.BLKTYPE
            info.devmajor, info.devminor = os.major(found.st_rdev), os.minor(found.st_rdev)
        if not self._again(info, found):
            self._header(info)

    def _opened(self, fd: int, path: str, found: os.stat_result) -> None:
        info = self._info(path, found)
        info.pax_headers = _xattrs(fd)
        if stat.S_ISDIR(found.st_mode):
            info.type = tarfile.DIRTYPE
            self._header(info)
            return
        if self._again(info, found):
            return
        info.size = found.st_size
        self._header(info)
        left = info.size
        while left:
            # what was promised is written, however the file changes meanwhile
            piece = os.read(fd, min(_PIECE, left)) or b"\0" * min(_PIECE, left)
            self._write(piece)
            left -= len(piece)
        if info.size % _BLOCK:
            self._write(b"\0" * (_BLOCK - info.size % _BLOCK))

    def _again(self, info: tarfile.TarInfo, found: os.stat_result) -> bool:
        """A file that is in the archive already under another name becomes a hard link to it."""
        if found.st_nlink < 2:
            return False
        first = self._linked.setdefault((found.st_dev, found.st_ino), info.name)
        if first == info.name:
            return False
        info.type, info.linkname, info.pax_headers = tarfile.LNKTYPE, first, {}
        self._header(info)
        return True

    def _info(self, path: str, found: os.stat_result) -> tarfile.TarInfo:
        info = tarfile.TarInfo(path)
        info.mode = stat.S_IMODE(found.st_mode)
        info.uid, info.gid = found.st_uid, found.st_gid
        info.mtime = int(found.st_mtime) if self._latest is None else min(int(found.st_mtime), self._latest)
        return info

    def _whiteout(self, path: str, name: str) -> None:
        info = tarfile.TarInfo(f"{path}{name}")
        info.mode = 0o600
        self._header(info)

    def _header(self, info: tarfile.TarInfo) -> None:
        self._write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))


def _xattrs(fd: int) -> dict[str, str]:
    try:
        names = os.listxattr(fd)
    except OSError:
        return {}  # a filesystem without xattrs
    found = {}
    for name in names:
        if name.startswith(_XATTRS) and not name.startswith((*OVERLAYS_OWN, overlay_prefix())):
            found[f"SCHILY.xattr.{name}"] = os.getxattr(fd, name).decode("utf-8", "surrogateescape")
    return found
