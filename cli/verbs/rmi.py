"""`pyctr rmi`."""

from __future__ import annotations

from pyctr.cli import output
from pyctr.cli.each import each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def configure(parser: Declares) -> None:
    parser.add_argument("-f", "--force", action="store_true", help="remove it even if containers use it")
    parser.add_argument("image", nargs="+", metavar="IMAGE")


def run(call: Call, args: Arguments) -> int:
    return each(args.image, lambda name: remove(call, name, force=args.force), echo=False)


def remove(call: Call, name: str, *, force: bool = False) -> None:
    """Remove one and say what that did, in Docker's words."""
    for what, which in call.engine.images.remove(name, force=force):
        output.write(f"{what.capitalize()}: {which}")
