"""`pyctr load`."""

from __future__ import annotations

import sys

from pyctr.cli import output
from pyctr.core.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-i", "--input", metavar="PATH", default="-", help="docker-archive, oci-archive or OCI directory; else stdin")
    add("-q", "--quiet", action="store_true", help="only the names")
    add("name", nargs="*", metavar="NAME[:TAG]", help="names instead of those in it, in order")


def run(call: Call, args: Arguments) -> int:
    from pyctr.core.images.transfer import load

    if args.input == "-" and (sys.stdin is None or sys.stdin.isatty()):
        raise UsageError("no archive on stdin", hint="--input FILE, or a pipe")
    for name, image in load(call.engine.images, call.engine.layers, args.input, args.name):
        call.engine.events.record("load", image.id, name or image.short_id, type="image")
        if args.quiet:
            output.write(name or image.id)
        else:
            output.write(f"Loaded image: {name}" if name else f"Loaded image ID: {image.id}")
    return 0
