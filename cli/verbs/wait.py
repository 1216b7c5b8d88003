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
    parser.add_argument("container", nargs="+", metavar="CONTAINER")


def run(call: Call, args: Arguments) -> int:
    return each(args.container, lambda name: output.write(str(lifecycle.wait(call.engine, name))), echo=False)
