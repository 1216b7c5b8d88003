"""`pyctr attach`."""

from __future__ import annotations

from pyctr.cli.verbs.run import keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("--detach-keys", metavar="KEYS", help="keys that leave it running, ctrl-p,ctrl-q otherwise")
    add("--no-stdin", action="store_true", help="look only")
    add("--sig-proxy", action="store_true", default=True, help="pass signals on to it (=false does not)")
    add("container", metavar="CONTAINER")


def run(call: Call, args: Arguments) -> int:
    from pyctr.core import execution

    code = execution.attach(
        call.engine, args.container, stdin=not args.no_stdin, sig_proxy=args.sig_proxy, **keys(args)
    )
    return 0 if code is None else code
