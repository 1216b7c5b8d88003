"""`pyctr healthcheck`: run."""

from __future__ import annotations

from pyctr.cli import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def run_configure(parser: Declares) -> None:
    parser.add_argument("container", metavar="CONTAINER")


def run_run(call: Call, args: Arguments) -> int:
    """Run the probe of a container now; 0 if it succeeds, 1 if not."""
    from pyctr.core import execution

    code, status = execution.check_health(call.engine, args.container)
    if code:
        output.write(status)
    return 1 if code else 0
