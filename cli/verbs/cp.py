"""`pyctr cp`."""

from __future__ import annotations

import sys

from pyctr.cli import output
from pyctr.core import containers
from pyctr.core.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call
    from pyctr.core.copies import End


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-a", "--archive", action="store_true", help="keep owners")
    add("-L", "--follow-link", action="store_true", help="copy what a link means, not the link")
    add("-q", "--quiet", action="store_true", help="do not say how much it was")
    add("source", metavar="[CONTAINER:]PATH|-")
    add("target", metavar="[CONTAINER:]PATH|-")


def run(call: Call, args: Arguments) -> int:
    """Copy files between containers and the host; - is a tar archive on stdin or stdout."""
    from pyctr.core import copies

    if "-" in (args.source, args.target):
        return _stream(call, args)
    source, target = _end(call, args.source), _end(call, args.target)
    if source.container is None and target.container is None:
        raise UsageError("neither is in a container", hint="name one as CONTAINER:PATH")
    if source.container is not None and target.container is not None and source.container.id == target.container.id:
        raise UsageError("both are in the same container", hint="pyctr exec … cp")
    size = copies.copy(source, target, archive=args.archive, follow=args.follow_link)
    if not args.quiet and sys.stderr.isatty():
        sys.stderr.write(f"copied {output.decimal_size(size)} to {output.terminal_safe(args.target)}\n")
    return 0


def _stream(call: Call, args: Arguments) -> int:
    from pyctr.core import copies

    inside = args.target if args.source == "-" else args.source
    end = _end(call, inside)
    if end.container is None:
        raise UsageError("neither is in a container", hint="name one as CONTAINER:PATH")
    if args.source == "-":
        if sys.stdin.isatty():
            raise UsageError("an archive does not come from a terminal", hint="pipe one in")
        copies.extract(sys.stdin.buffer, end, archive=args.archive)
        return 0
    if sys.stdout.isatty():
        raise UsageError("an archive is nothing for a terminal", hint="a pipe, or > FILE")
    copies.read(end, sys.stdout.buffer.write, follow=args.follow_link)
    sys.stdout.buffer.flush()
    return 0


def _end(call: Call, text: str) -> End:
    """A path with a colon in it begins with / or ./ when it is the host's, as with Docker."""
    from pyctr.core.copies import End

    name, colon, path = text.partition(":")
    if not colon or text.startswith(("/", ".")) or "/" in name:
        if not text:
            raise UsageError("an empty path", hint="[CONTAINER:]PATH")
        return End(text)
    return End(path or "/", containers.find(call.engine, name))
