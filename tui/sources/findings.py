"""What doctor finds."""

from __future__ import annotations

from pyctr.core import doctor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.engine import Engine
    from pyctr.tui.sources import Seen


def collect(engine: Engine, seen: Seen, before: object) -> object:
    return tuple(doctor.examine(engine))
