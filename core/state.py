"""What is: the record of a container on disk, the status derived from it, and the one table of transitions.

    created ── start ──> running <── pause/unpause ──> paused
       │                  │   ^                          │
       │                  v   └── restart back-off: restarting
       └── rm ──>      stopped  <── stop, kill, exit ────┘
                          └── rm ──> gone      (a removal that failed half-way: dead)

`state.json` is written under the flock of `<container>/lock`, by the client, except for `process` and
`exit`, which the shim writes (it inherits the client's lock during a start). A stored pid means nothing
without its start time and boot id, so the status is never stored: `status()` derives it.
"""

from __future__ import annotations

from pyctr.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CREATING = "creating"
"""Only on disk, as `desired`: the create has not finished. Nobody is shown such a container."""
CREATED = "created"
RUNNING = "running"
PAUSED = "paused"
RESTARTING = "restarting"
STOPPED = "stopped"
DEAD = "dead"

ALLOWED: dict[str, frozenset[str]] = {
    "start": frozenset({CREATED, STOPPED}),
    "stop": frozenset({RUNNING, PAUSED, RESTARTING}),
    "kill": frozenset({RUNNING, PAUSED}),
    "pause": frozenset({RUNNING}),
    "unpause": frozenset({PAUSED}),
    "restart": frozenset({CREATED, RUNNING, PAUSED, RESTARTING, STOPPED}),
    "exec": frozenset({RUNNING}),
    "attach": frozenset({RUNNING}),
    "rename": frozenset({CREATED, RUNNING, PAUSED, RESTARTING, STOPPED}),
    "update": frozenset({CREATED, RUNNING, PAUSED, RESTARTING, STOPPED}),
    "remove": frozenset({CREATED, STOPPED, DEAD}),
    "remove --force": frozenset({CREATED, RUNNING, PAUSED, RESTARTING, STOPPED, DEAD}),
}
"""verb -> statuses it may be asked in. Everything else is an IllegalTransition."""


class Process(Record):
    """One started incarnation: PID 1 of the container as the host sees it, and its shim."""

    pid: int
    start_time: int
    """Clock ticks after boot: field 22 of proc_pid_stat(5)."""
    shim_pid: int
    shim_start_time: int
    boot_id: str
    started_at: float
    """Seconds since the epoch."""
    started_monotonic: float
    """CLOCK_BOOTTIME seconds, for an uptime that no clock step changes."""


class Exit(Record):
    """How an incarnation ended. `code` is 128+n for a death by signal n, as a shell says it."""

    code: int
    signal: int = 0
    oom_killed: bool = False
    finished_at: float = 0.0
    error: str = ""
    """Why there is no real exit code (the shim died), or why a start failed."""
    lost: bool = False
    """Nobody saw how it ended: its shim was killed, or the host went down. `code` is 255 then, as containerd has it."""


class State(Record):
    """The whole record of one container."""

    nested = {"process": Process, "exit": Exit}

    id: str
    name: str
    created_at: float
    spec: dict[str, Any]
    """A ContainerSpec as a document."""
    image_id: str = ""
    """Digest of the image configuration."""
    image_name: str = ""
    command: list[str] = []
    """The resolved argument vector."""
    group: str = ""
    """cgroup path below every hierarchy's root, e.g. "/pyctr/<id>"."""
    rootfs: dict[str, Any] = {}
    """What storage prepared: driver, lower, upper, work."""
    network: dict[str, Any] = {}
    """What networks leased: bridge, veth, address, gateway, ports as really bound."""
    volumes: dict[str, str] = {}
    """Mount target -> directory of the volume there."""
    anonymous: list[str] = []
    """Names of volumes made for this container alone; `rm -v` and --rm take them along."""
    desired: str = "created"
    """creating, created, running, stopped, removing: the last word of the user, for restart policies and retries."""
    process: Process | None = None
    exit: Exit | None = None
    restarts: int = 0
    restarting: bool = False
    """Between two incarnations: the shim waits out its back-off."""
    removing: bool = False


def derive(state: State, *, alive: bool, shim_alive: bool, frozen: bool) -> str:
    """The status of a record, given three facts read from the kernel just now.

    Between the death of the process and the word of its shim about it, it still counts as running: an end that has no
    exit code yet is not over.
    """
    if state.removing:
        return DEAD
    if state.process is None:
        return CREATED if state.exit is None else STOPPED
    if alive:
        return PAUSED if frozen else RUNNING
    if shim_alive and state.restarting:
        return RESTARTING
    if shim_alive and state.exit is None:
        return RUNNING
    return STOPPED
