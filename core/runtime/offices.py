"""What one process does for all on this host, since there is no daemon that could: who holds such an office.

An office is a lock below `<run>` (flock(2)). That of somebody who was killed is free again.
"""

from __future__ import annotations

import os
import select
import time

STEWARD = "steward"
"""The lock of the one process that `steward` is, below `<run>`."""
_SOON = 3.0
"""Seconds in which somebody who was told to has filled it."""
_PROMISED = b"?"


def take(path: str) -> int:
    """The lock's descriptor, -1 when somebody else has it."""
    import fcntl

    while True:
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return -1
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return -1
        if holds(lock, path):
            return lock
        os.close(lock)  # who had it until just now has abolished it


def holds(lock: int, path: str) -> bool:
    """Whether a lock that was taken still is that office: a file that somebody removed is locked by nobody else."""
    try:
        return os.path.samestat(os.fstat(lock), os.stat(path))
    except OSError:
        return False


def abolish(path: str) -> None:
    """Remove it, unless somebody holds it: the next one would take another file, and both would be in office."""
    if os.path.exists(path) and (lock := take(path)) >= 0:
        os.unlink(path)
        os.close(lock)


def fill(lock: int) -> None:
    """Say in it who holds the lock. Raises OSError (the disk is full)."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d" % os.getpid(), 0)


def vacant(path: str) -> bool:
    """Whether nobody holds it, or has heard this in the last seconds: who hears True fills it in a moment, or says
    `leave_vacant`."""
    if (lock := take(path)) < 0:
        return False
    try:
        if os.pread(lock, 1, 0) == _PROMISED and abs(time.time() - os.fstat(lock).st_mtime) < _SOON:
            return False
        os.ftruncate(lock, 0)
        os.pwrite(lock, _PROMISED, 0)
        return True
    except OSError:
        return True  # the disk is full: one too many will find it taken
    finally:
        os.close(lock)


def leave_vacant(path: str) -> None:
    """The one who heard that it is `vacant` has not filled it, or who has filled it goes."""
    try:
        os.truncate(path, 0)
    except OSError:
        pass  # gone with its directory; or it is said once more in some seconds


def wait_until_left(path: str, patience: float) -> None:
    """Until its holder has ended, if there is one, for so many seconds at most."""
    try:
        with open(path, "rb", buffering=0) as file:
            said = file.read(32)
        holder = os.pidfd_open(int(said)) if said.isdigit() else -1
    except (OSError, ValueError):
        return
    if holder >= 0:
        ended = select.poll()
        ended.register(holder, select.POLLIN)
        if (lock := take(path)) >= 0:
            os.close(lock)  # it was killed, and the pid is somebody else's by now
        else:
            ended.poll(patience * 1000)
        os.close(holder)
