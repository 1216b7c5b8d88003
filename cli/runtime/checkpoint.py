"""`pyctr-runtime checkpoint` and `restore`."""

from __future__ import annotations

import os

from pyctr.cli.runtime import create
from pyctr.core.errors import UsageError
from pyctr.core.runtime import checkpoint, criu, direct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.runtime import Call
    from pyctr.cli.runtime.foreground import Foreground


def _both(parser: Declares) -> None:
    parser.add_argument("--image-path", default="checkpoint", metavar="DIR", help="directory of the images")
    parser.add_argument("--work-path", default="", metavar="DIR", help="directory of criu's logs, else with the images")
    parser.add_argument("--tcp-established", action="store_true", help="open TCP connections are no obstacle")
    parser.add_argument("--ext-unix-sk", action="store_true", help="nor are unix sockets whose other end is outside")
    parser.add_argument("--shell-job", action="store_true", help="nor is a terminal of the caller's")
    parser.add_argument("--file-locks", action="store_true", help="nor are file locks")
    parser.add_argument("--lazy-pages", action="store_true", help="memory is fetched when it is used")
    parser.add_argument("--auto-dedup", action="store_true", help="a page is in one image only")
    parser.add_argument(
        "--manage-cgroups-mode", default="soft", metavar="MODE", help="soft, full, strict or ignore: whose limits count"
    )
    parser.add_argument(
        "--empty-ns", action="append", default=[], metavar="KIND", help="network: made anew, with nothing in it"
    )


def configure(parser: Declares) -> None:
    _both(parser)
    parser.add_argument("--parent-path", default="", metavar="DIR", help="images of a --pre-dump, relative to these")
    parser.add_argument("--leave-running", action="store_true", help="the container runs on")
    parser.add_argument("--pre-dump", action="store_true", help="memory only; the container runs on")
    parser.add_argument("--status-fd", default=-1, type=int, metavar="FD", help="gets a zero byte when pages are ready")
    parser.add_argument("--page-server", default="", metavar="ADDRESS:PORT", help="memory goes there")
    parser.add_argument("id", metavar="ID")


def restore_configure(parser: Declares) -> None:
    _both(parser)
    parser.add_argument("-b", "--bundle", default=".", metavar="DIR", help="directory of config.json")
    parser.add_argument("--console-socket", default="", metavar="SOCKET", help="gets the terminal's master")
    parser.add_argument("--pid-file", default="", metavar="FILE", help="write the pid of the first process there")
    parser.add_argument("-d", "--detach", action="store_true", help="do not wait for the end")
    parser.add_argument("--no-subreaper", action="store_true", help="do not adopt the container's orphans")
    parser.add_argument("--no-pivot", action="store_true", help="accepted: criu decides how the root is entered")
    parser.add_argument("--lsm-profile", default="", metavar="TYPE:NAME", help="another AppArmor or SELinux profile")
    parser.add_argument("id", metavar="ID")


def _order(call: Call, args: Arguments) -> checkpoint.Order:
    order = checkpoint.Order()
    order.program = call.criu
    for name in ("image_path", "work_path", "tcp_established", "ext_unix_sk", "shell_job", "file_locks", "lazy_pages"):
        setattr(order, name, getattr(args, name))
    order.auto_dedup = args.auto_dedup
    order.cgroups_mode = args.manage_cgroups_mode
    if order.cgroups_mode not in criu.CGROUP_MODES:
        raise UsageError(
            f"--manage-cgroups-mode: '{order.cgroups_mode}' is not a mode", hint="soft, full, strict, ignore"
        )
    for kind in args.empty_ns:
        if kind not in ("network", "net"):
            raise UsageError(f"--empty-ns: '{kind}' cannot be left empty", hint="network can")
    order.empty_ns = ["network"] if args.empty_ns else []
    return order


def run(call: Call, args: Arguments) -> int:
    order = _order(call, args)
    for name in ("leave_running", "pre_dump", "status_fd", "page_server"):
        setattr(order, name, getattr(args, name))
    if args.page_server and not args.page_server.rpartition(":")[2].isdigit():
        raise UsageError(f"--page-server: '{args.page_server}' is not ADDRESS:PORT")
    if args.parent_path:
        where = os.path.join(args.image_path, args.parent_path)
        if os.path.isabs(args.parent_path) or not os.path.isdir(where):
            raise UsageError(
                f"--parent-path: '{args.parent_path}' is not a directory below '{args.image_path}'",
                hint="relative to --image-path",
            )
        order.parent_path = args.parent_path
    checkpoint.checkpoint(call.container(args.id), order, call.warn)
    return 0


def restore_run(call: Call, args: Arguments) -> int:
    order = _order(call, args)
    order.lsm_profile = args.lsm_profile
    wanted = direct.Order()
    wanted.bundle, wanted.held, wanted.detached = args.bundle, False, args.detach
    wanted.console_socket, wanted.systemd = args.console_socket, call.systemd
    wanted.pid_file = os.path.abspath(args.pid_file) if args.pid_file else ""
    direct.read(wanted, call.paths, call.warn)
    container = call.container(args.id)
    if args.detach:
        checkpoint.restore(container, order, wanted, call.paths, call.warn)
        return 0

    def begin(foreground: Foreground) -> tuple[int, int]:
        return checkpoint.restore(container, order, wanted, call.paths, call.warn)

    return create.attended(call, container, begin, adopts=not args.no_subreaper)
