"""`pyctr tag`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def configure(parser: Declares) -> None:
    parser.add_argument("source", metavar="IMAGE")
    parser.add_argument("target", metavar="NAME[:TAG]")


def run(call: Call, args: Arguments) -> int:
    from pyctr.core.images import base

    base.mentioned(call.engine.images, call.engine.layers, args.source)
    call.engine.images.tag(args.source, args.target)
    return 0
