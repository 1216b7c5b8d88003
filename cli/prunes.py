"""What all prune verbs share: their filters, the question that names what goes, and the account of it afterwards."""

from __future__ import annotations

import sys

from pyctr.cli import filters, output
from pyctr.cli.diagnostics import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call
    from pyctr.core.build.prune import Kept
    from pyctr.core.images.garbage import Garbage
    from pyctr.core.prune import Plan, Wanted

_FILTERS = ("until", "label", "label!")
_NAMED = 20
"""Things of one kind that the question names."""


def declare(parser: Declares) -> None:
    add = parser.add_argument
    add(
        "--filter",
        action="append",
        type=filters.read,
        metavar="KEY=VALUE",
        help="until=24h, label=KEY[=V], label!=KEY[=V]",
    )
    add("-f", "--force", action="store_true", help="do not ask")


def wanted(args: Arguments) -> Wanted:
    """The filters as a rule. Raises UsageError for one that is none."""
    from pyctr.cli.values import moment

    found = filters.collect(args.filter, _FILTERS)
    until = [moment(text) for text in found.get("until", ())]

    def rule(made_at: float, labels: dict[str, str]) -> bool:
        return (
            all(made_at < limit for limit in until)
            and filters.labels_match(labels, found.get("label", ()))
            and not any(filters.labels_match(labels, [text]) for text in found.get("label!", ()))
        )

    return rule


def run(call: Call, plan: Plan, force: bool) -> int:
    """Say what goes, ask, do it, say what that freed."""
    from pyctr.cli.confirm import confirm
    from pyctr.core import prune

    if not plan.empty:
        if not force:
            sys.stderr.write("This removes\n" + "".join(f"  {line}\n" for line in _lines(plan)))
        if not confirm(f"and frees {output.decimal_size(plan.size)}.", force):
            return 1
    freed = prune.carry_out(call.engine, plan, _tell)
    output.write(f"Total reclaimed space: {output.decimal_size(freed)}")
    return 0


def _tell(what: str, name: str) -> None:
    output.write(f"{what.capitalize()}: {name}" if what in ("untagged", "deleted") else name)


def _lines(plan: Plan) -> list[str]:
    found = [("container", container.name, size) for container, size in plan.containers[:_NAMED]]
    found += _more("containers", plan.containers)
    found += [("volume", volume.name, size) for volume, size in plan.volumes[:_NAMED]]
    found += _more("volumes", plan.volumes)
    found += [("image", image.familiar, size) for image, size in plan.images[:_NAMED]]
    found += _more("images", plan.images)
    if plan.cache is not None and plan.cache.count:
        found.append(("cache", _builds(plan.cache), plan.cache.size))
    if plan.garbage is not None and plan.garbage.count:
        found.append(("leftovers", leftovers(plan.garbage), plan.garbage.size))
    width = max(output.width(safe(name)) for _, name, _ in found)
    return [
        f"{kind:<10} {safe(name)}{' ' * (width - output.width(safe(name)))}  {output.decimal_size(size):>8}"
        for kind, name, size in found
    ]


def _more(kind: str, items: list[tuple[object, int]] | list) -> list[tuple[str, str, int]]:  # type: ignore[type-arg]
    rest = items[_NAMED:]
    return [(kind, f"and {len(rest)} more", sum(size for _, size in rest))] if rest else []


def _builds(kept: Kept) -> str:
    """In words, what builds keep."""
    return _counted((len(kept.steps), "step"), (len(kept.mounts), "cache mount"))


def leftovers(garbage: Garbage) -> str:
    """In words, what killed commands left."""
    return _counted(
        (len(garbage.blobs), "blob"),
        (len(garbage.layers), "layer"),
        (len(garbage.downloads), "cut download"),
        (len(garbage.halves), "unfinished file"),
    )


def _counted(*counts: tuple[int, str]) -> str:
    return ", ".join(f"{count} {what}{'s' * (count != 1)}" for count, what in counts if count)
