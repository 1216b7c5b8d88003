"""What the shim has done when its container has ended and no client cares: give ports back, remove a --rm container."""

from __future__ import annotations

from pyctr.core import containers, errors
from pyctr.core.engine import Engine
from pyctr.core.fsutil import Lock
from pyctr.core.paths import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str]) -> None:
    """`ID name=value...`: the values are those of `Paths`."""
    id, *fields = arguments
    finish(Engine(Paths(**dict(field.split("=", 1) for field in fields))), id)


def finish(engine: Engine, id: str) -> None:
    """Idempotent; whoever removes the container meanwhile, or starts it again, wins."""
    from pyctr.core import lifecycle

    try:
        container = containers.find(engine, id)
        if container.spec.auto_remove:
            lifecycle.remove(engine, id, volumes=True)
            return
        with Lock(container.path("lock")):
            if container.reload().state.network.get("ports") and not container.alive:
                engine.networks.unpublish(container.state.network)
    except (errors.NotFound, errors.IllegalTransition, FileNotFoundError):
        return  # removed or started again by somebody who was faster
