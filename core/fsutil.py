"""Files written whole or not at all, locks, and JSON on disk."""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any


def make_private_directory(path: str) -> None:
    """mkdir -p with mode 0700 for every directory made."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    if parent and parent != path:
        make_private_directory(parent)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass  # another pyctr was faster


def write_atomic(
    path: str,
    content: bytes,
    *,
    mode: int = 0o600,
    durable: bool = True,
    throwaway: bool = False,
    in_place: bool = False,
) -> None:
    """Replace a file so that readers see the old or the new content, never a part.

    `durable` also survives power loss: fsync of the file before the rename, of the directory after. `throwaway` is for
    what a power loss may destroy: ext4 writes a file out when it is renamed over another (mount option auto_da_alloc),
    and whoever removes it soon waits 1.2 ms for that. Only blocks not yet allocated count, so they are allocated first.
    `in_place` is for records that must change on a full disk, too (how a container ended, that it is to be removed):
    when there is no room for a second file, the first one's own blocks take the content in a single write.
    """
    try:
        _replace(path, content, mode, durable, throwaway)
    except OSError as error:
        if not in_place or error.errno not in (errno.ENOSPC, errno.EDQUOT) or not _overwrite(path, content, durable):
            raise


def _overwrite(path: str, content: bytes, durable: bool) -> bool:
    """False when the file's blocks have no room for it."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if len(content) > status.st_blocks * 512:
            return False
        # blanks instead of a truncation afterwards: a reader never sees the tail of the old document
        os.pwrite(fd, content.ljust(status.st_size), 0)
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    return True


def _replace(path: str, content: bytes, mode: int, durable: bool, throwaway: bool) -> None:
    temporary = f"{path}.{os.getpid()}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        try:
            if throwaway and content:
                _allocate(fd, len(content))
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except BaseException:
        try:
            os.unlink(temporary)
        except FileNotFoundError:
            pass
        raise
    if durable:
        sync_directory(os.path.dirname(path))


def _allocate(fd: int, size: int) -> None:
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        # a filesystem that cannot, and has no need to; when the disk is full the write says so
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSPC):
            raise


def sync_directory(path: str) -> None:
    """Make renames and removals in a directory durable (fsync(2), NOTES)."""
    fd = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_json(path: str) -> Any:
    """The document in a file. Raises OSError, or ValueError naming the file when it is not JSON."""
    with open(path, "rb") as file:
        content = file.read()
    from pyctr.core import jsontext

    try:
        return jsontext.loads(content)
    except ValueError as error:
        raise ValueError(f"'{path}' is not valid JSON: {error}") from error


def write_json(
    path: str, document: Any, *, durable: bool = True, throwaway: bool = False, in_place: bool = False
) -> None:
    """`write_atomic` of a document."""
    from pyctr.core import jsontext

    content = jsontext.dumps(document).encode()
    write_atomic(path, content, durable=durable, throwaway=throwaway, in_place=in_place)


_LOCK_SH, _LOCK_EX = 1, 2
"""flock(2). Who locks imports fcntl then: its shared library takes half a millisecond to load."""


class Lock:
    """An exclusive flock(2) on a file, as a context manager.

    The lock belongs to the open file description: a child that inherits `fd` keeps it held after
    this process dies, which is how a start outlives the client that asked for it.
    """

    def __init__(self, path: str, *, shared: bool = False) -> None:
        self.path = path
        self.fd = -1
        self._kind = _LOCK_SH if shared else _LOCK_EX

    def __enter__(self) -> Lock:
        import fcntl

        while True:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, self._kind)
                # the file may have been removed (and remade) while we waited: then this lock guards nothing
                if os.stat(self.path).st_ino == os.fstat(fd).st_ino:
                    self.fd = fd
                    return self
            except FileNotFoundError:
                pass  # removed: the next round makes it anew, or fails if its directory went too
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def try_acquire(self) -> bool:
        """Take the lock if it is free; False if somebody holds it, or removed the file just now."""
        import fcntl

        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, self._kind | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise
        try:
            same = os.stat(self.path).st_ino == os.fstat(fd).st_ino
        except FileNotFoundError:
            same = False
        if not same:
            os.close(fd)
            return False
        self.fd = fd
        return True

    def release(self) -> None:
        """Let go. Done by closing, so that a child which inherited the descriptor keeps the lock."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


_ATTEMPTS = 10
"""To remove a directory that others put files into."""


def remove_tree(path: str) -> None:
    """rm -rf that never follows a symbolic link, not even one swapped in meanwhile. Nothing there is no error.

    Raises OSError for what cannot be removed. (shutil.rmtree would cost a start 10 ms of imports.)
    """
    parent, name = os.path.split(path.rstrip("/"))
    try:
        fd = os.open(parent or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        remove_at(fd, name)
    finally:
        os.close(fd)


def remove_at(parent: int, name: str) -> None:
    """`remove_tree` of a name in an open directory."""
    try:
        os.unlink(name, dir_fd=parent)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        pass  # a directory: unlink(2) says EISDIR on Linux, EPERM in POSIX
    try:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except FileNotFoundError:
        return
    try:
        for attempt in range(_ATTEMPTS):
            for child in os.listdir(fd):
                remove_at(fd, child)
            try:
                os.rmdir(name, dir_fd=parent)
                break
            except OSError as error:
                # somebody who waits for its lock has made the file anew
                if error.errno != errno.ENOTEMPTY or attempt == _ATTEMPTS - 1:
                    raise
    except FileNotFoundError:
        pass  # somebody else removes the same tree
    finally:
        os.close(fd)
