"""Walking, emptying and removing cgroup directories, and waiting for what happens in them."""

from __future__ import annotations

import errno
import os
import time

from pyctr.core.cgroups.files import read_or

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def remove_tree(path: str) -> None:
    """rmdir a group after the groups below it. Raises OSError (EBUSY while there are processes)."""
    try:
        os.rmdir(path)
        return
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
    for directory in sorted(walk(path), key=len, reverse=True):
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            pass  # somebody else removed it


def walk(path: str) -> Iterator[str]:
    """The group and all below, parents first; nothing if it is gone."""
    try:
        with os.scandir(path) as entries:
            below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return
    yield path
    for directory in below:
        yield from walk(directory)


def is_in(group: str) -> bool:
    """Whether the calling process is in this v2 group or below it."""
    return f"{group}/" in f"{v2_group('/proc/self/cgroup')}/"


def v2_group(path: str) -> str:
    """The "0::" line of a /proc/PID/cgroup; "" without a v2 hierarchy or such a process."""
    for line in read_or(path).splitlines():
        if line.startswith("0::"):
            return line[3:]
    return ""


def pairs(text: str) -> dict[str, int]:
    out = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if value.isdigit():
            out[key] = int(value)
    return out


def wait_event(directory: str, wanted: str, timeout: float) -> bool:
    """Until cgroup.events has the line; the kernel wakes pollers of that file. True if the group vanishes."""
    try:
        fd = os.open(f"{directory}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    if wanted in os.pread(fd, 4096, 0).decode():
        os.close(fd)
        return True
    import select

    try:
        poll = select.poll()
        poll.register(fd, select.POLLPRI)
        deadline = time.monotonic() + timeout
        while True:
            try:
                if wanted in os.pread(fd, 4096, 0).decode():
                    return True
            except OSError as error:
                if error.errno == errno.ENODEV:  # removed while open
                    return True
                raise
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            poll.poll(remaining * 1000 + 1)
    finally:
        os.close(fd)


def wait_exits(pids: Callable[[], list[int]], timeout: float) -> bool:
    """Until `pids()` is empty, sleeping on the pidfds of those that are left (v1 has no event for emptiness)."""
    import select

    deadline = time.monotonic() + timeout
    while left := pids():
        if time.monotonic() > deadline:
            return False
        for pid in left:
            try:
                fd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                poll = select.poll()
                poll.register(fd, select.POLLIN)
                poll.poll(max(deadline - time.monotonic(), 0) * 1000 + 1)
            finally:
                os.close(fd)
    return True
