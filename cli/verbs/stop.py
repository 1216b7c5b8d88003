"""`pyctr stop`."""

from __future__ import annotations

from pyctr.cli import values
from pyctr.cli.each import each
from pyctr.core import lifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def configure(parser: Declares) -> None:
    parser.add_argument("-t", "--time", "--timeout", type=values.duration, metavar="SECONDS", help="before SIGKILL; 10")
    parser.add_argument("container", nargs="+", metavar="CONTAINER")


def run(call: Call, args: Arguments) -> int:
    return each(args.container, lambda name: lifecycle.stop(call.engine, name, timeout=args.time))
