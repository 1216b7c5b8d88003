"""What the journal tells of each container's last minutes, as triage wants to know it. Nothing is read here."""

from __future__ import annotations

from pyctr.core.triage import Death, Past

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pyctr.core.events import Event


def pasts(before: Mapping[str, Past], events: Iterable[Event], now: float, window: float) -> dict[str, Past]:
    """What matters of the journal, by container; what is longer ago than `window` seconds is dropped."""
    known = dict(before)
    begin = now - window
    for event in events:
        if event.type != "container":
            continue
        past, when = known.get(event.id, Past()), event.time_ns / 1e9
        if event.action == "destroy":
            known.pop(event.id, None)
        elif event.action == "oom":
            kills = _number(event, "kills", past.counted + 1)
            more = ((when, kills - past.counted),) if when > begin else ()
            known[event.id] = past._replace(kills=(*past.kills, *more), counted=kills)
        elif event.action == "start":
            known[event.id] = past._replace(counted=0, unhealthy=0.0)
        elif event.action == "die" and when > begin:
            oom = event.attributes.get("oom_killed") == "True"
            known[event.id] = past._replace(deaths=(*past.deaths, Death(when, _number(event, "exitCode", 0), oom)))
        elif event.action == "pause":
            known[event.id] = past._replace(paused=when)
        elif event.action.startswith("health_status: "):
            sick = event.action.endswith(": unhealthy")
            known[event.id] = past._replace(unhealthy=(past.unhealthy or when) if sick else 0.0)
    return {
        id: past._replace(
            kills=tuple(kill for kill in past.kills if kill[0] > begin),
            deaths=tuple(death for death in past.deaths if death.time > begin),
        )
        for id, past in known.items()
    }


def _number(event: Event, name: str, otherwise: int) -> int:
    try:
        return int(event.attributes[name])
    except (KeyError, ValueError):
        return otherwise
