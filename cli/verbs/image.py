"""`pyctr image`: the verbs of images that have no short form."""

from __future__ import annotations

from pyctr.cli import prunes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call
    from pyctr.core.images.model import Image


def inspect_configure(parser: Declares) -> None:
    parser.add_argument("-f", "--format", metavar="FORMAT", help="json or a template such as '{{.Id}}'")
    parser.add_argument("name", nargs="+", metavar="IMAGE")


def inspect_run(call: Call, args: Arguments) -> int:
    """Everything about images as JSON."""
    from pyctr.cli.verbs.inspect import show

    return show(call.engine, args.name, args.format, ("image",))


def tree_configure(parser: Declares) -> None:
    _format(parser)
    parser.add_argument("image", nargs="?", metavar="IMAGE")


def tree_run(call: Call, args: Arguments) -> int:
    """All images as one tree of the layers they share; one image with its waste."""
    from pyctr.cli import layertree

    layertree.show(call.engine, _find(call, args.image) if args.image else None, args.format)
    return 0


def files_configure(parser: Declares) -> None:
    _format(parser)
    parser.add_argument(
        "-l", "--layer", metavar="LAYER", default="", help="only what this layer does: 1, 2, …, a digest"
    )
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("path", nargs="?", metavar="INSIDE")


def files_run(call: Call, args: Arguments) -> int:
    """The files of an image, or what one of its layers adds, changes and deletes."""
    from pyctr.cli import layerfiles

    layerfiles.show(call.engine, _find(call, args.image), args.layer, args.path or "/", args.format)
    return 0


def which_configure(parser: Declares) -> None:
    _format(parser)
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("path", metavar="INSIDE")


def which_run(call: Call, args: Arguments) -> int:
    """Which layer of an image gave a file, which changed or deleted it."""
    from pyctr.cli import layerfiles

    layerfiles.which(call.engine, _find(call, args.image), args.path, args.format)
    return 0


def compare_configure(parser: Declares) -> None:
    _format(parser)
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("other", metavar="IMAGE")


def compare_run(call: Call, args: Arguments) -> int:
    """What two images have differently: files and settings."""
    from pyctr.cli import layerfiles

    layerfiles.compare(call.engine, _find(call, args.image), _find(call, args.other), args.format)
    return 0


def _format(parser: Declares) -> None:
    parser.add_argument("--format", choices=("json",), default="", help="json: a document per line")


def _find(call: Call, name: str) -> Image:
    from pyctr.core import creation

    return creation.find_image(call.engine, name)


def prune_configure(parser: Declares) -> None:
    parser.add_argument("-a", "--all", action="store_true", help="all that no container uses, not only nameless ones")
    prunes.declare(parser)


def prune_run(call: Call, args: Arguments) -> int:
    """Remove images that nothing uses, and what killed pulls and builds left."""
    from pyctr.core import prune
    from pyctr.core.images import garbage

    wanted = prunes.wanted(args)
    plan = prune.Plan(images=prune.idle_images(call.engine, args.all, set(), wanted))
    if not args.filter:
        plan.garbage = garbage.survey(call.engine.images)
    return prunes.run(call, plan, args.force)
