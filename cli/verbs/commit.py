"""`pyctr commit`."""

from __future__ import annotations

from pyctr.cli import output
from pyctr.core import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-a", "--author", metavar="NAME", default="", help="who made it")
    add("-m", "--message", metavar="TEXT", default="", help="a comment for the history")
    add("-c", "--change", action="append", metavar="INSTRUCTION", help="like 'CMD [\"/bin/sh\"]' or 'ENV A=b'")
    add("-p", "--pause", action="store_true", default=True, help="let it stand still meanwhile (=false does not)")
    add("-q", "--quiet", action="store_true", help="accepted for habit")
    add("container", metavar="CONTAINER")
    add("name", nargs="?", metavar="NAME[:TAG]")


def run(call: Call, args: Arguments) -> int:
    from pyctr.core.commit import commit

    container = containers.find(call.engine, args.container)
    made = commit(
        container,
        args.name or "",
        changes=args.change,
        message=args.message,
        author=args.author,
        pause=args.pause,
    )
    container.tell("commit", imageID=made.id)
    output.write(made.id)
    return 0
