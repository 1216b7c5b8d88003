"""`pyctr update`."""

from __future__ import annotations

from pyctr.cli import treating, values
from pyctr.cli.each import each
from pyctr.core import lifecycle, targets, treatment
from pyctr.core.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call

_LIMITS = (
    *("cpus", "cpu_shares", "cpu_period", "cpu_quota", "cpuset_cpus", "cpuset_mems"),
    *("memory", "memory_reservation", "memory_high", "memory_swap", "pids", "blkio_weight"),
    *("rx_bps", "tx_bps", "net_class"),
)


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-m", "--memory", type=values.size_or_unlimited, metavar="SIZE", help="memory limit, -1 unlimited")
    add("--memory-reservation", type=values.size, metavar="SIZE", help="soft limit")
    add("--memory-high", type=values.size, metavar="SIZE", help="throttle and reclaim above this (cgroup v2)")
    add("--memory-swap", type=values.size_or_unlimited, metavar="SIZE", help="memory plus swap, -1 unlimited swap")
    add("--cpus", type=values.cpus, metavar="N", help="number of CPUs")
    add("-c", "--cpu-shares", type=values.integer(2, 262144, "a weight"), metavar="N", help="relative weight")
    add("--cpu-period", type=values.integer(1000, 1000000, "microseconds"), metavar="US", help="CFS period")
    add("--cpu-quota", type=values.integer(-1, 1 << 40, "microseconds"), metavar="US", help="CFS quota per period")
    add("--cpuset-cpus", type=values.cpus_of_host, metavar="LIST", help="CPUs it may use")
    add("--cpuset-mems", type=values.nodes_of_host, metavar="LIST", help="memory nodes it may use")
    add("--pids-limit", dest="pids", type=values.integer(-1, 1 << 22, "a number of processes"), metavar="N",
        help="-1 unlimited")  # fmt: skip
    add("--blkio-weight", type=values.integer(10, 1000, "a weight"), metavar="N", help="10 to 1000")
    add("--network-rx-bps", dest="rx_bps", type=values.size, metavar="SIZE",
        help="bytes per second it receives on each link, 0 unlimited")  # fmt: skip
    add("--network-tx-bps", dest="tx_bps", type=values.size, metavar="SIZE",
        help="bytes per second it sends on each link, 0 unlimited")  # fmt: skip
    add("--network-class", dest="net_class", type=values.traffic_class, metavar="CLASS",
        help="traffic class of what it sends, 0 none")  # fmt: skip
    add("--restart", type=values.restart, metavar="POLICY", help="no, on-failure[:N], always, unless-stopped")
    add("--for", dest="after", type=values.duration, default=0.0, metavar="TIME",
        help="as before after this, as 10m or 1h; kept nowhere")  # fmt: skip
    add("--dry-run", action="store_true", help="say which files would get which values, and change nothing")
    add("container", nargs="+", metavar="CONTAINER", help="of any engine, 'docker:web' if need be")


def run(call: Call, args: Arguments) -> int:
    limits = {name: getattr(args, name) for name in _LIMITS if getattr(args, name) is not None}
    if not limits and args.restart is None:
        raise UsageError("'pyctr update' was told nothing to change", hint="such as --memory 512m or --cpus 2")
    if args.restart is not None and (args.after or args.dry_run):
        raise UsageError("--restart is changed for good only", hint="leave --for and --dry-run out")

    def update(name: str) -> bool:
        target = targets.find(call.engine, name)
        if args.dry_run:
            return treating.limiting(call, target, limits)
        if limits:
            treatment.limit(call.engine, target, limits, args.after)
        if args.restart is not None:
            lifecycle.update(call.engine, target.id, restart=args.restart)
        return True

    return each(args.container, update)
