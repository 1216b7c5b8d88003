"""What acts on living containers would do, for `--dry-run`: the file, what stands there, what would."""

from __future__ import annotations

from pyctr.cli import output
from pyctr.core import intervention, treatment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.cli.main import Call
    from pyctr.core.intervention import Write
    from pyctr.core.targets import Target


def freezing(call: Call, target: Target, on: bool) -> bool:
    manager = target.manager(call.engine)
    return _show([intervention.freeze(manager) if on else intervention.thaw(manager)])


def limiting(call: Call, target: Target, limits: dict[str, Any]) -> bool:
    return _show(treatment.planned(call.engine, target, limits))


def signalling(call: Call, target: Target, number: int, everyone: bool) -> bool:
    from pyctr.core import signals

    manager = target.manager(call.engine)
    if everyone and number == 9 and (write := intervention.kill(manager)) is not None:
        return _show([write])
    pids = manager.pids() if everyone else [target.pid]
    output.write(f"{signals.name(number)} to {' '.join(map(str, pids))}")
    return False


def _show(writes: list[Write] | tuple[Write, ...]) -> bool:
    """False: the name is not to be said, for nothing was done."""
    for write in writes:
        output.write(
            f"{write.file}: {write.before} -> {write.value}" if write.before else f"{write.file}: {write.value}"
        )
    return False
