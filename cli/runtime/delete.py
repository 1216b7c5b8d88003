"""`pyctr-runtime delete`."""

from __future__ import annotations

from pyctr.core.runtime import direct_delete

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.runtime import Call


def configure(parser: Declares) -> None:
    parser.add_argument("-f", "--force", action="store_true", help="kill it first; no error if it does not exist")
    parser.add_argument("id", metavar="ID")


def run(call: Call, args: Arguments) -> int:
    direct_delete.delete(call.container(args.id), force=args.force, warn=call.warn)
    return 0
