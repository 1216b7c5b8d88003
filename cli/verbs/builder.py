"""`pyctr builder`: what builds keep."""

from __future__ import annotations

from pyctr.cli import filters, output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def prune_configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-a", "--all", action="store_true", help="accepted for habit: nothing of it is kept back")
    add("--filter", action="append", type=filters.read, metavar="KEY=VALUE", help="until=24h: not used since")
    add("-f", "--force", action="store_true", help="do not ask")


def prune_run(call: Call, args: Arguments) -> int:
    """Remove the build cache and cache mounts."""
    from pyctr.cli.confirm import confirm
    from pyctr.cli.values import moment
    from pyctr.core.build.prune import Kept

    call.need_root("removing the build cache")
    until = [moment(text) for text in filters.collect(args.filter, ("until",)).get("until", ())]
    kept = Kept(call.engine, min(until, default=0.0))
    freed = 0
    if kept.steps or kept.mounts:
        if not confirm(f"This removes {len(kept.steps)} cached steps and {len(kept.mounts)} cache mounts.", args.force):
            return 1
        freed = kept.remove()
    output.write(f"Total reclaimed space: {output.decimal_size(freed)}")
    return 0
