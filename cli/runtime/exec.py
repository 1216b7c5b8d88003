"""`pyctr-runtime exec`."""

from __future__ import annotations

import os

from pyctr.cli.flags import REMAINDER
from pyctr.cli.runtime.inherited import descriptors
from pyctr.core import errors
from pyctr.core.linux import process
from pyctr.core.runtime import direct_exec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.runtime import Call

INTERSPERSED = False


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("--console-socket", default="", metavar="SOCKET", help="gets the terminal's master")
    add("--cwd", default="", metavar="DIR", help="working directory inside")
    add("-e", "--env", action="append", default=[], metavar="NAME=VALUE", help="on top of the container's environment")
    add("-t", "--tty", action="store_true", help="with a terminal")
    add("-u", "--user", default="", metavar="UID[:GID]", help="numbers, or names that the container knows")
    add("-g", "--additional-gids", action="append", default=[], type=int, metavar="GID", help="further groups")
    add("-p", "--process", default="", metavar="FILE", help="the process as in config.json, instead of words and flags")
    add("-d", "--detach", action="store_true", help="do not wait for the end")
    add("--pid-file", default="", metavar="FILE", help="write the pid there")
    add("--process-label", default="", metavar="LABEL", help="of SELinux")
    add("--apparmor", default="", metavar="PROFILE", help="AppArmor profile it runs under")
    add("--no-new-privs", action="store_true", help="execve never grants more")
    add("-c", "--cap", action="append", default=[], metavar="CAP", help="one more capability")
    add(
        "--preserve-fds",
        default=0,
        type=int,
        metavar="N",
        help="descriptors after 0 to 2 and LISTEN_FDS that stay open",
    )
    add("--cgroup", action="append", default=[], metavar="[CONTROLLER:]PATH", help="below the container's own group")
    add("--ignore-paused", action="store_true", help="into a paused container, too")
    add("--no-subreaper", action="store_true", help="do not adopt orphans")
    add("id", metavar="ID")
    add("command", nargs=REMAINDER, metavar="COMMAND ...")


def run(call: Call, args: Arguments) -> int:
    process.set_dumpable(False)
    os.umask(0o077)
    order = direct_exec.Order()
    order.pid_file = os.path.abspath(args.pid_file) if args.pid_file else ""
    order.console_socket = args.console_socket
    order.detached = args.detach
    order.paused = args.ignore_paused
    order.groups = args.cgroup
    order.kept, environment = descriptors(args.preserve_fds)
    container = call.container(args.id)

    def wanted(base: dict[str, Any]) -> dict[str, Any]:
        found = _from_file(call, args.process) if args.process else _changed(base, args)
        if environment:
            found["env"] = [*(found.get("env") or []), *environment]
        return found

    if args.detach:
        direct_exec.execute(container, wanted, order)
        return 0
    from pyctr.cli.runtime.foreground import Foreground

    foreground = Foreground()
    order.began, order.winsize = foreground.began, foreground.winsize()
    try:
        context = direct_exec.execute(container, wanted, order)
        return foreground.attend(context.pid, context.streams[0])
    finally:
        foreground.close()


def _from_file(call: Call, path: str) -> dict[str, Any]:
    from pyctr.core.runtime import check

    document = check.load(path)
    for warning in check.process(document):
        call.warn(warning)
    return document


def _changed(base: dict[str, Any], args: Arguments) -> dict[str, Any]:
    """The first process's document with what the flags say."""
    if not args.command or not args.command[0]:
        raise errors.UsageError("exec: no command", hint="pyctr-runtime exec ID COMMAND ..., or --process FILE")
    found = {**base, "args": args.command, "terminal": args.tty, "env": [*(base.get("env") or []), *args.env]}
    if not args.tty:
        found.pop("consoleSize", None)
    if args.cwd:
        if not args.cwd.startswith("/"):
            raise errors.UsageError(f"--cwd: '{args.cwd}' is not an absolute path")
        found["cwd"] = args.cwd
    if args.apparmor:
        found["apparmorProfile"] = args.apparmor
    if args.process_label:
        found["selinuxLabel"] = args.process_label
    if args.no_new_privs:
        found["noNewPrivileges"] = True
    if args.cap:
        found["capabilities"] = _with(base.get("capabilities") or {}, args.cap)
    user = {**(base.get("user") or {})}
    if args.user:
        user = {**_user(args.user), **{key: user[key] for key in ("umask", "additionalGids") if key in user}}
    if args.additional_gids:
        for gid in args.additional_gids:
            _number(gid, "--additional-gids")
        user["additionalGids"] = [*(user.get("additionalGids") or []), *args.additional_gids]
    return {**found, "user": user}


def _with(sets: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """As runc adds them: usable at once, also after execve by another user than root, if inheritable ones are there."""
    from pyctr.core.linux.capnames import NAMES

    full = [name if name.startswith("CAP_") else f"CAP_{name}" for name in (name.upper() for name in names)]
    if unknown := [name for name in full if name not in NAMES]:
        raise errors.UsageError(f"--cap: '{unknown[0]}' is unknown", hint="like CAP_NET_ADMIN")
    kept = dict(sets)
    for name in ("bounding", "effective", "permitted", "ambient"):
        listed = list(sets.get(name) or [])
        if name == "ambient" and not sets.get("inheritable"):
            continue  # ambient ones must be inheritable
        kept[name] = [*listed, *(cap for cap in full if cap not in listed)]
    return kept


def _number(number: int, flag: str) -> int:
    if not 0 <= number < (1 << 32) - 1:
        raise errors.UsageError(f"{flag}: {number} is not between 0 and {(1 << 32) - 2}")
    return number


def _user(text: str) -> dict[str, Any]:
    uid, _, gid = text.partition(":")
    if uid.isascii() and uid.isdecimal() and (not gid or (gid.isascii() and gid.isdecimal())):
        return {"uid": _number(int(uid), "--user"), "gid": _number(int(gid or 0), "--user")}
    return {"username": text}
