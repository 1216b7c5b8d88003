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


def collect(engine: Engine, seen: Seen, before: object) -> object:
    from pyctr.core.images import tree

    roots = tree.tree(engine)
    size, saved = tree.shared(roots)
    images = sum(node.kind == tree.IMAGE for root in roots for _, node in root.walk())
    return Shelf(tuple(roots), size, saved, images)
