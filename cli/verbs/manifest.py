"""`pyctr manifest`: what a registry holds under a name, without fetching it."""

from __future__ import annotations

from pyctr.cli import output, transfers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def inspect_configure(parser: Declares) -> None:
    parser.add_argument("--local", action="store_true", help="of the image on this host")
    transfers.declare(parser)
    parser.add_argument("image", metavar="IMAGE")


def inspect_run(call: Call, args: Arguments) -> int:
    """The manifest or index of an image as JSON."""
    if args.local:
        images = call.engine.images
        output.write(output.json_document(images.manifest(images.descriptor(images.resolve(args.image))["digest"])))
        return 0
    from pyctr.core.images import remote

    output.write(output.json_document(remote.manifest(args.image, transfers.access(args))))
    return 0


def referrers_configure(parser: Declares) -> None:
    transfers.declare(parser)
    parser.add_argument("image", metavar="IMAGE")


def referrers_run(call: Call, args: Arguments) -> int:
    """Signatures, attestations and whatever else refers to an image, as JSON."""
    from pyctr.core.images import remote

    output.write(output.json_document(remote.referrers(args.image, transfers.access(args))))
    return 0
