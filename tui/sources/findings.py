"""What doctor finds."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.engine import Engine
    from pyctr.tui.sources import Seen


def collect(engine: Engine, seen: Seen, before: object) -> object:
    if engine.recorded is not None:
        return engine.recorded.findings()
    from pyctr.core import doctor

    return tuple(doctor.examine(engine))
