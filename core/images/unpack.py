"""A layer's tar archive becomes a directory that overlayfs can stack.

The archive is hostile until proven otherwise. Every name is taken apart into its parent and its last component:
the parent is opened with openat2(2) RESOLVE_IN_ROOT, so that symlinks unpacked earlier cannot lead out; the last
component is created with O_EXCL and never followed. Device nodes are made as the image says: the layer
directories are closed to everyone but root, and the device cgroup rules over what is reachable in a container.

Whiteouts (image-spec layer.md) become overlayfs's own: a character device 0:0 hides a name below, the xattr
<prefix>opaque hides all of a directory's lower contents (kernel Documentation/filesystems/overlayfs.rst).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable

from pyctr.core.errors import StorageError
from pyctr.core.files.writing import OVERLAYS_OWN
from pyctr.core.images import tarstream
from pyctr.core.images.tarstream import Entry, Stream
from pyctr.core.linux import const
from pyctr.core.linux.inroot import make_directories, open_in
from pyctr.core.linux.mount import openat2

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
_CACHED = 128
_XATTRS = ("user.", "security.capability", "system.posix_acl_")


NESTED = os.makedev(0, 1)
"""A whiteout where device 0:0 cannot be made, on overlayfs itself. No driver exists for it, so no image has it."""


def is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev in (0, NESTED)


def overlay_prefix() -> str:
    """Of the xattrs overlayfs reads: `trusted.` needs CAP_SYS_ADMIN, without it mounts use `userxattr`."""
    return "trusted.overlay." if os.geteuid() == 0 else "user.overlay."


class Unpacker:
    """Unpacks one archive below `root`, a descriptor of an empty directory nobody else can reach."""

    def __init__(self, root: int) -> None:
        self.root = root
        self.size = 0
        """Bytes of regular files, without holes."""
        self.count = 0
        self.opaque_root = False
        """The layer hides everything below it; overlayfs ignores that mark on a layer's root."""
        self._own = os.geteuid() == 0
        self._prefix = overlay_prefix()
        self._nothing = 0
        """The device that is a whiteout here."""
        self._parents: dict[str, int] = {}
        self._reals: dict[int, str] = {}
        """Of the descriptors in `_parents`: where they are below the root, whatever links led there."""
        self._directories: dict[str, Entry] = {}
        """By where they really are, whatever links the archive names them through."""
        self._place = os.readlink(f"/proc/self/fd/{root}")

    def unpack(self, pieces: Iterable[bytes]) -> None:
        """All of it, to the last byte. Raises StorageError for archives that are broken or try to escape."""
        stream = Stream(pieces)
        try:
            for entry in tarstream.entries(stream):
                try:
                    self._apply(entry, stream)
                except OSError as error:
                    from pyctr.core.errors import from_oserror

                    raise from_oserror(error, f"unpacking '{entry.name}'") from error
            stream.drain()
            self._finish_directories()
        finally:
            self._forget_parents()

    def _apply(self, entry: Entry, stream: Stream) -> None:
        self.count += 1
        parts = _components(entry.name, entry.name)
        if not parts:
            if entry.kind == tarstream.DIRECTORY:
                self._directories["."] = entry
                return
            raise StorageError(f"archive member '{entry.name}' would replace the root directory")
        directory, name = "/".join(parts[:-1]), parts[-1]
        if name.startswith(WHITEOUT):
            self._whiteout(directory, name)
            stream.skip(entry.size)
            stream.pad(entry.size)
            return
        parent = self._parent(directory)
        if entry.kind == tarstream.DIRECTORY:
            self._directory(parent, directory, name, entry)
        elif entry.kind == tarstream.FILE:
            self._file(parent, directory, name, entry, stream)
        elif entry.kind == tarstream.SYMLINK:
            self._make(parent, directory, name, lambda: os.symlink(entry.linkname, name, dir_fd=parent))
            if self._own:
                os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
            os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)
        elif entry.kind == tarstream.HARDLINK:
            self._hardlink(parent, directory, name, entry)
        elif entry.kind in (tarstream.CHARACTER, tarstream.BLOCK, tarstream.FIFO):
            self._node(parent, directory, name, entry)
        else:
            raise StorageError(f"archive member '{entry.name}' has the unknown type '{entry.kind}'")

    def _file(self, parent: int, directory: str, name: str, entry: Entry, stream: Stream) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(name, flags, 0o600, dir_fd=parent)
        except FileExistsError:
            self._clear(parent, directory, name)
            fd = os.open(name, flags, 0o600, dir_fd=parent)
        try:
            if entry.size or entry.spans is not None:
                stream.fill(entry, fd)
                self.size += entry.size
            self._attributes(fd, entry)
        finally:
            os.close(fd)

    def _attributes(self, fd: int, entry: Entry) -> None:
        if self._own:
            os.fchown(fd, entry.uid, entry.gid)  # before the mode and the capabilities, which it would clear
        os.fchmod(fd, entry.mode)
        if entry.xattrs:
            for key, value in entry.xattrs.items():
                # an archive's trusted.overlay.* would redirect lookups, its security.* labels belong to its host
                if key.startswith(_XATTRS) and not key.startswith(OVERLAYS_OWN):
                    try:
                        os.setxattr(fd, key, value)
                    except OSError:
                        if key == "security.capability" and self._own:
                            raise  # a binary would silently lose what it needs
        os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))

    def _directory(self, parent: int, directory: str, name: str, entry: Entry) -> None:
        # contents change mtimes, and a read-only mode would stop us when not root: metadata comes last
        self._directories[self._real(parent, name)] = entry
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISDIR(found.st_mode):
                self._clear(parent, directory, name)
                os.mkdir(name, 0o700, dir_fd=parent)
                if is_whiteout(found):
                    # removed and made anew in one layer: nothing of the lower directory shines through
                    self._mark_opaque(parent, name)
        else:
            self._keep(_join(directory, name), parent, name)  # its files come next

    def _real(self, parent: int, name: str) -> str:
        """Path below the root of a name in an opened directory."""
        above = self._reals.get(parent)
        if above is None:
            above = self._reals[parent] = os.readlink(f"/proc/self/fd/{parent}")[len(self._place) + 1 :]
        return _join(above, name)

    def _hardlink(self, parent: int, directory: str, name: str, entry: Entry) -> None:
        target = _components(entry.linkname, entry.name)
        if not target:
            raise StorageError(f"archive member '{entry.name}' is a hard link to the root directory")
        source = -1
        try:
            source = open_in(self.root, "/".join(target[:-1]), os.O_PATH | os.O_DIRECTORY)
            if not stat.S_ISDIR(os.stat(target[-1], dir_fd=source, follow_symlinks=False).st_mode):
                self._make(
                    parent,
                    directory,
                    name,
                    lambda: os.link(target[-1], name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False),
                )
                return
        except FileNotFoundError:
            pass
        finally:
            if source >= 0:
                os.close(source)
        raise StorageError(
            f"archive member '{entry.name}' is a hard link to '{entry.linkname}', which is no file in it"
        )

    def _node(self, parent: int, directory: str, name: str, entry: Entry) -> None:
        kind = {tarstream.CHARACTER: stat.S_IFCHR, tarstream.BLOCK: stat.S_IFBLK, tarstream.FIFO: stat.S_IFIFO}
        device = os.makedev(entry.major, entry.minor) if entry.kind != tarstream.FIFO else 0
        mode = kind[entry.kind] | 0o600
        try:
            self._make(parent, directory, name, lambda: os.mknod(name, mode, device, dir_fd=parent))
        except PermissionError:
            return  # no CAP_MKNOD: a container's /dev is a tmpfs of ours anyway
        if self._own:
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        os.chmod(name, entry.mode, dir_fd=parent)  # just made by us, so it is no link
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _whiteout(self, directory: str, name: str) -> None:
        if name == OPAQUE:
            if directory:
                above, _, last = directory.rpartition("/")
                self._parent(directory)
                self._mark_opaque(self._parent(above), last)
            else:
                self.opaque_root = True
            return
        if name.startswith(WHITEOUT + WHITEOUT):
            return  # aufs bookkeeping (.wh..wh.plnk)
        hidden = name[len(WHITEOUT) :]
        if hidden in ("", ".", ".."):
            raise StorageError(f"archive member '{_join(directory, name)}' hides no name")
        parent = self._parent(directory)
        try:
            self._hide(hidden, parent)
        except FileExistsError:
            # this layer has the name too: it stays, only what is below vanishes
            if stat.S_ISDIR(os.stat(hidden, dir_fd=parent, follow_symlinks=False).st_mode):
                self._mark_opaque(parent, hidden)

    def _hide(self, name: str, parent: int) -> None:
        try:
            os.mknod(name, stat.S_IFCHR, self._nothing, dir_fd=parent)
        except PermissionError:
            if not self._own or self._nothing:
                raise
            self._nothing = NESTED  # overlayfs itself: nobody but it makes its whiteouts
            os.mknod(name, stat.S_IFCHR, self._nothing, dir_fd=parent)

    def _mark_opaque(self, parent: int, name: str) -> None:
        fd = openat2(parent, name, os.O_RDONLY | os.O_DIRECTORY, 0, const.RESOLVE_BENEATH | const.RESOLVE_NO_SYMLINKS)
        try:
            try:
                os.setxattr(fd, f"{self._prefix}opaque", b"y")
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
                    raise
                # overlayfs itself, which before 6.7 lets nobody set what is its own
                os.close(os.open(OPAQUE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=fd))
        finally:
            os.close(fd)

    def _make(self, parent: int, directory: str, name: str, make: object) -> None:
        try:
            make()  # type: ignore[operator]
        except FileExistsError:
            self._clear(parent, directory, name)
            make()  # type: ignore[operator]

    def _clear(self, parent: int, directory: str, name: str) -> None:
        """Make way for a later member of the same name."""
        try:
            os.unlink(name, dir_fd=parent)
        except IsADirectoryError:
            from shutil import rmtree

            gone = self._real(parent, name)
            self._directories = {
                path: entry
                for path, entry in self._directories.items()
                if path != gone and not path.startswith(f"{gone}/")
            }
            rmtree(name, dir_fd=parent)
        # it may have been, or have held, what other parents were resolved through
        self._forget_parents(keep=parent)

    def _parent(self, directory: str) -> int:
        """A descriptor of a directory in the layer, made (0755 root) when the archive forgot it."""
        fd = self._parents.get(directory)
        if fd is not None:
            return fd
        try:
            fd = open_in(self.root, directory, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            above, _, name = directory.rpartition("/")
            parent = self._parent(above)
            try:
                os.mkdir(name, 0o700, dir_fd=parent)
            except FileExistsError:
                os.close(make_directories(self.root, directory))  # a symlink to a directory that is not there yet
            else:
                implied = Entry(directory, tarstream.DIRECTORY, 0)
                implied.mode = 0o755
                self._directories.setdefault(self._real(parent, name), implied)
                return self._keep(directory, parent, name)
            fd = open_in(self.root, directory, os.O_PATH | os.O_DIRECTORY)
        return self._remember(directory, fd)

    def _keep(self, directory: str, parent: int, name: str) -> int:
        """Remember a directory that was just made, so that nothing has to be resolved."""
        real = self._real(parent, name)
        fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        self._remember(directory, fd)
        self._reals[fd] = real
        return fd

    def _remember(self, directory: str, fd: int) -> int:
        if len(self._parents) >= _CACHED:
            self._forget_parents()
        self._parents[directory] = fd
        return fd

    def _forget_parents(self, keep: int = -1) -> None:
        kept = {}
        for directory, fd in self._parents.items():
            if fd == keep:
                kept[directory] = fd
            else:
                self._reals.pop(fd, None)
                os.close(fd)
        self._parents = kept

    def _finish_directories(self) -> None:
        """Owners, modes and times, children before their parents."""
        flags = os.O_RDONLY | os.O_DIRECTORY
        resolve = const.RESOLVE_BENEATH | const.RESOLVE_NO_SYMLINKS
        for path in sorted(self._directories, reverse=True):
            try:
                fd = openat2(self.root, path, flags, 0, resolve)
            except OSError:
                continue  # a later member put something else there
            try:
                self._attributes(fd, self._directories[path])
            finally:
                os.close(fd)
        if "." not in self._directories:
            os.fchmod(self.root, 0o755)


def _components(path: str, member: str) -> list[str]:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise StorageError(
            f"archive member '{member}' points outside of the layer", hint="this archive is broken or hostile"
        )
    return parts


def _join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name
