"""`pyctr container`: the verbs of containers that have no short form."""

from __future__ import annotations

from pyctr.cli import prunes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def prune_configure(parser: Declares) -> None:
    prunes.declare(parser)


def prune_run(call: Call, args: Arguments) -> int:
    """Remove all containers that do not run."""
    from pyctr.core import prune

    wanted = prunes.wanted(args)
    return prunes.run(call, prune.Plan(containers=prune.idle_containers(call.engine, wanted)), args.force)
