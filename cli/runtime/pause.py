"""`pyctr-runtime pause` and `resume`."""

from __future__ import annotations

from pyctr.core import errors
from pyctr.core.runtime import ocistate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.runtime import Call


def configure(parser: Declares) -> None:
    parser.add_argument("id", metavar="ID")


resume_configure = configure


def run(call: Call, args: Arguments) -> int:
    _freeze(call, args.id, True)
    return 0


def resume_run(call: Call, args: Arguments) -> int:
    _freeze(call, args.id, False)
    return 0


def _freeze(call: Call, id: str, on: bool) -> None:
    container = call.container(id)
    lock = container.lock()
    try:
        record = container.record()
        status = container.status(record)
        if on and status not in (ocistate.RUNNING, ocistate.CREATED):
            raise errors.IllegalTransition(f"cannot pause a container that is {status}: '{id}'")
        if not on and status != ocistate.PAUSED:
            raise errors.IllegalTransition(f"cannot resume a container that is {status}: '{id}'")
        group = container.manager(record)
        group.freeze() if on else group.thaw()
    finally:
        lock.release()
