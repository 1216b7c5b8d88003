"""A caller of `pyctr-runtime` as conmon and containerd's shim are: a subreaper that gets the container as its child."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from pyctr.core.linux import const
from pyctr.core.linux.libc import prctl


@contextmanager
def subreaper() -> Iterator[None]:
    """This process adopts orphans of what it starts."""
    prctl(const.PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        prctl(const.PR_SET_CHILD_SUBREAPER, 0)


def parent(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def wait(pid: int, timeout: float = 20) -> int:
    """The exit code of a child of ours, -signal for a death by one."""
    fd = os.pidfd_open(pid)
    try:
        assert select.select([fd], [], [], timeout)[0], f"{pid} still runs"
    finally:
        os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Console:
    """What conmon gives as --console-socket: it gets the terminal's master."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(1)
        self.listener.settimeout(20)
        self.master = -1
        self.said = b""

    def accept(self) -> int:
        connection, _ = self.listener.accept()
        with connection:
            _, descriptors, _, _ = socket.recv_fds(connection, 4096, 1)
        self.master = descriptors[0]
        return self.master

    def read(self, words: bytes, timeout: float = 20) -> bytes:
        """All that the terminal has said, once these words have come."""
        while words not in self.said:
            assert select.select([self.master], [], [], timeout)[0], self.said
            self.said += os.read(self.master, 4096)
        return self.said

    def close(self) -> None:
        self.listener.close()
        if self.master >= 0:
            os.close(self.master)
