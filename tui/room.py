"""Room for a recording that is looked at: a directory of its own, which goes with whoever made it.

Its owner holds a lock on it (flock(2)), which the kernel gives back whatever ends him; whoever comes next removes what
nobody holds any more.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile

PREFIX = "pyctr-replay-"


class Room:
    """A new one below TMPDIR. Raises OSError."""

    def __init__(self) -> None:
        sweep(tempfile.gettempdir())
        while True:
            self.path = tempfile.mkdtemp(prefix=PREFIX)
            try:
                self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # swept before it was ours
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX)
            except OSError:
                pass  # a file system without locks: nobody can sweep there either
            if os.path.isdir(self.path):
                return
            os.close(self._lock)

    def close(self) -> None:
        """Leave nothing of it behind; a second time does nothing."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def sweep(directory: str) -> None:
    """Remove this user's rooms that nobody is in: those of viewers that were killed."""
    try:
        with os.scandir(directory) as entries:
            rooms = [entry.path for entry in entries if entry.name.startswith(PREFIX)]
    except OSError:
        return  # then no room can be made there either, which is told where that is tried
    for path in rooms:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # another user's, no directory, or just gone
        try:
            if os.fstat(fd).st_uid == os.geteuid() and stat.S_IMODE(os.fstat(fd).st_mode) == 0o700:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            pass  # somebody is looking at it, or nobody can tell
        finally:
            os.close(fd)
