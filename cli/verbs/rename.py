"""`pyctr rename`."""

from __future__ import annotations

from pyctr.cli import values
from pyctr.core import lifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def configure(parser: Declares) -> None:
    parser.add_argument("container", metavar="CONTAINER")
    parser.add_argument("name", type=values.name, metavar="NEW-NAME")


def run(call: Call, args: Arguments) -> int:
    lifecycle.rename(call.engine, args.container, args.name)
    return 0
