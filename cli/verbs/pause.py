"""`pyctr pause`."""

from __future__ import annotations

from pyctr.cli import treating, values
from pyctr.cli.each import each
from pyctr.core import targets, treatment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("--for", dest="after", type=values.duration, default=0.0, metavar="TIME", help="thaw after this, as 60s or 5m")
    add("--dry-run", action="store_true", help="say which file would get which value, and change nothing")
    add("container", nargs="+", metavar="CONTAINER", help="of any engine, 'docker:web' if need be")


def run(call: Call, args: Arguments) -> int:
    def pause(name: str) -> bool:
        target = targets.find(call.engine, name)
        if args.dry_run:
            return treating.freezing(call, target, True)
        treatment.freeze(call.engine, target, args.after)
        return True

    return each(args.container, pause)
