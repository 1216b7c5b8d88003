"""renameat2(2), for what rename(2) cannot do."""

from __future__ import annotations

from pyctr.core.linux import const
from pyctr.core.linux.libc import path_bytes, syscall

_RENAME_EXCHANGE = 2


def exchange(first: str, second: str) -> None:
    """Two names for each other's files, at once. Raises OSError: EINVAL where the filesystem cannot."""
    here = const.AT_FDCWD
    words = (here, path_bytes(first), here, path_bytes(second), _RENAME_EXCHANGE)
    syscall(const.SYSCALLS["renameat2"], *words, name="renameat2", path=first)
