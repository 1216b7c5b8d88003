"""Waiting until a container is in some state, told by the journal: every transition is an event there."""

from __future__ import annotations

import time

from pyctr.core import containers, errors, health, lifecycle
from pyctr.core.state import CREATED, DEAD, PAUSED, RESTARTING, RUNNING, STOPPED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine

NOT_RUNNING, REMOVED = "not-running", "removed"
CONDITIONS = (
    NOT_RUNNING, REMOVED, CREATED, RUNNING, PAUSED, RESTARTING, STOPPED, "exited", health.HEALTHY, health.UNHEALTHY,
)  # fmt: skip
"""Docker's, and podman's names of the other states; "exited" is "stopped"."""
_TAIL = 65536
"""Bytes of the journal that are looked through again, for what happened between a look and the wait."""


def wait(engine: Engine, ref: str, conditions: tuple[str, ...]) -> int | None:
    """Wait for the first of some conditions; the exit code, or None while it runs (podman-wait(1)).

    Raises NotFound, UsageError for a word that is no condition, and IllegalTransition when it ended before a condition
    that only a running container can meet: nobody would ever end such a wait.
    """
    for condition in conditions:
        if condition not in CONDITIONS:
            raise errors.UsageError(f"'{condition}' is no condition", hint=f"one of: {', '.join(CONDITIONS)}")
    if set(conditions) <= {NOT_RUNNING, STOPPED, "exited"}:
        return lifecycle.wait(engine, ref)
    container = containers.find(engine, ref)
    began = time.time_ns()
    if _met(container, conditions):
        return _code(container)
    for event in engine.events.follow(filters={"container": [container.id]}, tail=_TAIL):
        try:
            container.reload()
        except errors.NotFound:
            if REMOVED in conditions:
                return lifecycle.exit_code_from_journal(engine, container.id)
            raise
        if _met(container, conditions):
            return _code(container)
        if event.action == "die" and event.time_ns >= began:
            _refuse_if_over(container, conditions)
    raise AssertionError("the journal is followed for ever")


def _met(container: Container, conditions: tuple[str, ...]) -> bool:
    status = container.status
    if status in conditions or (status in (STOPPED, DEAD) and {NOT_RUNNING, STOPPED, "exited"} & set(conditions)):
        return True
    return status in (RUNNING, PAUSED) and health.load(container, status)["status"] in conditions


def _code(container: Container) -> int | None:
    if container.status in (RUNNING, PAUSED) or container.state.exit is None:
        return None
    return container.state.exit.code


def _refuse_if_over(container: Container, conditions: tuple[str, ...]) -> None:
    """The reader may be late: it is over when the container is not running now, and nothing will start it."""
    if container.status == STOPPED and REMOVED not in conditions:
        wanted = " or ".join(conditions)
        raise errors.IllegalTransition(
            f"container '{container.name}' ended with {_code(container)} before it was {wanted}",
            hint=f"pyctr logs {container.name}",
        )
