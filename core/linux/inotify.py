"""inotify(7): being told about changes of files instead of asking again and again."""

from __future__ import annotations

import os

from pyctr.core.linux import foreign
from pyctr.core.linux.libc import check, libc

IN_MODIFY = 0x002
IN_CLOSE_WRITE = 0x008
IN_MOVED_FROM = 0x040
IN_MOVED_TO = 0x080
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_DELETE_SELF = 0x400
IN_MOVE_SELF = 0x800
IN_ONLYDIR = 0x01000000


def init() -> int:
    """A non-blocking, close-on-exec inotify descriptor. Raises OSError (EMFILE: fs.inotify.max_user_instances)."""
    return check(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1")


def add_watch(fd: int, path: str, mask: int) -> int:
    """Watch a file or directory; the watch descriptor."""
    return check(libc.inotify_add_watch(fd, os.fsencode(path), foreign.c_uint32(mask)), "inotify_add_watch", path)


def drain(fd: int) -> bool:
    """Throw away everything queued; whether there was anything."""
    seen = False
    while True:
        try:
            os.read(fd, 65536)
        except BlockingIOError:
            return seen
        seen = True
