"""What a user without the right to read the records still sees of the containers: their cgroups and processes.

Those are open to everybody, so are the numbers in them. Names, images, logs are root's: here a container is called by
its short id.
"""

from __future__ import annotations

import os
import re

from pyctr.core.linux import procfs
from pyctr.core.state import Process, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyctr.core.engine import Engine

LIMITED = "names, images and logs are root's"
UNKNOWN = "-"
_ID = re.compile("[0-9a-f]{64}")


def states(
    engine: Engine, clock: Callable[[], float], known: Callable[[str], bool]
) -> Iterator[tuple[str, State | None]]:
    """(id, record made from the outside) of all that runs; no record for those that are `known` to be alive."""
    for id in _ids(engine):
        if known(id):
            yield id, None
        elif (state := _state(engine, id, clock)) is not None:
            yield id, state


def _ids(engine: Engine) -> list[str]:
    found: set[str] = set()
    for mount in _mounts(engine):
        try:
            found |= {name for name in os.listdir(f"{mount}/{engine.paths.cgroup_parent}") if _ID.fullmatch(name)}
        except OSError:
            continue  # not in this hierarchy, or nothing runs
    return sorted(found)


def _mounts(engine: Engine) -> set[str]:
    return {mount for mount in (engine.layout.unified, *engine.layout.controllers.values()) if mount}


def _state(engine: Engine, id: str, clock: Callable[[], float]) -> State | None:
    group = f"/{engine.paths.cgroup_parent}/{id}"
    pid = _first_process(engine, group)
    if not pid:
        return None
    proc = engine.paths.proc
    try:
        born = procfs.stat(pid, proc).start_time
        with open(f"{proc}/{pid}/cmdline", "rb") as file:
            words = file.read().rstrip(b"\0").split(b"\0")
        with open(f"{proc}/uptime") as uptime:
            up = float(uptime.read().split()[0])
    except (OSError, ValueError):
        return None  # it ended just now
    age = max(0.0, up - born / os.sysconf("SC_CLK_TCK"))
    started = clock() - age
    return State(
        id=id,
        name=id[:12],
        created_at=started,
        spec={"image": UNKNOWN, "network": "none"},
        image_name=UNKNOWN,
        command=[word.decode("utf-8", "replace") for word in words],
        group=group,
        network={"network": UNKNOWN},
        desired="running",
        process=Process(
            pid=pid,
            start_time=born,
            shim_pid=0,
            shim_start_time=0,
            boot_id=procfs.boot_id(proc),
            started_at=started,
            started_monotonic=0.0,
        ),
    )


def _first_process(engine: Engine, group: str) -> int:
    """The one that is PID 1 of its namespace, proc_pid_status(5) NSpid; else the lowest."""
    pids: set[int] = set()
    for mount in _mounts(engine):
        try:
            with open(f"{mount}{group}/cgroup.procs") as file:
                pids |= {int(line) for line in file}
        except OSError:
            continue  # not in this hierarchy
    for pid in sorted(pids):
        try:
            inner = procfs.status(pid, engine.paths.proc).get("NSpid", "").split()
        except OSError:
            continue  # ended just now
        if len(inner) > 1 and inner[-1] == "1":
            return pid
    return min(pids, default=0)
