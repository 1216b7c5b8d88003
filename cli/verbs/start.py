"""`pyctr start`."""

from __future__ import annotations

from pyctr.cli.each import each
from pyctr.core import containers, lifecycle
from pyctr.core.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-a", "--attach", action="store_true", help="show what it writes, return its exit code")
    add("-i", "--interactive", action="store_true", help="connect stdin too")
    add("--detach-keys", metavar="KEYS", help="keys that leave it running, ctrl-p,ctrl-q otherwise")
    add("--sig-proxy", action="store_true", default=True, help="pass signals on to it (=false does not)")
    add("--trace", action="store_true", help="print the birth certificate: every step of the start and its time")
    add("container", nargs="+", metavar="CONTAINER")


def run(call: Call, args: Arguments) -> int:
    call.need_root("starting a container")
    if args.attach or args.interactive:
        return _attached(call, args)

    def start(name: str) -> None:
        container = containers.find(call.engine, name)
        lifecycle.start(call.engine, container, spawn=call.take_spawn()).close()
        if args.trace:
            from pyctr.cli import birth

            birth.show(container)

    def theirs(name: str) -> None:
        from pyctr.cli import others

        others.have_done(call.engine, "start", name)

    return each(args.container, start, theirs=theirs)


def _attached(call: Call, args: Arguments) -> int:
    if len(args.container) > 1:
        raise UsageError("--attach: takes one container", hint="start the others without it")
    from pyctr.cli.verbs.run import keys
    from pyctr.core import execution

    container = containers.find(call.engine, args.container[0])
    launched = lifecycle.start(call.engine, container, attach=True, spawn=call.spawn)
    if args.trace:
        from pyctr.cli import birth

        birth.show(container)
    code = execution.foreground(
        call.engine, container, launched, stdin=args.interactive, sig_proxy=args.sig_proxy, **keys(args)
    )
    return 0 if code is None else code
