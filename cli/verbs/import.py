"""`pyctr import`."""

from __future__ import annotations

from pyctr.cli import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-m", "--message", metavar="TEXT", default="", help="a comment for the history")
    add("-c", "--change", action="append", metavar="INSTRUCTION", help="like 'CMD [\"/bin/sh\"]' or 'ENV A=b'")
    add("--platform", metavar="OS/ARCH[/VARIANT]", default="", help="what the files are for, if not this host")
    add("source", metavar="FILE|URL|-")
    add("name", nargs="?", metavar="NAME[:TAG]")


def run(call: Call, args: Arguments) -> int:
    from pyctr.core.images.importing import import_image

    made = import_image(
        call.engine.images,
        call.engine.layers,
        args.source,
        args.name or "",
        changes=args.change,
        message=args.message,
        platform=args.platform,
    )
    call.engine.events.record("import", made.id, made.familiar, type="image")
    output.write(made.id)
    return 0
