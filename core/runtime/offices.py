"""What one shim does for all containers of a host, since there is no daemon that could: who holds such an office.

An office is a lock below `<run>` (flock(2)): whoever starts and finds it free takes it, whoever ends asks another shim
to. The lock of a shim that was killed is free again, and the next start has it.
"""

from __future__ import annotations

import _socket
import os
import time

from pyctr.core.paths import Paths
from pyctr.core.runtime import sync

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.runtime.flight import Flight
    from pyctr.core.runtime.shim import Shim

RECORDER_WAITS = 1.0
"""Seconds until the recorder begins: many containers are over by then, and no start waits for what it loads."""


def take(path: str) -> int:
    """The lock's descriptor, -1 when somebody else has it."""
    import fcntl

    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return -1
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return -1
    return lock


def ask_another(run: str, ids: list[str], own: str, office: bytes) -> None:
    """Have one of these containers' shims take over from that of `own`: `office` is the frame that asks for it."""
    patience = time.monotonic() + 2
    for id in ids:
        if time.monotonic() > patience:
            return
        if id != own and "@" not in id and _asked(f"{run}/containers/{id}/shim.sock", office):
            return


def _asked(path: str, office: bytes) -> bool:
    """Whether a shim has taken over."""
    channel = sync.Channel(_socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC))
    try:
        channel.socket.settimeout(1.0)
        channel.socket.connect(path)
        channel.send(sync.frame(office))
        return channel.receive()[0] == sync.DONE
    except (OSError, EOFError):
        return False  # it has no shim any more, or one that is just as much on its way
    finally:
        channel.close()


def recorder(wishes: dict[str, Any]) -> int:
    """The lock of who writes down what containers use, -1 when another shim does."""
    paths = wishes.get("paths")
    return take(f"{paths['run']}/recorder") if paths else -1


class Recorder:
    """The office of who writes down what every container uses (`flight`); `lock` is what `recorder` gave."""

    def __init__(self, shim: Shim, lock: int) -> None:
        self._shim = shim
        self._lock = lock
        self._flight: Flight | None = None
        shim.loop.at(time.monotonic() + RECORDER_WAITS, self._begin)

    def _begin(self) -> None:
        try:
            from pyctr.core.runtime.flight import Flight

            self._flight = Flight(self._shim.loop, Paths(**self._shim.plan().wishes["paths"]))
        except Exception:
            pass  # nothing can be measured here, or our files were replaced: no reason to lose a container's shim

    def close(self) -> None:
        """Give the place up; to another shim, if there is one."""
        self._shim.loop.at(None, self._begin)
        if self._flight is not None:
            self._flight.close()
        os.close(self._lock)
        wishes = self._shim.plan().wishes
        run = wishes["paths"]["run"]
        try:
            ids = os.listdir(f"{run}/containers")
        except OSError:
            return
        ask_another(run, ids, wishes["id"], sync.RECORD)
