"""Files of other engines, read with suspicion: regular ones only, bounded, never through a link, never waiting.

A rootless user's store is that user's, and an engine inside a container keeps its files in that container: a fifo or a
link in the place of a record must neither hang the reader nor show it something else.
"""

from __future__ import annotations

import json
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Stamp = tuple[int, int, int, int]

MOST = 8 << 20
"""Bytes of a record; docker's are some kB, podman's list of all containers some hundred."""


class Tree:
    """The files as one engine sees them: the host's (below `host`, "" for the real root), or those of the mount
    namespace of process `pid`, of which no link leads out."""

    def __init__(self, host: str = "", proc: str = "/proc", pid: int = 0) -> None:
        self.prefix = f"{proc}/{pid}/root" if pid else host
        self.guarded = bool(pid)

    def open(self, path: str, flags: int) -> int:
        """Raises OSError."""
        # openat2(2) refuses O_PATH together with what it has no use for
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC | (0 if flags & os.O_PATH else os.O_NONBLOCK)
        if not self.guarded:
            return os.open(self.prefix + path, flags)
        from pyctr.core.linux.inroot import open_in

        # the one link that is meant: it is the process's root
        root = os.open(self.prefix, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return open_in(root, path, flags)
        finally:
            os.close(root)

    def file(self, path: str) -> int:
        """A descriptor of a regular file. Raises OSError."""
        fd = self.open(path, os.O_RDONLY)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(22, "open: not a regular file", path)
        return fd

    def read(self, path: str) -> bytes:
        """Raises OSError."""
        fd = self.file(path)
        try:
            chunks, size = [], 0
            while size < MOST and (chunk := os.read(fd, 1 << 18)):
                chunks.append(chunk)
                size += len(chunk)
            return b"".join(chunks)
        finally:
            os.close(fd)

    def text(self, path: str) -> str:
        """ "" for what cannot be read."""
        try:
            return self.read(path).decode("utf-8", "replace")
        except OSError:
            return ""

    def json(self, path: str) -> Any:
        """The document; None for what cannot be read, or is being written just now."""
        try:
            return json.loads(self.read(path))
        except (OSError, ValueError, RecursionError):
            return None

    def names(self, path: str) -> list[str]:
        """Raises PermissionError; [] for what is no directory."""
        try:
            fd = self.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except PermissionError:
            raise
        except OSError:
            return []
        try:
            return os.listdir(fd)
        finally:
            os.close(fd)

    def stamp(self, path: str) -> Stamp | None:
        """Differs when a file was written or replaced; None when it is not there."""
        try:
            fd = self.open(path, os.O_PATH)
        except OSError:
            return None
        try:
            found = os.fstat(fd)
        finally:
            os.close(fd)
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size

    def where(self, path: str) -> str:
        """The path as this process has to open it."""
        return self.prefix + path


def foreign(proc: str, pid: int) -> bool:
    """Whether a process has other mounts than this one. A recorded host has one view."""
    if proc != "/proc":
        return False
    try:
        return os.readlink(f"{proc}/{pid}/ns/mnt") != os.readlink(f"{proc}/self/ns/mnt")
    except OSError:
        return False
