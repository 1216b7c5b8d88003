"""`pyctr rm`."""

from __future__ import annotations

from pyctr.cli.diagnostics import safe, say
from pyctr.cli.each import each
from pyctr.core import lifecycle
from pyctr.core.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def configure(parser: Declares) -> None:
    parser.add_argument("-f", "--force", action="store_true", help="kill it first if it runs")
    parser.add_argument("-v", "--volumes", action="store_true", help="remove its anonymous volumes too")
    parser.add_argument("container", nargs="+", metavar="CONTAINER")


def run(call: Call, args: Arguments) -> int:
    def remove(name: str) -> bool:
        try:
            lifecycle.remove(call.engine, name, force=args.force, volumes=args.volumes)
        except NotFound as error:
            if not args.force:
                raise
            # as with rm(1): with -f what is not there is as good as removed, but it is said
            say(f"pyctr: {safe(error.message)}")
            return False
        return True

    def theirs(name: str) -> None:
        from pyctr.cli import others

        flags = [*(["-f"] if args.force else []), *(["-v"] if args.volumes else [])]
        others.have_done(call.engine, "remove", name, *flags)

    return each(args.container, remove, theirs=theirs)
