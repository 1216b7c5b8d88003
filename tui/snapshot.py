"""What one tick of the poller saw: immutable, plain, comparable, safe to hand from thread to thread.

None always means "cannot be known", never zero.
"""

from __future__ import annotations

from typing import NamedTuple

from pyctr.tui.sources import Scene

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyctr.core.cgroupstats import Rates

SPANS = (60.0, 300.0, 900.0, 3600.0)
"""Seconds a chart may cover."""


class Focus(NamedTuple):
    """What is on the screen. Immutable: screens replace the poller's whole focus."""

    visible: tuple[str, ...] = ()
    """Ids of the rows that can be seen."""
    selected: str = ""
    tab: str = ""
    """The visible tab of the selected container's details; empty when none is."""
    span: float = 300.0
    """Seconds of history the charts show."""
    sources: tuple[str, ...] = ()
    """What the visible screen needs beyond the list, see tui/sources."""


class ContainerRow(NamedTuple):
    """One container as the list shows it. Times are seconds since the epoch, sizes bytes, rates per second."""

    id: str
    name: str
    image: str = ""
    status: str = "created"
    """created running paused restarting stopped dead, as core.state derives it"""
    pid: int = 0
    command: str = ""
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    ran: float | None = None
    """Seconds the last finished incarnation ran."""
    exit_code: int | None = None
    exit_signal: int = 0
    exit_error: str = ""
    oom_killed: bool = False
    wanted: str = ""
    """The user's last word: running, stopped, …"""
    restarts: int = 0
    restart_policy: str = "no"
    health: str = ""
    """"" without a probe, else starting, healthy, unhealthy"""
    auto_remove: bool = False
    tty: bool = False

    network: str = ""
    address: str = ""
    ports: tuple[str, ...] = ()

    cpu: float | None = None
    """Percent of one core."""
    cpu_limit: float | None = None
    """Cores."""
    cpu_of_limit: float | None = None
    throttled: float | None = None
    """Percent of periods."""
    memory: float | None = None
    """Working set."""
    memory_limit: float | None = None
    memory_peak: float | None = None
    memory_of_limit: float | None = None
    oom_kills: int | None = None
    refaults: float | None = None
    """Pages per second that it read again soon after they were taken from it."""
    pids: int | None = None
    pids_limit: int | None = None
    forks_refused: int | None = None
    """By the limit, since the look before."""
    net_rx: float | None = None
    net_tx: float | None = None
    io_read: float | None = None
    io_write: float | None = None
    psi_cpu: float | None = None
    """Percent of the last ten seconds in which something waited, likewise the next two."""
    psi_memory: float | None = None
    psi_io: float | None = None
    spark: tuple[float | None, ...] = ()
    """CPU percent of the last minute, oldest first."""
    busy: str = ""
    """The verb that is being carried out on it just now."""
    engine: str = ""
    """Whose it is; "" for ours."""
    pod: str = ""

    @property
    def live(self) -> bool:
        return self.status in ("running", "paused")

    @property
    def short_id(self) -> str:
        return self.id.rpartition(":")[2][:12]

    @property
    def failed(self) -> bool:
        """Ended by itself with something other than success; what the user stopped is at rest, not failed."""
        if self.status in ("dead", "restarting"):
            return True
        if self.status != "stopped":
            return self.health == "unhealthy"
        if self.oom_killed or self.exit_error:
            return True
        return bool(self.exit_code) and self.wanted != "stopped"


_MEASURED = {
    "cpu": "cpu_percent",
    "cpu_of_limit": "cpu_percent_of_limit",
    "throttled": "throttled_percent",
    "refaults": "memory_refaults",
    "forks_refused": "pids_failures",
    **{name: name for name in ("memory_peak", "oom_kills", "pids", "pids_limit")},
    **{name: name for name in ("net_rx", "net_tx", "io_read", "io_write", "psi_cpu", "psi_memory", "psi_io")},
}
"""Field of a row -> of `cgroupstats.Rates`."""


def figures(got: Rates | None, memory: float | None, limit: float | None) -> dict[str, Any]:
    """The fields of a row that were measured; `memory` is the working set, `limit` its own or what is on record."""
    share = memory * 100 / limit if memory is not None and limit else None
    found = {name: getattr(got, field) if got is not None else None for name, field in _MEASURED.items()}
    return {**found, "memory": memory, "memory_limit": limit, "memory_of_limit": share}


class HostRow(NamedTuple):
    """The machine."""

    name: str = ""
    cpus: int | None = None
    cpu: float | None = None
    """Percent of the whole machine."""
    cpu_spark: tuple[float | None, ...] = ()
    memory: float | None = None
    memory_total: float | None = None
    memory_percent: float | None = None
    psi_cpu: float | None = None
    psi_memory: float | None = None
    psi_io: float | None = None
    load: float | None = None


class Detail(NamedTuple):
    """What the visible tab of the selected container needs. `document` is what the tab's collector made."""

    id: str
    tab: str
    document: object = None
    series: dict[str, tuple[tuple[float, float], ...]] = {}
    error: str = ""
    taken_at: float = 0.0
    """Epoch seconds of the last good document: a failed tab keeps it and says its age."""
    span: float = 300.0
    """Seconds of history in `series`."""


class Cost(NamedTuple):
    """What this program itself takes."""

    cpu: float | None = None
    memory: float | None = None


class Snapshot(NamedTuple):
    time: float = 0.0
    """Seconds since the epoch."""
    monotonic: float = 0.0
    containers: tuple[ContainerRow, ...] = ()
    host: HostRow = HostRow()
    detail: Detail | None = None
    read_only: str = ""
    """Why nothing may be changed; empty when everything may."""
    recorded: str = ""
    """When and where this was, of a host that was recorded; empty of the one we are on."""
    error: str = ""
    """Why the list could not be read; `containers` is then the last good one."""
    limited: str = ""
    """What this user may not see of the containers; empty when everything may be seen."""
    good_at: float = 0.0
    """Epoch seconds of the last good list."""
    cost: Cost = Cost()
    scenes: Mapping[str, Scene] = {}
    """What the visible screen needs besides, by the name of its source."""
    past: float = 0.0
    """Epoch seconds of the moment it shows, if that is not the present; `time` is the same then."""
    loaded: bool = True
    """False until the first look at the host is done."""

    def find(self, id: str) -> ContainerRow | None:
        for row in self.containers:
            if row.id == id:
                return row
        return None
