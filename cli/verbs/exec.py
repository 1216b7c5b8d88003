"""`pyctr exec`."""

from __future__ import annotations

import os

from pyctr.cli import values
from pyctr.cli.flags import REMAINDER
from pyctr.cli.verbs.run import keys
from pyctr.core.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call

INTERSPERSED = False


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-d", "--detach", action="store_true", help="do not wait for it")
    add("-i", "--interactive", action="store_true", help="connect stdin")
    add("-t", "--tty", action="store_true", help="give it a terminal")
    add("-e", "--env", action="append", type=values.environment, metavar="NAME[=VALUE]", help="a variable")
    add("--env-file", action="append", type=values.env_file, metavar="FILE", help="variables from a file")
    add("-u", "--user", default="", metavar="USER[:GROUP]", help="user and group, names or numbers")
    add("-w", "--workdir", default="", metavar="DIR", help="working directory")
    add("--privileged", action="store_true", help="all capabilities")
    add("--detach-keys", metavar="KEYS", help="keys that leave it running, ctrl-p,ctrl-q otherwise")
    add("container", metavar="CONTAINER")
    add("command", nargs=REMAINDER, metavar="COMMAND", help="with its arguments")


def run(call: Call, args: Arguments) -> int:
    if not args.command:
        raise UsageError("'pyctr exec' needs a COMMAND", hint=f"such as 'pyctr exec -it {args.container} sh'")
    if args.tty and args.interactive and not args.detach and not os.isatty(0):
        raise UsageError("--tty: stdin is not a terminal", hint="leave -t out when input is piped in")
    if ":" in args.container:
        from pyctr.cli import joined

        return joined.run(call, args)
    from pyctr.core import execution

    code = execution.execute(
        call.engine,
        args.container,
        args.command,
        env=values.unique_environment([*(v for file in args.env_file for v in file), *args.env]),
        workdir=args.workdir,
        user=args.user,
        tty=args.tty,
        stdin=args.interactive,
        privileged=args.privileged,
        detach=args.detach,
        **keys(args),
    )
    return 0 if code is None else code
