"""`pyctr-runtime start`."""

from __future__ import annotations

from pyctr.core.runtime import direct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.runtime import Call


def configure(parser: Declares) -> None:
    parser.add_argument("id", metavar="ID")


def run(call: Call, args: Arguments) -> int:
    direct.release(call.container(args.id), call.warn)
    return 0
