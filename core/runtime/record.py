"""The shim's words in a container's state.json: what runs, how it ended. Always under the container's lock."""

from __future__ import annotations

import os
import time

from pyctr.core import fsutil
from pyctr.core.fsutil import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Recorder:
    """`path` is state.json, "" for containers without one; the lock lies beside it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._ahead: dict[str, Any] | None = None

    def lock(self) -> Lock | None:
        """Hold the lock; None when the container was removed or has no record."""
        if not self.path:
            return None
        lock = Lock(f"{os.path.dirname(self.path)}/lock")
        try:
            return lock.__enter__()
        except FileNotFoundError:
            return None

    def read(self) -> dict[str, Any] | None:
        if not self.path:
            return None
        try:
            document: dict[str, Any] = fsutil.read_json(self.path)
        except FileNotFoundError:
            return None
        return document

    def read_ahead(self) -> None:
        """For `running`; by the holder of the lock, so nobody changes it in between."""
        self._ahead = self.read()

    def running(self, facts: dict[str, Any], restarts: int | None) -> None:
        """The process of this incarnation; `restarts` as it is now, or None to leave it."""
        state, self._ahead = self._ahead or self.read(), None
        if state is None:
            return
        state["process"] = facts
        state["exit"] = None
        state["restarting"] = False
        if restarts is not None:
            state["restarts"] = restarts
        # what it says means nothing after a power failure: the process is gone then
        fsutil.write_json(self.path, state, durable=False, throwaway=_throw_away(state), in_place=True)

    def ended(self, state: dict[str, Any], exit: dict[str, Any], *, restarting: bool) -> None:
        """How it ended, durable: an exit code that somebody has seen is not forgotten."""
        state["exit"] = exit
        state["restarting"] = restarting
        throwaway = _throw_away(state)
        durable = not restarting and not throwaway
        fsutil.write_json(self.path, state, durable=durable, throwaway=throwaway, in_place=True)


def _throw_away(state: dict[str, Any]) -> bool:
    return bool((state.get("spec") or {}).get("auto_remove"))


def exit_of(status: int) -> dict[str, Any]:
    """The first fields of a `state.Exit`, of an exit code or (negative) a signal."""
    return {"code": status if status >= 0 else 128 - status, "signal": max(0, -status)}


def process(pid: int, shim: int, proc: str = "/proc") -> dict[str, Any]:
    """A `state.Process` of a container's first process and of its shim."""
    from pyctr.core.linux import procfs

    return {
        "pid": pid,
        "start_time": procfs.start_time(pid, proc) or 0,
        "shim_pid": shim,
        "shim_start_time": procfs.start_time(shim, proc) or 0,
        "boot_id": procfs.boot_id(proc),
        "started_at": time.time(),
        "started_monotonic": time.clock_gettime(time.CLOCK_BOOTTIME),
    }
