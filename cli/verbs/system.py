"""`pyctr system`: df and prune."""

from __future__ import annotations

from pyctr.cli import output
from pyctr.core import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call

_COLUMNS = (
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
)


def df_configure(parser: Declares) -> None:
    parser.add_argument("--format", metavar="FORMAT", help="table, json or a template")


def df_run(call: Call, args: Arguments) -> int:
    """How much disk images, containers and volumes take."""
    engine = call.engine
    everyone = containers.all(engine)
    used = {container.state.image_id for container in everyone}
    layers: dict[str, int] = {}
    needed: set[str] = set()
    images = engine.images.list()
    for image in images:
        for layer in image.layers:
            layers[layer.digest] = layer.size
            if image.id in used:
                needed.add(layer.digest)
    own = [(container.running, engine.storage.usage(container.id)) for container in everyone]
    volumes = [
        (bool(engine.volumes.users(volume.name)), engine.volumes.usage(volume.name)) for volume in engine.volumes.list()
    ]
    rows = [
        _row("Images", len(images), len(used & {image.id for image in images}), sum(layers.values()),
             sum(size for digest, size in layers.items() if digest not in needed)),
        _row("Containers", len(own), sum(active for active, _ in own), sum(size for _, size in own),
             sum(size for active, size in own if not active)),
        _row("Local Volumes", len(volumes), sum(active for active, _ in volumes), sum(size for _, size in volumes),
             sum(size for active, size in volumes if not active)),
    ]  # fmt: skip
    output.listing(rows, _COLUMNS, args.format)
    return 0


def _row(kind: str, total: int, active: int, size: int, free: int) -> dict[str, str]:
    share = f" ({100 * free // size}%)" if size else ""
    return {
        "Type": kind,
        "TotalCount": str(total),
        "Active": str(active),
        "Size": output.decimal_size(size),
        "Reclaimable": output.decimal_size(free) + share,
    }


def prune_configure(parser: Declares) -> None:
    parser.add_argument("-a", "--all", action="store_true", help="all images that no container uses")
    parser.add_argument("--volumes", action="store_true", help="anonymous volumes that no container uses, too")
    parser.add_argument("-f", "--force", action="store_true", help="do not ask")


def prune_run(call: Call, args: Arguments) -> int:
    """Remove stopped containers and unused images."""
    from pyctr.cli.confirm import confirm

    parts = ["all containers that do not run", "all images without a name or container"]
    if args.all:
        parts[1] = "all images without a container"
    if args.volumes:
        parts.append("all anonymous volumes that no container uses")
    if not confirm(f"This removes {', '.join(parts)}.", args.force):
        return 1
    from pyctr.cli.verbs import container, image, volume

    code = container.prune(call)
    if args.volumes:
        volume.prune(call)
    image.prune(call, everything=args.all)
    return code
