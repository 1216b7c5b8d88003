"""`pyctr push`."""

from __future__ import annotations

import sys

from pyctr.cli import output, transfers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-q", "--quiet", action="store_true", help="no progress")
    add("--digestfile", metavar="FILE", default="", help="write the digest to this file")
    transfers.declare(parser)
    add("image", metavar="IMAGE")
    add("target", nargs="?", metavar="NAME[:TAG]", help="push it under another name")


def run(call: Call, args: Arguments) -> int:
    from pyctr.core.images import base
    from pyctr.core.images.push import push

    base.mentioned(call.engine.images, call.engine.layers, args.image)
    target = (args.target or "").removeprefix("docker://")
    with transfers.Display(quiet=args.quiet, past="Pushed") as display:
        name, digest = push(call.engine.images, args.image, target, access=transfers.access(args), progress=display)
    if args.digestfile:
        with open(args.digestfile, "w", encoding="ascii") as file:
            file.write(digest)
    if not args.quiet:
        sys.stderr.write(f"Digest: {digest}\n")
    call.engine.events.record("push", digest, name, type="image")
    output.write(name)
    return 0
