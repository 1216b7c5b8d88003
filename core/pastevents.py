"""What the journal says was so at a moment: which containers there were, and in which state."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyctr.core.events import Event

_STATES = {
    "create": "created",
    "start": "running",
    "restart": "running",
    "pause": "paused",
    "unpause": "running",
    "die": "stopped",
}

_ENDING = ("2", "3", "9", "15")
"""Signals by which somebody who sends them wants an end."""


class Then:
    """One container at that moment. Times are seconds since the epoch."""

    __slots__ = (
        "code", "finished", "health", "id", "image", "name", "oom_killed", "restarts", "started", "status", "wanted",
    )  # fmt: skip

    def __init__(self, id: str) -> None:
        self.id = id
        self.name = self.image = ""
        self.status = "created"
        self.started = self.finished = 0.0
        self.code: int | None = None
        self.oom_killed = False
        self.restarts = 0
        self.health = ""
        """What its probe had said last."""
        self.wanted = ""
        """"stopped" when somebody had asked for its end."""


def at(events: Iterable[Event], moment: float) -> tuple[dict[str, Then], set[str]]:
    """By id, those that were there; and the ids of all that the journal knows to have been made later, or gone by then.

    `events` come oldest first. A container whose events are too old for the journal is in neither.
    """
    found: dict[str, Then] = {}
    absent: set[str] = set()
    for event in events:
        if event.type != "container" or not event.id:
            continue
        when = event.time_ns / 1e9
        if when > moment:
            if event.action == "create":
                absent.add(event.id)
            continue
        if event.action == "destroy":
            found.pop(event.id, None)
            absent.add(event.id)
            continue
        then = found.get(event.id) or found.setdefault(event.id, Then(event.id))
        then.name = event.name or then.name
        then.image = event.attributes.get("image") or then.image
        then.status = _STATES.get(event.action, then.status)
        if event.action == "start":
            then.started, then.code, then.oom_killed = when, None, False
            then.restarts = _number(event.attributes.get("restarts")) or 0
            then.health = then.wanted = ""
        elif event.action == "stop" or (event.action == "kill" and event.attributes.get("signal") in _ENDING):
            then.wanted = "stopped"
        elif event.action.startswith("health_status: "):
            then.health = event.action.partition(": ")[2]
        elif event.action == "die":
            then.finished, then.code = when, _number(event.attributes.get("exitCode"))
            then.oom_killed = event.attributes.get("oom_killed") == "True"
    return found, absent


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None
