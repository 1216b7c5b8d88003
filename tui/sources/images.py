"""The tree of layers, images and containers, and what sharing saves."""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.engine import Engine
    from pyctr.core.images.tree import Node
    from pyctr.tui.sources import Seen


class Shelf(NamedTuple):
    """One look at the store. Sizes are bytes."""

    roots: tuple[Node, ...]
    size: int
    saved: int
    """What the layers would take more if no image shared them."""
    images: int
    looked: float = 0.0
    """When, in seconds of the monotonic clock."""


def collect(engine: Engine, seen: Seen, before: object) -> object:
    from pyctr.core.images import tree

    roots = tree.tree(engine)
    if engine.recorded is not None:
        here = f"{engine.paths.root}/"
        for root in roots:
            for _, node in root.walk():
                # the files stayed on their host; what has the same path here is something else
                if not all(path.startswith(here) for path in (node.path or here, *node.lower)):
                    node.path, node.lower = "", []
    size, saved = tree.shared(roots)
    images = sum(node.kind == tree.IMAGE for root in roots for _, node in root.walk())
    _grow(roots, seen, before)
    return Shelf(tuple(roots), size, saved, images, seen.monotonic)


def _grow(roots: list[Node], seen: Seen, before: object) -> None:
    """How fast the writable layers grow, since the look before."""
    if not isinstance(before, Shelf) or seen.monotonic <= before.looked:
        return
    sizes = {node.container: node.size for root in before.roots for _, node in root.walk() if node.container}
    for root in roots:
        for _, node in root.walk():
            if node.container in sizes:
                node.growth = (node.size - sizes[node.container]) / (seen.monotonic - before.looked)
