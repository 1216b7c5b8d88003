"""`pyctr unpause`."""

from __future__ import annotations

from pyctr.cli import treating
from pyctr.cli.each import each
from pyctr.core import targets, treatment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("--dry-run", action="store_true", help="say which file would get which value, and change nothing")
    add("container", nargs="+", metavar="CONTAINER", help="of any engine, 'docker:web' if need be")


def run(call: Call, args: Arguments) -> int:
    def unpause(name: str) -> bool:
        target = targets.find(call.engine, name)
        if args.dry_run:
            return treating.freezing(call, target, False)
        treatment.thaw(call.engine, target)
        return True

    return each(args.container, unpause)
