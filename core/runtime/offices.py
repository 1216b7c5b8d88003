"""What one shim does for all containers of a host, since there is no daemon that could: who holds such an office.

An office is a lock below `<run>` (flock(2)): whoever starts and finds it free takes it, whoever ends asks another shim
to. The lock of a shim that was killed is free again, and the next start has it.

The recorder does not wait for that: it has an heir, one other shim with a connection to it. A kill ends the connection,
which wakes the heir and nobody else.
"""

from __future__ import annotations

import _socket
import os
import time

from pyctr.core.paths import Paths
from pyctr.core.runtime import clients, sync

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyctr.core.runtime.clients import Client
    from pyctr.core.runtime.flight import Flight
    from pyctr.core.runtime.shim import Shim

RECORDER_WAITS = 1.0
"""Seconds until the recorder begins: many containers are over by then, and no start waits for what it loads."""
_AGAIN = 0.3
"""Seconds after which an heir looks at the lock again: descriptors of a killed shim close one by one, and a copy of it
that is at work has them, too."""
_TRIES = 8
_REFUSALS = 16
"""Shims of which the recorder asks the next one at once: those before were killed."""


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


def ask_another(run: str, ids: Sequence[str], own: str, office: bytes) -> None:
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
        self._heir: Client | None = None
        self._heirs = ""
        """The id of the heir's container, or of who was asked last."""
        self._promised = False
        shim.loop.at(time.monotonic() + RECORDER_WAITS, self._begin)

    def _begin(self) -> None:
        try:
            from pyctr.core.runtime.flight import Flight

            wishes = self._shim.plan().wishes
            self._own, self._run = wishes["id"], wishes["paths"]["run"]
            self._flight = Flight(self._shim.loop, Paths(**wishes["paths"]), self._appoint)
        except Exception:
            pass  # nothing can be measured here, or our files were replaced: no reason to lose a container's shim

    def _appoint(self, ids: Sequence[str]) -> None:
        """Have the shim of one of these containers wait for our end, unless one does."""
        if self._heir is not None:
            if self._promised:
                return
            self._heir.close()  # it has had a whole interval to answer
        others = sorted(id for id in ids if id != self._own and "@" not in id)
        later = [id for id in others if id > self._heirs]
        for id in (later + others)[:_REFUSALS]:
            socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
            socket.setblocking(False)
            self._heirs = id
            try:
                socket.connect(f"{self._run}/containers/{id}/shim.sock")
            except OSError:
                socket.close()  # it was killed, or is on its way out
                continue
            self._heir = clients.Client(self._shim.loop, socket, self._answered, self._left)
            self._heir.send(sync.HEIR)
            return

    def _answered(self, client: Client, kind: bytes, payload: bytes) -> None:
        self._promised = kind == sync.DONE

    def _left(self, client: Client) -> None:
        self._heir, self._promised = None, False

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
            ids = []
        ask_another(run, sorted(ids, key=lambda id: id != self._heirs), wishes["id"], sync.RECORD)
        if self._heir is not None:
            self._heir.close()


def inherit(shim: Shim, tries: int = _TRIES) -> None:
    """The recorder has gone whose heir this shim is: record on, unless somebody does."""
    if (
        shim.recorder is None
        and shim.service.serves
        and not shim.service.record(recorder(shim.plan().wishes))
        and tries
    ):
        shim.loop.at(time.monotonic() + _AGAIN, lambda: inherit(shim, tries - 1))
