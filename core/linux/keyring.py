"""Kernel keyrings: keyctl(2)."""

from __future__ import annotations

import os

from pyctr.core.linux.const import SYSCALLS
from pyctr.core.linux.libc import syscall

_JOIN_SESSION_KEYRING = 1


def join_new_session(name: str | None = None) -> int:
    """A new, empty session keyring, so that the container does not hold its starter's keys. Returns its serial.

    ENOSYS where the kernel has no keyrings, EDQUOT when the user has too many keys.
    """
    raw = os.fsencode(name) if name else None
    return syscall(SYSCALLS["keyctl"], _JOIN_SESSION_KEYRING, raw, name="keyctl", path=name)
