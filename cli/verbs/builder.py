"""`pyctr builder`: what builds keep."""

from __future__ import annotations

from pyctr.cli import filters

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
    from pyctr.cli import prunes
    from pyctr.cli.values import moment
    from pyctr.core.build.prune import survey
    from pyctr.core.prune import Plan

    call.need_root("removing the build cache")
    until = [moment(text) for text in filters.collect(args.filter, ("until",)).get("until", ())]
    plan = Plan(cache=survey(call.engine, min(until, default=0.0)))
    return prunes.run(call, plan, args.force)
