"""`pyctr wait`."""

from __future__ import annotations

from pyctr.cli import output
from pyctr.cli.each import each
from pyctr.core import lifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def configure(parser: Declares) -> None:
    parser.add_argument("--condition", action="append", default=[], metavar="STATE",
                        help="until it is not-running (as without this flag), removed, created, running, paused, "
                             "restarting, stopped, healthy or unhealthy; -1 is printed for one that runs")  # fmt: skip
    parser.add_argument("container", nargs="+", metavar="CONTAINER")


def run(call: Call, args: Arguments) -> int:
    def one(name: str) -> None:
        if args.condition:
            from pyctr.core import conditions

            code = conditions.wait(call.engine, name, tuple(args.condition))
            output.write("-1" if code is None else str(code))
        else:
            output.write(str(lifecycle.wait(call.engine, name)))

    return each(args.container, one, echo=False)
