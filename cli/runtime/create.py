"""`pyctr-runtime create` and `run`."""

from __future__ import annotations

import os

from pyctr.cli.runtime.inherited import descriptors
from pyctr.core import bytecode
from pyctr.core.linux import process
from pyctr.core.runtime import direct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.runtime import Call
    from pyctr.cli.runtime.foreground import Foreground
    from pyctr.core.runtime.ocistate import Container


def configure(parser: Declares) -> None:
    parser.add_argument("-b", "--bundle", default=".", metavar="DIR", help="directory of config.json")
    parser.add_argument("--console-socket", default="", metavar="SOCKET", help="gets the terminal's master")
    parser.add_argument("--pid-file", default="", metavar="FILE", help="write the pid of the first process there")
    parser.add_argument("--no-pivot", action="store_true", help="no pivot_root: for a root on a ramdisk")
    parser.add_argument("--no-new-keyring", action="store_true", help="keep the caller's session keyring")
    parser.add_argument(
        "--preserve-fds",
        default=0,
        type=int,
        metavar="N",
        help="descriptors after 0 to 2 and LISTEN_FDS that stay open",
    )
    parser.add_argument("id", metavar="ID")


def run_configure(parser: Declares) -> None:
    configure(parser)
    parser.add_argument("-d", "--detach", action="store_true", help="do not wait for the end")
    parser.add_argument("--keep", action="store_true", help="do not delete the container at the end")
    parser.add_argument("--no-subreaper", action="store_true", help="do not adopt the container's orphans")


def run(call: Call, args: Arguments) -> int:
    direct.create(call.container(args.id), _order(call, args), call.paths, call.warn)
    return 0


def run_run(call: Call, args: Arguments) -> int:
    container = call.container(args.id)
    order = _order(call, args, held=False, detached=args.detach)
    if args.detach:
        direct.create(container, order, call.paths, call.warn)
        return 0

    def begin(foreground: Foreground) -> tuple[int, int]:
        order.began, order.winsize = foreground.began, foreground.winsize()
        context = direct.create(container, order, call.paths, call.warn)
        return context.pid, context.streams[0]

    return attended(call, container, begin, adopts=not args.no_subreaper, keeps=args.keep)


def attended(
    call: Call,
    container: Container,
    begin: Callable[[Foreground], tuple[int, int]],
    *,
    adopts: bool,
    keeps: bool = False,
) -> int:
    """Wait for what `begin` starts, (pid, terminal's master or -1), and delete the container then: its exit code."""
    from pyctr.cli.runtime.foreground import Foreground

    if adopts:
        process.subreaper()
    foreground = Foreground()
    try:
        code = foreground.attend(*begin(foreground))
    finally:
        foreground.close()
    if not keeps:
        from pyctr.core.runtime import direct_delete

        direct_delete.delete(container, force=True, warn=call.warn)
    return code


def _order(call: Call, args: Arguments, *, held: bool = True, detached: bool = True) -> direct.Order:
    # nobody of our uid, in a container that shares our pid namespace either, looks into our memory (CVE-2016-9962)
    process.set_dumpable(False)
    os.umask(0o077)
    order = direct.Order()
    order.bundle, order.held, order.detached = args.bundle, held, detached
    order.pid_file = os.path.abspath(args.pid_file) if args.pid_file else ""
    order.console_socket = args.console_socket
    order.pivot = not args.no_pivot
    order.systemd = call.systemd
    order.rootless = call.rootless != "false"
    order.keyring = not args.no_new_keyring
    order.kept, order.environment = descriptors(args.preserve_fds)
    direct.read(order, call.paths, call.warn)
    if not order.departs:
        call.protect()
    bytecode.at_once(1)
    return order
