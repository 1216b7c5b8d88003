"""`pyctr debug`."""

from __future__ import annotations

import os
import shutil
import signal
import sys

from pyctr.cli.flags import REMAINDER
from pyctr.core import debugging, targets
from pyctr.core.errors import CommandNotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call

INTERSPERSED = False


def configure(parser: Declares) -> None:
    parser.add_argument("container", metavar="CONTAINER", help="of any engine, 'docker:web' if need be")
    parser.add_argument("command", nargs=REMAINDER, metavar="COMMAND [ARG...]", help="of the host; your shell")


def run(call: Call, args: Arguments) -> int:
    target = targets.find(call.engine, args.container)
    command = args.command or [os.environ.get("SHELL") or "/bin/sh"]
    if shutil.which(command[0]) is None:
        raise CommandNotFound(f"there is no '{command[0]}' on this host", hint="the tools are the host's")
    inside = debugging.enter(target)
    if not args.command:
        print(f"pyctr: its files are below $CONTAINER ({inside.root}); everything else is the host's", file=sys.stderr)
    if inside.why:
        print(f"pyctr: these are the host's processes: {inside.why}", file=sys.stderr)
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _become(command, inside)
    # the terminal's signals are the child's, which is in our group
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 128 - code


def _become(command: list[str], inside: debugging.Inside) -> NoReturn:
    try:
        debugging.settle(inside)
        os.execvpe(command[0], command, {**os.environ, "CONTAINER": inside.root})
    except OSError as error:
        print(f"pyctr: '{command[0]}' cannot be executed: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(126)
