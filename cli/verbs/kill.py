"""`pyctr kill`."""

from __future__ import annotations

from pyctr.cli import treating
from pyctr.cli.each import each
from pyctr.core import signals, targets, treatment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-s", "--signal", default="KILL", metavar="SIGNAL", help="name or number; KILL")
    add("--all", action="store_true", help="to every process of its cgroup, not only the first")
    add("--dry-run", action="store_true", help="say who would get which signal, and send none")
    add("container", nargs="+", metavar="CONTAINER", help="of any engine, 'docker:web' if need be")


def run(call: Call, args: Arguments) -> int:
    number = signals.number(args.signal)

    def kill(name: str) -> bool:
        target = targets.find(call.engine, name)
        if args.dry_run:
            return treating.signalling(call, target, number, args.all)
        treatment.signal(call.engine, target, number, everyone=args.all)
        return True

    return each(args.container, kill)
