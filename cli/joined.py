"""`pyctr exec` in a container of another engine."""

from __future__ import annotations

import os

from pyctr.cli import values
from pyctr.cli.runtime.foreground import Foreground
from pyctr.core.engines import joining, lookup
from pyctr.core.errors import UsageError
from pyctr.core.linux import process
from pyctr.core.runtime import direct_exec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.cli.flags import Arguments
    from pyctr.cli.main import Call


def run(call: Call, args: Arguments) -> int:
    """Its exit code; 0 at once when detached."""
    if args.detach or args.privileged:
        raise UsageError("--detach and --privileged are for pyctr's own containers", hint="its engine has them")
    one = lookup.find(call.engine, args.container)
    process.set_dumpable(False)
    order = direct_exec.Order()
    if not args.interactive:
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
    foreground = Foreground()
    order.began, order.winsize = foreground.began, foreground.winsize()
    try:
        context = joining.execute(call.engine, one, lambda base: _changed(base, args), order)
        return foreground.attend(context.pid, context.streams[0])
    finally:
        foreground.close()


def _changed(base: dict[str, Any], args: Arguments) -> dict[str, Any]:
    wanted = values.unique_environment([*(v for file in args.env_file for v in file), *args.env])
    found = {**base, "args": args.command, "terminal": args.tty, "env": [*(base.get("env") or []), *wanted]}
    if args.tty and not any(word.startswith("TERM=") for word in found["env"]):
        found["env"].append("TERM=xterm")
    if args.workdir:
        found["cwd"] = args.workdir
    if args.user:
        uid, _, gid = args.user.partition(":")
        if uid.isdecimal() and (not gid or gid.isdecimal()):
            found["user"] = {"uid": int(uid), "gid": int(gid or 0)}
        else:
            found["user"] = {"username": args.user}
    return found
