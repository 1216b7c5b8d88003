"""How a container of another engine died: what its engine wrote down, with what `pyctr record` and the kernel know.

The document is that of core/deaths. It is made when somebody asks: the ring of a group that is gone stays until room
is needed, and the engine's record and log until the container is removed there.
"""

from __future__ import annotations

import os
import time

from pyctr.core import deaths, errors, heaviest, history, hostrecord, ring
from pyctr.core.state import DEAD, STOPPED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.engine import Engine
    from pyctr.core.engines.model import Foreign
    from pyctr.core.paths import Paths
    from pyctr.core.ring import Reading

_SHORTEST = 12
"""Characters of an id by which a cgroup is known to be of it."""
_SLACK = 15.0
"""Seconds after the end that its engine wrote in which the last sample may lie: it reads its clock later or earlier."""


def of(engine: Engine, one: Foreign) -> list[dict[str, Any]]:
    """Its last end, if that was a death and it has not been started again. Raises OSError for a record that may not be
    read."""
    if one.running or one.status not in (STOPPED, DEAD) or not one.exit_code:
        return []
    if one.wanted == "stopped" and not one.oom_killed:
        return []
    group = group_of(engine.paths, one)
    place = hostrecord.place(engine.paths, group)
    readings = ring.read(place, 0.0, one.finished_at + _SLACK) if group else []
    readings = [reading for reading in readings if reading.time >= one.started_at - _SLACK]
    readings = [reading for reading in readings if reading.pid == readings[-1].pid]
    killed = _kills(readings)
    code = one.exit_code
    exit = {
        "code": code,
        # engines write the signal into the code, as shells do
        "signal": code - 128 if 128 < code < 128 + 65 else 0,
        "oom_killed": one.oom_killed or bool(killed),
    }
    process = {"started_monotonic": time.clock_gettime(time.CLOCK_BOOTTIME) - (time.time() - one.started_at)}
    evidence = deaths.kernel(group or one.id, process, {**exit, "oom_killed": exit["oom_killed"] or code == 137})
    if evidence["oom"]:
        exit["oom_killed"] = True
    last = [reading for reading in readings if reading.time > one.finished_at - deaths.BEFORE]
    most = [value for reading in readings if (value := reading.sample.memory_current) is not None]
    first, final = (last[0].sample, last[-1].sample) if last else (None, None)
    document = {
        "version": 1,
        "id": one.id,
        "engine": one.engine,
        "name": one.name,
        "image": one.image,
        "command": list(one.command),
        "started_at": one.started_at,
        "finished_at": one.finished_at,
        "pid": 0,
        **exit,
        "error": one.error,
        "restarts": one.restarts,
        "memory": {
            "limit": one.memory_limit or (final.memory_limit if final is not None else None),
            "peak": max(most, default=None),
            "events_before": first.memory_events if first is not None else None,
            "events": final.memory_events if final is not None else None,
        },
        "kernel": evidence,
        "samples": [deaths.brief(moment) for moment in history.moments(last)],
        "processes": deaths.processes(f"{os.path.dirname(place)}/{heaviest.FILE}", last[-1].pid, one.finished_at)
        if last
        else None,
        "log": _log(one),
        "events": [],
    }
    document["cause"] = deaths.cause(document)
    return [document]


def group_of(paths: Paths, one: Foreign) -> str:
    """The cgroup that was recorded of it, also when it is gone; "" if none was."""
    if one.group:
        return one.group
    if len(one.id) < _SHORTEST:
        return ""
    found = [
        (status.st_mtime, -len(group), group)
        for group, status in hostrecord.recorded(paths)
        if one.id in group.rpartition("/")[2] or f"{one.id}/" in group or f"{one.id}.scope/" in group
    ]
    return max(found)[2] if found else ""


def _kills(readings: list[Reading]) -> int:
    """For memory, while it was recorded."""
    counts = [(reading.sample.memory_events or {}).get("oom_kill") for reading in readings]
    known = [count for count in counts if count is not None]
    return known[-1] if known else 0


def _log(one: Foreign) -> list[list[Any]]:
    from pyctr.core.engines import output

    try:
        return [deaths.line(at, stream, text) for at, stream, text in output.read(one, tail=deaths.LINES)]
    except (OSError, errors.PyctrError):
        return []  # kept nowhere that can be read
