"""Files made inside a tree that somebody hostile may be changing at the same moment.

Every step is relative to a descriptor, the last component is made with O_EXCL or opened with O_NOFOLLOW, and metadata
go to what was opened: a link put in the way is either replaced or an error, never followed (openat(2), symlink(7)).
"""

from __future__ import annotations

import errno
import os
import stat

from pyctr.core.files.contents import copy_contents
from pyctr.core.linux import const
from pyctr.core.linux.inroot import make_directories
from pyctr.core.linux.mount import fd_path, openat2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

KEPT_XATTRS = ("user.", "security.capability", "system.posix_acl_")
"""Beginnings of the xattrs that travel with a file; other ones belong to the host or to overlayfs."""
OVERLAYS_OWN = ("user.overlay.", "user.fuseoverlayfs.")
"""Those that steer an overlay, and never travel."""

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_REFILL = os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BENEATH = const.RESOLVE_BENEATH | const.RESOLVE_NO_SYMLINKS


class Attributes:
    """Owner, mode (12 bits), modification time in ns (None: now) and xattrs of a file to be."""

    __slots__ = ("gid", "mode", "mtime_ns", "uid", "xattrs")

    def __init__(
        self, uid: int, gid: int, mode: int, mtime_ns: int | None, xattrs: Mapping[str, bytes] | None = None
    ) -> None:
        self.uid = uid
        self.gid = gid
        self.mode = mode
        self.mtime_ns = mtime_ns
        self.xattrs = xattrs or {}


def apply(fd: int, attributes: Attributes) -> None:
    """Metadata of an open file or directory. The owner comes first: it would clear the capabilities."""
    if os.geteuid() == 0:
        os.fchown(fd, attributes.uid, attributes.gid)
    os.fchmod(fd, attributes.mode)
    for key, value in attributes.xattrs.items():
        try:
            os.setxattr(fd, key, value)
        except OSError:
            if key == "security.capability" and os.geteuid() == 0:
                raise  # a binary would silently lose what it needs
            continue  # the target's filesystem keeps none of these
    if attributes.mtime_ns is not None:
        os.utime(fd, ns=(attributes.mtime_ns, attributes.mtime_ns))


def xattrs(fd: int) -> dict[str, bytes]:
    """Those of an open file that travel with it."""
    found: dict[str, bytes] = {}
    try:
        for name in os.listxattr(fd):
            if name.startswith(KEPT_XATTRS) and not name.startswith(OVERLAYS_OWN):
                found[name] = os.getxattr(fd, name)
    except OSError:
        return found  # a filesystem without xattrs
    return found


def directory_path(root: int, path: str, attributes: Attributes) -> int:
    """mkdir -p below `root` (links stay inside): an O_PATH descriptor; what was missing gets these attributes."""

    def made(fd: int) -> None:
        place = fd_path(fd)
        if os.geteuid() == 0:
            os.chown(place, attributes.uid, attributes.gid)
        os.chmod(place, attributes.mode)  # whatever the umask is
        if attributes.mtime_ns is not None:
            os.utime(place, ns=(attributes.mtime_ns, attributes.mtime_ns))

    return make_directories(root, path, 0o755, made)


def enter(parent: int, name: str) -> tuple[int, bool]:
    """(descriptor of a directory of that very name, made just now?). Raises NotADirectoryError for anything else."""
    made = False
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
        made = True
    except FileExistsError:
        pass
    try:
        return os.open(name, OPEN_DIRECTORY, dir_fd=parent), made
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotADirectoryError(errno.ENOTDIR, "open: not a directory", name) from None
        raise


class NewFile:
    """A regular file, mode 0600 for now, that takes the place of what was there when it is whole: a context manager
    that gives the descriptor to write to.

    Until its end it has no name (O_TMPFILE), so neither a full disk nor SIGKILL leaves a part of it, and what was there
    stays. Where the file system cannot do that what was there goes first. A mount point (/etc/hosts) cannot be replaced
    and is filled instead. Raises IsADirectoryError.
    """

    def __init__(self, parent: int, name: str) -> None:
        self._parent = parent
        self._name = name
        self._named = False
        try:
            self.fd = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=parent)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                raise
            self._named = True
            self.fd = _in_place(parent, name)

    def __enter__(self) -> int:
        return self.fd

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                if not self._named:
                    self._publish()
            elif self._named:
                make_way(self._parent, self._name)
        finally:
            os.close(self.fd)

    def _publish(self) -> None:
        place = fd_path(self.fd)
        try:
            os.link(place, self._name, dst_dir_fd=self._parent, follow_symlinks=True)
            return
        except FileExistsError:
            pass  # it has to go at the moment in which ours comes
        between = f".{self._name[:100]}.{os.urandom(8).hex()}"
        os.link(place, between, dst_dir_fd=self._parent, follow_symlinks=True)
        try:
            os.rename(between, self._name, src_dir_fd=self._parent, dst_dir_fd=self._parent)
        except OSError as error:
            os.unlink(between, dir_fd=self._parent)
            if error.errno != errno.EBUSY:
                raise
            self._fill()

    def _fill(self) -> None:
        found = os.fstat(self.fd)
        target = os.open(self._name, _REFILL, dir_fd=self._parent)
        try:
            copy_contents(self.fd, target, found.st_size)
            kept = Attributes(
                found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode), found.st_mtime_ns, xattrs(self.fd)
            )
            apply(target, kept)
        finally:
            os.close(target)


def _in_place(parent: int, name: str) -> int:
    """A writable descriptor of a new, empty file in the place of what was there; of a mount point's file, emptied."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    for _ in range(16):
        try:
            return os.open(name, flags, 0o600, dir_fd=parent)
        except FileExistsError:
            if not make_way(parent, name):
                return os.open(name, _REFILL, dir_fd=parent)
    raise OSError(errno.EBUSY, "open: somebody else keeps making that file", name)


def make_way(parent: int, name: str) -> bool:
    """Unlink what is no directory; False for a mount point. Raises IsADirectoryError."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        raise
    return True


def new_link(parent: int, name: str, target: str, attributes: Attributes) -> None:
    """A symbolic link in the place of what was there. Raises IsADirectoryError."""
    _instead(parent, name, lambda: os.symlink(target, name, dir_fd=parent))
    _finish(parent, name, attributes)


def new_node(parent: int, name: str, kind: int, device: int, attributes: Attributes) -> None:
    """A device, FIFO or socket-less special file (`kind` is an S_IF* word) in the place of what was there."""
    _instead(parent, name, lambda: os.mknod(name, kind | 0o600, device, dir_fd=parent))
    _finish(parent, name, attributes)
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        # chmod by name would follow a link that somebody put there by now
        if stat.S_IFMT(os.fstat(fd).st_mode) == kind:
            os.chmod(fd_path(fd), attributes.mode)
    finally:
        os.close(fd)


def hard_link(root: int, path: str, parent: int, name: str) -> None:
    """A further name for the file at `path` below `root`, reached without any link. Raises OSError."""
    fd = openat2(root, path, os.O_PATH | os.O_NOFOLLOW, 0, _BENEATH)
    try:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise IsADirectoryError(errno.EISDIR, "link: a directory", path)
        _instead(parent, name, lambda: os.link(fd_path(fd), name, dst_dir_fd=parent))
    finally:
        os.close(fd)


def _finish(parent: int, name: str, attributes: Attributes) -> None:
    if os.geteuid() == 0:
        os.chown(name, attributes.uid, attributes.gid, dir_fd=parent, follow_symlinks=False)
    if attributes.mtime_ns is not None:
        os.utime(name, ns=(attributes.mtime_ns, attributes.mtime_ns), dir_fd=parent, follow_symlinks=False)


def _instead(parent: int, name: str, make: object) -> None:
    for _ in range(16):
        try:
            make()  # type: ignore[operator]
            return
        except FileExistsError:
            if not make_way(parent, name):
                raise OSError(errno.EBUSY, "unlink: a mount point", name) from None
    raise OSError(errno.EBUSY, "somebody else keeps making that file", name)
