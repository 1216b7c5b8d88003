"""`pyctr-runtime kill`."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports enum
import os

from pyctr.core import signals
from pyctr.core.runtime import ocistate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.runtime import Call


def configure(parser: Declares) -> None:
    parser.add_argument("-a", "--all", action="store_true", help="to every process of the container")
    parser.add_argument("id", metavar="ID")
    parser.add_argument("signal", nargs="?", default="TERM", metavar="SIGNAL")


def run(call: Call, args: Arguments) -> int:
    number = signals.number(args.signal)
    container = call.container(args.id)
    record = container.record()
    if args.all:
        group = container.manager(record)
        if not container.alive(record) and not group.pids():
            raise ocistate.not_running(args.id)
        group.kill(number)
        return 0
    fd = container.open(record)
    try:
        _signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        raise ocistate.not_running(args.id) from None
    finally:
        os.close(fd)
    if number == _signal.SIGKILL and "pid" not in record["own"]:
        # without a pid namespace of its own nothing ends the others with the first (config-linux.md)
        container.manager(record).kill()
    return 0
