"""File operations that Python's os does not have."""

from __future__ import annotations

import errno
import os

from pyctr.core.linux.const import SYSCALLS
from pyctr.core.linux.libc import path_bytes, syscall

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def exchange(one: str, other: str) -> None:
    """Let two paths change places in one step (renameat2(2), RENAME_EXCHANGE). Both must exist."""
    number = SYSCALLS.get("renameat2")
    if number is None:
        raise OSError(errno.ENOSYS, f"renameat2: {os.strerror(errno.ENOSYS)}", one)
    syscall(
        number, _AT_FDCWD, path_bytes(one), _AT_FDCWD, path_bytes(other), _RENAME_EXCHANGE, name="renameat2", path=other
    )
