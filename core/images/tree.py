"""The layer tree: all images and containers of one pyctr as one tree of shared layers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from pyctr.core.images import stack
from pyctr.core.images.history import history
from pyctr.core.images.layerfiles import File
from pyctr.core.images.model import Image, Layer
from pyctr.core.images.store import container_states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.engine import Engine

LAYER = "layer"
IMAGE = "image"
CONTAINER = "container"
MOUNT_POINTS = "m"
"""Link to the layer of empty mount points that every container has below its image (see `storage`)."""


@dataclass(slots=True)
class Node:
    """A layer, an image or a container. A layer's children are the layers on it, then the images that end with it."""

    kind: str
    key: str
    """Stable over refreshes: chain id, manifest digest, or container id."""
    title: str
    """Instruction of a layer, name of an image or container. Untrusted text."""
    size: int = 0
    """Bytes of files in a layer or in a container's upper directory; of all layers in an image."""
    created: float = 0.0
    children: list[Node] = field(default_factory=list)
    images: int = 0
    """How many images have this layer; containers likewise."""
    containers: int = 0
    layer: Layer | None = None
    image: Image | None = None
    container: str = ""
    """Container id, for looking up its live status."""
    lower: list[str] = field(default_factory=list)
    """Directories below this node's own, topmost first; `path` is its own, "" when it is not unpacked."""
    path: str = ""
    growth: float = 0.0
    """Bytes per second that a container's upper directory grew by, for whoever looks twice."""

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Node]]:
        """(depth, node) of this node and everything below it, in order."""
        yield depth, self
        for child in self.children:
            yield from child.walk(depth + 1)


def tree(engine: Engine) -> list[Node]:
    """The roots. Costs one `layer.json` per layer and one walk per container's upper directory."""
    roots: list[Node] = []
    by_image: dict[str, Node] = {}
    by_stack: dict[tuple[str, ...], Node] = {}
    for image in sorted(engine.images.list(), key=lambda image: (image.names or ["~"], image.digest)):
        above: Node | None = None
        steps = {len(step.layer.stack): step for step in history(image, engine.layers) if step.layer is not None}
        for layer in image.layers:
            below = tuple(layer.stack)
            node = by_stack.get(below)
            if node is None:
                step = steps[len(below)]
                node = Node(LAYER, layer.chain_id, step.instruction, step.size, step.created, layer=layer)
                if (above is None or above.path) and engine.layers.has(layer.diff_id):
                    node.path = engine.layers.path(layer.diff_id)
                if above is not None:
                    node.lower = [above.path, *above.lower] if above.path else []
                by_stack[below] = node
                (above.children if above else roots).append(node)
            node.images += 1
            above = node
        leaf = Node(IMAGE, image.digest, image.familiar, image.size, image.created, image=image)
        leaf.size = sum(step.size for step in steps.values())
        leaf.images = 1
        if above is not None and above.path:
            leaf.lower = [above.path, *above.lower]
        (above.children if above else roots).append(leaf)
        by_image.setdefault(image.id, leaf)
    _add_containers(engine, roots, by_image, by_stack)
    for root in roots:
        _order(root)
    return roots


def _add_containers(
    engine: Engine, roots: list[Node], by_image: dict[str, Node], by_stack: dict[tuple[str, ...], Node]
) -> None:
    for state in sorted(container_states(engine.paths), key=lambda state: str(state.get("name"))):
        id = str(state.get("id"))
        rootfs = state.get("rootfs") or {}
        node = Node(CONTAINER, id, str(state.get("name") or id[:12]), container=id, containers=1)
        node.created = float(state.get("created_at") or 0)
        node.path = rootfs.get("upper") or rootfs.get("path") or ""
        node.size = engine.storage.usage(id)
        home = by_image.get(str(state.get("image_id")))
        # as the image has them, so that what was read of it serves; the mount points below are none of its layers
        if rootfs.get("upper"):
            node.lower = home.lower if home else _below(rootfs.get("lower") or [])
        if home is None:
            title = f"{state.get('image_name') or 'image'} (removed)"
            home = Node(IMAGE, str(state.get("image_id")), title)
            by_image[home.key] = home
            roots.append(home)
        home.children.append(node)
        home.containers += 1
        if home.image is not None:
            for layer in home.image.layers:
                by_stack[tuple(layer.stack)].containers += 1


def _below(lower: list[str]) -> list[str]:
    """The layers of a container whose image is gone."""
    return [os.path.realpath(link) for link in lower if os.path.basename(link) != MOUNT_POINTS]


def _order(node: Node) -> None:
    """Images first, then what is built on this layer, most shared first."""
    node.children.sort(key=lambda child: (child.kind == LAYER, -child.images, child.title))
    for child in node.children:
        _order(child)


def shared(roots: list[Node]) -> tuple[int, int]:
    """(bytes of all layers, bytes saved because images share layers)."""
    layers = [node for root in roots for _, node in root.walk() if node.kind == LAYER]
    return sum(node.size for node in layers), sum(node.size * (node.images - 1) for node in layers if node.images > 1)


def directories(node: Node) -> list[str]:
    """Layers of a node, bottom first, its own last; for an image all of its layers. [] while one is not unpacked."""
    if node.kind == IMAGE:
        return node.lower[::-1]
    return [*reversed(node.lower), node.path] if node.path else []


def files(node: Node) -> list[File]:
    """What a layer or container changes, by path; everything in it for an image. Empty while it is not unpacked."""
    found = directories(node)
    if not found or not os.path.isdir(found[-1]):
        return []
    read = stack.read(found)
    return (stack.contents if node.kind == IMAGE else stack.changes)(read, len(found) - 1)
