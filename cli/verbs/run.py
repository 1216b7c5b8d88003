"""`pyctr run`."""

from __future__ import annotations

import os

from pyctr.cli import container_flags
from pyctr.cli.verbs import create
from pyctr.core.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call

INTERSPERSED = False


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-d", "--detach", action="store_true", help="leave it to itself and print its id")
    add("--detach-keys", metavar="KEYS", help="keys that leave it running, ctrl-p,ctrl-q otherwise")
    add("--sig-proxy", action="store_true", default=True, help="pass signals on to it (=false does not)")
    add("--trace", action="store_true", help="print the birth certificate: every step of the start and its time")
    container_flags.configure(parser)


def run(call: Call, args: Arguments) -> int:
    if args.dry_run:
        return create.dry_run(call, args)
    call.need_root("starting a container")
    if args.detach and args.attach:
        raise UsageError("--detach: excludes --attach", hint="give one or the other")
    attach_stdin = not args.detach and (args.interactive if not args.attach else "stdin" in args.attach)
    if args.tty and attach_stdin and not os.isatty(0):
        raise UsageError("--tty: stdin is not a terminal", hint="leave -t out when input is piped in")
    from pyctr.core import lifecycle

    spec = (
        create.with_image(call, args, lambda: create.wanted(call, args))
        if args.publish_all
        else create.wanted(call, args)
    )
    spec.stdin_open = spec.stdin_open or attach_stdin
    with create.CidFile(args.cidfile) as cidfile:
        container, launched = create.with_image(
            call,
            args,
            lambda: lifecycle.run(
                call.engine,
                spec,
                attach=not args.detach,
                spawn=call.spawn,
                meanwhile=None if args.detach else _read_ahead,
            ),
        )
        cidfile.write(container.id)
    if args.trace:
        from pyctr.cli import birth

        birth.show(container)
    if args.detach:
        from pyctr.cli import output

        launched.close()
        output.write(container.id)
        return 0
    from pyctr.core import execution

    _mute(args.attach)
    code = execution.foreground(
        call.engine,
        container,
        launched,
        stdin=attach_stdin,
        sig_proxy=args.sig_proxy,
        **keys(args),
    )
    return 0 if code is None else code


def _read_ahead() -> None:
    """What the foreground needs once the container runs: loaded while the shim works."""
    from pyctr.core import bytecode

    bytecode.at_once(1)
    from pyctr.core import cgroups, execution, removal, waiting

    del cgroups, execution, removal, waiting


def keys(args: Arguments) -> dict[str, Any]:
    """--detach-keys as execution wants it; nothing for its default."""
    if args.detach_keys is None:
        return {}
    from pyctr.core import execution

    return {"detach_keys": execution.detach_keys(args.detach_keys)}


def _mute(attach: list[str]) -> None:
    """With --attach the streams that are not named go nowhere; the log has them all the same."""
    for fd, name in ((1, "stdout"), (2, "stderr")):
        if attach and name not in attach:
            nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(nowhere, fd)
            os.close(nowhere)
