"""`pyctr system`: df and prune."""

from __future__ import annotations

import sys

from pyctr.cli import output, prunes
from pyctr.cli.diagnostics import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call
    from pyctr.core.usage import Used

_COLUMNS = (
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
)
_WIDTHS = (16, 8, 9, 10)
_TITLES = {
    "image": "Images",
    "container": "Containers",
    "volume": "Local Volumes",
    "cache": "Build Cache",
    "leftover": "Leftovers",
}


def df_configure(parser: Declares) -> None:
    parser.add_argument("-v", "--verbose", action="store_true", help="each of them by itself")
    parser.add_argument("--format", metavar="FORMAT", help="table, json or a template")


def df_run(call: Call, args: Arguments) -> int:
    """How much disk images, containers, volumes, builds and leftovers take."""
    if args.format:
        rows = [_row(kind, items) for kind, items in _kinds(call)]
        output.listing(rows, _COLUMNS, args.format)
    elif args.verbose:
        _each(call)
    else:
        # a line as soon as it is known: a volume may take minutes to count, and what is printed is right all the same
        _print([heading for _, heading in _COLUMNS])
        for kind, items in _kinds(call):
            row = _row(kind, items)
            _print([row[field] for field, _ in _COLUMNS])
    return 0


def _kinds(call: Call) -> Iterator[tuple[str, list[Used]]]:
    """Each kind when all of it is counted."""
    from pyctr.core import usage

    found: list[usage.Used] = []
    for told in usage.survey(call.engine):
        if isinstance(told, usage.Used):
            found.append(told)
        else:
            yield told.kind, found
            found = []


def _each(call: Call) -> None:
    from pyctr.core import usage

    last = ""
    for told in usage.survey(call.engine):
        if not isinstance(told, usage.Used):
            continue
        if told.kind != last:
            _one(_TITLES[told.kind].upper(), "", "SIZE", "SHARED" if told.kind == usage.IMAGE else "")
            last = told.kind
        about = output.decimal_size(told.shared) if told.kind == usage.IMAGE else ""
        state = "" if told.kind in (usage.CACHE, usage.LEFTOVER) else ("active" if told.active else "idle")
        _one(output.ellipsis(safe(told.name), 34), state, output.decimal_size(told.size), about)


def _one(name: str, state: str, size: str, about: str) -> None:
    sys.stdout.write(f"{name:<35}{state:<8}{size:>9}   {about}".rstrip() + "\n")
    sys.stdout.flush()


def _print(cells: list[str]) -> None:
    line = "".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=False)) + cells[-1]
    sys.stdout.write(line.rstrip() + "\n")
    sys.stdout.flush()


def _row(kind: str, items: list[Used]) -> dict[str, str]:
    size = sum(item.counted for item in items)
    free = sum(item.free for item in items)
    share = f" ({100 * free // size}%)" if size else ""
    return {
        "Type": _TITLES[kind],
        "TotalCount": str(len(items)),
        "Active": str(sum(item.active for item in items)),
        "Size": output.decimal_size(size),
        "Reclaimable": output.decimal_size(free) + share,
    }


def prune_configure(parser: Declares) -> None:
    parser.add_argument(
        "-a", "--all", action="store_true", help="all images that no container uses, and the build cache"
    )
    parser.add_argument("--volumes", action="store_true", help="anonymous volumes that no container uses, too")
    prunes.declare(parser)


def prune_run(call: Call, args: Arguments) -> int:
    """Remove stopped containers, unused images, and what killed commands left."""
    from pyctr.core import prune
    from pyctr.core.images import garbage

    engine, wanted = call.engine, prunes.wanted(args)
    idle = prune.idle_containers(engine, wanted)
    gone, names = {one.id for one, _ in idle}, {one.name for one, _ in idle}
    plan = prune.Plan(containers=idle, images=prune.idle_images(engine, args.all, gone, wanted))
    if args.volumes:
        plan.volumes = prune.idle_volumes(engine, False, names, wanted)
    if not args.filter:
        plan.garbage = garbage.survey(engine.images)
        if args.all:
            from pyctr.core.build import prune as builds

            plan.cache = builds.survey(engine, without=[image for image, _ in plan.images])
    return prunes.run(call, plan, args.force)
