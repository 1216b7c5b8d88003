"""`pyctr container`: the verbs of containers that have no short form."""

from __future__ import annotations

from pyctr.cli import output
from pyctr.core import containers
from pyctr.core import state as states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def prune_configure(parser: Declares) -> None:
    parser.add_argument("-f", "--force", action="store_true", help="do not ask")


def prune_run(call: Call, args: Arguments) -> int:
    """Remove all containers that do not run."""
    from pyctr.cli.confirm import confirm

    if not confirm("This removes all containers that do not run.", args.force):
        return 1
    return prune(call)


def prune(call: Call) -> int:
    """Remove what does not run and say how much that freed."""
    from pyctr.cli.each import each
    from pyctr.core import lifecycle

    gone = [c for c in containers.all(call.engine) if c.status in (states.CREATED, states.STOPPED, states.DEAD)]
    freed = sum(call.engine.storage.usage(container.id) for container in gone)
    code = each([container.id for container in gone], lambda id: lifecycle.remove(call.engine, id))
    output.write(f"Total reclaimed space: {output.decimal_size(freed)}")
    return code
