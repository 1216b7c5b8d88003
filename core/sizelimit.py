"""How much a container's own files may take on disk: `--storage-opt size=`, a project quota.

The kernel keeps the book: a project that has no inode is free, whatever limit a container left with it that is
gone now. Numbers come from the container's id, so nothing has to be remembered beside the directories themselves.
"""

from __future__ import annotations

import os

from pyctr.core.errors import Unsupported
from pyctr.core.linux import quota

_FIRST = 1 << 20
"""Lower project numbers are left to administrators (projects(5))."""
_COUNT = 1 << 30
_TRIES = 64


def apply(directories: list[str], id: str, size: int) -> None:
    """Limit empty directories, all on one filesystem, to `size` bytes together. Raises Unsupported, OSError."""
    fds: list[int] = []
    try:
        for path in directories:
            fds += (os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC),)
        number = _free(fds[0], id)
        quota.limit(fds[0], number, size)
        for fd in fds:
            quota.set_project(fd, number)
    finally:
        for fd in fds:
            os.close(fd)


def check(directory: str) -> None:
    """Raises Unsupported when nothing on the filesystem of a directory can be limited."""
    if not quota.counted(directory):
        raise Unsupported(
            f"--storage-opt size: the file system of '{directory}' does not count projects",
            hint="ext4 with 'tune2fs -O project,quota' and mount option prjquota, or xfs with pquota",
        )


def _free(fd: int, id: str) -> int:
    start = int(id[:8], 16)
    for turn in range(_TRIES):
        number = _FIRST + (start + turn * 7919) % _COUNT
        if not quota.use(fd, number)[1]:
            return number
    raise Unsupported("no free project number for a size limit", hint="remove containers")
