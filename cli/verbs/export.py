"""`pyctr export`."""

from __future__ import annotations

import sys

from pyctr.core import containers
from pyctr.core.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def configure(parser: Declares) -> None:
    parser.add_argument("-o", "--output", metavar="FILE", default="", help="otherwise stdout")
    parser.add_argument("container", metavar="CONTAINER")


def run(call: Call, args: Arguments) -> int:
    from pyctr.cli.verbs.save import Whole
    from pyctr.core import commit

    container = containers.find(call.engine, args.container)
    if args.output:
        with Whole(args.output) as file:
            commit.export(container, file.write)
        return 0
    if sys.stdout.isatty():
        raise UsageError("an archive is nothing for a terminal", hint="--output FILE, or a pipe")
    commit.export(container, sys.stdout.buffer.write)
    sys.stdout.buffer.flush()
    return 0
