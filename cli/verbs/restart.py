"""`pyctr restart`."""

from __future__ import annotations

from pyctr.cli import values
from pyctr.cli.each import each
from pyctr.core import lifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def configure(parser: Declares) -> None:
    parser.add_argument(
        "-t", "--time", "--timeout", type=values.patience, metavar="SECONDS", help="before SIGKILL; 10, -1 for ever"
    )
    parser.add_argument("-s", "--signal", default="", metavar="SIGNAL", help="instead of the container's stop signal")
    parser.add_argument("container", nargs="+", metavar="CONTAINER")


def run(call: Call, args: Arguments) -> int:
    def theirs(name: str) -> None:
        from pyctr.cli import others

        others.have_done(call.engine, "restart", name, seconds=args.time)

    def restart(name: str) -> None:
        lifecycle.restart(call.engine, name, args.time, args.signal)

    return each(args.container, restart, theirs=theirs)
