"""Health of a container: what its probes said, in Docker's states. The shim writes it, every face reads it.

               a success
    starting ─────────────> healthy <───── a success ──────┐
       │                       │                           │
       └─ `retries` failures ──┴─── in a row ────────> unhealthy
          (those of a start period do not count)

The record of a running container lies in its volatile directory, because it is written at every probe. When the
container ends the last one moves to its own directory: unhealthy, since nobody probes any more, as Docker has it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.containers import Container
    from pyctr.core.spec import Health

NONE = "none"
STARTING = "starting"
HEALTHY = "healthy"
UNHEALTHY = "unhealthy"
STATUSES = (NONE, STARTING, HEALTHY, UNHEALTHY)

FILE = "health.json"
INTERVAL = 30.0
TIMEOUT = 30.0
START_INTERVAL = 5.0
RETRIES = 3
"""Docker's defaults, times in seconds."""
KEPT = 5
"""Results in the record."""
OUTPUT = 4096
"""Bytes kept of a probe's output."""
SHORTEST = 0.001
"""Seconds that an interval, a timeout or a start period lasts at least."""


def probed(check: Health | None) -> bool:
    """Whether there is anything to run: not for NONE, and not for a test without a command."""
    return check is not None and len(check.test) > 1 and check.test[0] in ("CMD", "CMD-SHELL")


def settings(check: Health | None, shell: list[str] | None = None) -> dict[str, Any] | None:
    """What the shim needs of a check, every default filled in; None without a probe. `shell` is the image's SHELL."""
    if check is None or not probed(check):
        return None
    words = list(check.test[1:])
    return {
        "args": words if check.test[0] == "CMD" else [*(shell or ["/bin/sh", "-c"]), *words],
        "interval": check.interval or INTERVAL,
        "timeout": check.timeout or TIMEOUT,
        "start_period": check.start_period,
        "start_interval": check.start_interval or START_INTERVAL,
        "retries": check.retries if check.retries > 0 else RETRIES,
    }


class Verdict:
    """The state machine of one incarnation. Times are seconds of one monotonic clock; `began` is the start on it."""

    def __init__(self, settings: dict[str, Any], began: float) -> None:
        self.status = STARTING
        self.streak = 0
        self.log: list[dict[str, Any]] = []
        self._began = began
        self._settings = settings

    def pause(self, now: float) -> float:
        """Seconds from now until the next probe: shorter ones while it starts."""
        early = now - self._began < self._settings["start_period"]
        return float(self._settings["start_interval" if early and self.status == STARTING else "interval"])

    def take(self, result: dict[str, Any], at: float) -> bool:
        """The result of a probe that began `at`: {start, end (epoch), code, output}. Whether the status changed."""
        before = self.status
        self.log = [*self.log[1 - KEPT :], result]
        if result["code"] == 0:
            self.streak = 0
            self.status = HEALTHY
        elif self.status != STARTING or at - self._began >= self._settings["start_period"]:
            self.streak += 1
            if self.streak >= self._settings["retries"]:
                self.status = UNHEALTHY
        return self.status != before

    def to_dict(self, *, over: bool = False) -> dict[str, Any]:
        """The record as the file has it; `over` when nobody probes any more."""
        return {"status": UNHEALTHY if over else self.status, "streak": self.streak, "log": self.log}


def load(container: Container, status: str) -> dict[str, Any]:
    """{status, streak, log} of a container in a status (`Container.status`), read now. Never raises."""
    from pyctr.core import fsutil

    found: dict[str, Any] = {"status": NONE, "streak": 0, "log": []}
    if not probed(container.spec.health) or status == "created":
        return found
    live = status in ("running", "paused")
    found["status"] = STARTING if live else UNHEALTHY
    try:
        found.update(fsutil.read_json(path(container, status)))
    except (OSError, ValueError):
        pass  # not probed yet, or the disk was full: what a fresh one says
    if live and not container.shim_alive:
        found["status"] = UNHEALTHY  # its shim was killed: what the file says is of the past
    return found


def path(container: Container, status: str) -> str:
    """Where the record of a container in a status is."""
    if status in ("running", "paused"):
        return container.engine.paths.runtime(container.id, FILE)
    return container.path(FILE)
