"""What overlayfs would show, read from the layers themselves without mounting anything.

Serves everything that looks below a container or an image on the host: the plain-copy driver, `diff`, copying an
image's files into a new volume, the layer tree. All steps are by descriptor; a symlink is never followed by the kernel.
"""

from __future__ import annotations

import errno
import os
import stat

from pyctr.core.files.contents import copy_contents
from pyctr.core.images.unpack import OPAQUE, is_whiteout, overlay_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40


MARKS = frozenset({OPAQUE, ".wh..opq"})
"""What fuse-overlayfs puts into an opaque directory besides the xattr, and what stands for it on overlayfs itself."""


def is_opaque(fd: int) -> bool:
    """Does this directory hide the lower ones of its name?"""
    try:
        return os.getxattr(fd, f"{overlay_prefix()}opaque") == b"y"
    except OSError as error:
        if error.errno == errno.ENODATA:
            return False
    try:
        os.stat(OPAQUE, dir_fd=fd, follow_symlinks=False)
    except OSError:
        return False
    return True


class Directory:
    """One directory of the merged view: the directories that form it, topmost first. A context manager."""

    __slots__ = ("fds",)

    def __init__(self, fds: list[int]) -> None:
        self.fds = fds

    @classmethod
    def root(cls, paths: list[str]) -> Directory:
        """The root of layers given by path, topmost first."""
        fds: list[int] = []
        try:
            for path in paths:
                fds += (os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC),)
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        return cls(fds)

    def __enter__(self) -> Directory:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self.fds:
            os.close(fd)
        self.fds = []

    @property
    def fd(self) -> int:
        """The topmost directory: its owner, mode and xattrs are the merged directory's."""
        return self.fds[0]

    def lookup(self, name: str) -> tuple[int, os.stat_result] | None:
        """(descriptor of the directory that has it, lstat) or None."""
        for fd in self.fds:
            try:
                found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            return None if is_whiteout(found) else (fd, found)
        return None

    def open(self, name: str) -> Directory | None:
        """A directory in it; None when that name is no directory."""
        fds: list[int] = []
        try:
            for fd in self.fds:
                try:
                    child = os.open(name, _DIRECTORY, dir_fd=fd)
                except FileNotFoundError:
                    continue
                except OSError:
                    break  # ENOTDIR or ELOOP: a file, link or whiteout hides what is below
                fds.append(child)
                if is_opaque(child):
                    break
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        return Directory(fds) if fds else None

    def entries(self) -> Iterator[tuple[str, int, os.stat_result]]:
        """(name, descriptor of the directory that has it, lstat), whiteouts and what they hide left out."""
        seen: set[str] = set()
        for number, fd in enumerate(self.fds):
            last = number == len(self.fds) - 1
            for name in os.listdir(fd):
                if name in seen or name in MARKS:
                    continue
                found = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if not last:
                    seen.add(name)
                if not is_whiteout(found):
                    yield name, fd, found

    def resolve(self, path: str) -> Directory | None:
        """The directory at a path, symlinks followed inside this root as after a chroot; None when there is none."""
        pending = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        trail: list[Directory] = []
        links = 0
        try:
            while pending:
                part = pending.pop()
                if part == "..":
                    if trail:
                        trail.pop().__exit__()
                    continue
                here = trail[-1] if trail else self
                found = here.lookup(part)
                if found is None:
                    return None
                if stat.S_ISLNK(found[1].st_mode):
                    links += 1
                    target = os.readlink(part, dir_fd=found[0])
                    if links > _MAX_LINKS:
                        return None
                    if target.startswith("/"):
                        while trail:
                            trail.pop().__exit__()
                    pending += [piece for piece in reversed(target.split("/")) if piece not in ("", ".")]
                    continue
                child = here.open(part)
                if child is None:
                    return None
                trail.append(child)
            return trail.pop() if trail else Directory([os.dup(fd) for fd in self.fds])
        finally:
            for directory in trail:
                directory.__exit__()


def copy(source: Directory, target: int) -> int:
    """Copy a merged directory's contents and metadata into a directory; returns bytes of files.

    Hard links inside stay hard links. overlayfs's own xattrs are left behind.
    """
    size = 0
    linked: dict[tuple[int, int], str] = {}

    def descend(directory: Directory, into: int, path: str) -> None:
        nonlocal size
        for name, fd, found in directory.entries():
            place = f"{path}/{name}" if path else name
            if stat.S_ISDIR(found.st_mode):
                child = directory.open(name)
                if child is None:
                    continue
                with child:
                    os.mkdir(name, 0o700, dir_fd=into)
                    below = os.open(name, _DIRECTORY, dir_fd=into)
                    try:
                        descend(child, below, place)
                    finally:
                        os.close(below)
                continue
            key = (found.st_dev, found.st_ino)
            if key in linked:
                link_copied(target, linked[key], into, name)
                continue
            size += copy_node(fd, name, found, into)
            if found.st_nlink > 1:
                linked[key] = place
        copy_metadata(directory.fd, into, os.fstat(directory.fd))

    descend(source, target, "")
    return size


def link_copied(target: int, path: str, into: int, name: str) -> None:
    """A hard link to what was copied to `path` below `target`. Nobody's symlink on the way leads elsewhere."""
    from pyctr.core.linux import const
    from pyctr.core.linux.mount import fd_path, openat2

    resolve = const.RESOLVE_BENEATH | const.RESOLVE_NO_SYMLINKS | const.RESOLVE_NO_XDEV
    fd = openat2(target, path, os.O_PATH | os.O_NOFOLLOW, 0, resolve)
    try:
        os.link(fd_path(fd), name, dst_dir_fd=into)
    finally:
        os.close(fd)


def _chmod(into: int, name: str, mode: int) -> None:
    """Of exactly this name: a container that has the directory mounted may have put a link there by now."""
    from pyctr.core.linux.mount import fd_path

    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=into)
    try:
        os.chmod(fd_path(fd), mode)
    finally:
        os.close(fd)


def copy_node(fd: int, name: str, found: os.stat_result, into: int) -> int:
    """Copy anything but a directory from one directory into another, with all metadata; returns bytes copied."""
    kind = stat.S_IFMT(found.st_mode)
    times = (found.st_atime_ns, found.st_mtime_ns)
    if kind == stat.S_IFREG:
        reader = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        try:
            writer = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=into)
            try:
                copy_contents(reader, writer, found.st_size)
                copy_metadata(reader, writer, found)
            finally:
                os.close(writer)
        finally:
            os.close(reader)
        return found.st_size
    if kind == stat.S_IFLNK:
        os.symlink(os.readlink(name, dir_fd=fd), name, dir_fd=into)
    elif kind == stat.S_IFSOCK:
        return 0  # it means nothing without the process that bound it
    else:
        os.mknod(name, kind | 0o600, found.st_rdev, dir_fd=into)
    if os.geteuid() == 0:
        os.chown(name, found.st_uid, found.st_gid, dir_fd=into, follow_symlinks=False)
    if kind != stat.S_IFLNK:
        _chmod(into, name, stat.S_IMODE(found.st_mode))
    os.utime(name, ns=times, dir_fd=into, follow_symlinks=False)
    return 0


def copy_metadata(source: int, target: int, found: os.stat_result) -> None:
    """Owner, mode, xattrs, times from one open file or directory to another."""
    if os.geteuid() == 0:
        os.fchown(target, found.st_uid, found.st_gid)
    os.fchmod(target, stat.S_IMODE(found.st_mode))
    try:
        names = os.listxattr(source)
    except OSError:
        names = []  # a filesystem without xattrs
    for name in names:
        if name.startswith((overlay_prefix(), "security.selinux")):
            continue
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError:
            continue  # the target's filesystem keeps none of these
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
