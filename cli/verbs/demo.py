"""`pyctr demo`: up and down."""

from __future__ import annotations

from pyctr.cli import output
from pyctr.cli.diagnostics import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def up_configure(parser: Declares) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")


def up_run(call: Call, args: Arguments) -> int:
    """Start the four demo containers."""
    from pyctr.core import demo

    for container in demo.up(call.engine, (lambda text: None) if args.quiet else say):
        output.write(container.name)
    return 0


def down_configure(parser: Declares) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")


def down_run(call: Call, args: Arguments) -> int:
    """Remove every trace of the demo."""
    from pyctr.core import demo

    demo.down(call.engine, (lambda text: None) if args.quiet else say)
    return 0
