"""The layer tree: all images and containers of one pyctr as one tree of shared layers, and the files of each layer."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from pyctr.core.images.history import history
from pyctr.core.images.merged import Directory, is_opaque, is_whiteout
from pyctr.core.images.model import Image, Layer
from pyctr.core.images.store import container_states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.engine import Engine

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

LAYER = "layer"
IMAGE = "image"
CONTAINER = "container"


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

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Node]]:
        """(depth, node) of this node and everything below it, in order."""
        yield depth, self
        for child in self.children:
            yield from child.walk(depth + 1)


@dataclass(slots=True)
class File:
    """One path that a layer or container adds ("A"), changes ("C") or deletes ("D")."""

    path: str
    change: str
    mode: int
    """With the file type bits; 0 for a deletion."""
    size: int
    was: int = 0
    """Bytes below that it hides: of the old file, or of everything in a deleted directory."""
    uid: int = 0
    gid: int = 0
    link: str = ""
    mtime: float = 0.0


def tree(engine: Engine) -> list[Node]:
    """The roots. Costs one `layer.json` per layer and one walk per container's upper directory."""
    roots: list[Node] = []
    by_image: dict[str, Node] = {}
    by_stack: dict[tuple[str, ...], Node] = {}
    for image in sorted(engine.images.list(), key=lambda image: (image.names or ["~"], image.digest)):
        above: Node | None = None
        steps = {len(step.layer.stack): step for step in history(image, engine.layers) if step.layer is not None}
        for layer in image.layers:
            stack = tuple(layer.stack)
            node = by_stack.get(stack)
            if node is None:
                step = steps[len(stack)]
                node = Node(LAYER, layer.chain_id, step.instruction, step.size, step.created, layer=layer)
                if engine.layers.has(layer.diff_id):
                    node.path = engine.layers.path(layer.diff_id)
                if above is not None:
                    node.lower = [above.path, *above.lower] if above.path else []
                by_stack[stack] = node
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
        node.lower = list(rootfs.get("lower") or [])
        node.size = engine.storage.usage(id)
        home = by_image.get(str(state.get("image_id")))
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


def _order(node: Node) -> None:
    """Images first, then what is built on this layer, most shared first."""
    node.children.sort(key=lambda child: (child.kind == LAYER, -child.images, child.title))
    for child in node.children:
        _order(child)


def shared(roots: list[Node]) -> tuple[int, int]:
    """(bytes of all layers, bytes saved because images share layers)."""
    layers = [node for root in roots for _, node in root.walk() if node.kind == LAYER]
    return sum(node.size for node in layers), sum(node.size * (node.images - 1) for node in layers if node.images > 1)


def files(node: Node) -> list[File]:
    """What a layer or container changes, by path; everything in it for an image. Empty while it is not unpacked."""
    if node.kind == IMAGE:
        if not node.lower:
            return []
        found: list[File] = []
        with Directory.root(node.lower) as root:
            _everything(root, "", found)
        return sorted(found, key=lambda file: file.path)
    if not node.path or not os.path.isdir(node.path):
        return []
    found = []
    with Directory.root([*node.lower]) as lower:
        fd = os.open(node.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _changes(fd, lower if node.lower else None, "", found)
        finally:
            os.close(fd)
    return sorted(found, key=lambda file: file.path)


def waste(node: Node, roots: list[Node]) -> tuple[int, list[tuple[str, int]]]:
    """(bytes, [(path, bytes)] biggest first) written in some layer of an image and hidden by a later one."""
    hidden: dict[str, int] = {}
    if node.image is not None:
        stacks = {tuple(layer.stack) for layer in node.image.layers}
        for root in roots:
            for _, other in root.walk():
                if other.layer is not None and tuple(other.layer.stack) in stacks:
                    for file in files(other):
                        if file.was:
                            hidden[file.path] = hidden.get(file.path, 0) + file.was
    return sum(hidden.values()), sorted(hidden.items(), key=lambda item: (-item[1], item[0]))


def _changes(fd: int, lower: Directory | None, path: str, found: list[File]) -> None:
    for name in os.listdir(fd):
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            continue  # a container is at work
        place = f"{path}/{name}"
        below = lower.lookup(name) if lower else None
        if is_whiteout(status):
            if below is not None:
                found.append(File(place, "D", 0, 0, _hidden(lower, name, below[1])))
            continue
        file = _file(fd, name, status, place)
        if below is not None:
            file.change = "C"
        found.append(file)
        if not stat.S_ISDIR(status.st_mode):
            if below is not None:
                file.was = _hidden(lower, name, below[1])
            continue
        try:
            child = os.open(name, _DIRECTORY, dir_fd=fd)
        except OSError:
            continue  # replaced since
        try:
            under = lower.open(name) if lower else None
            if under is None:
                if below is not None:
                    file.was = below[1].st_size
                _changes(child, None, place, found)
                continue
            with under:
                if is_opaque(child):
                    here = set(os.listdir(child))
                    for other, _, old in under.entries():
                        if other not in here:
                            found.append(File(f"{place}/{other}", "D", 0, 0, _hidden(under, other, old)))
                _changes(child, under, place, found)
        finally:
            os.close(child)


def _everything(directory: Directory, path: str, found: list[File]) -> None:
    for name, fd, status in directory.entries():
        place = f"{path}/{name}"
        found.append(_file(fd, name, status, place))
        if stat.S_ISDIR(status.st_mode) and (child := directory.open(name)):
            with child:
                _everything(child, place, found)


def _file(fd: int, name: str, status: os.stat_result, place: str) -> File:
    regular = stat.S_ISREG(status.st_mode)
    file = File(place, "A", status.st_mode, status.st_size if regular else 0)
    file.uid, file.gid, file.mtime = status.st_uid, status.st_gid, status.st_mtime
    if stat.S_ISLNK(status.st_mode):
        try:
            file.link = os.readlink(name, dir_fd=fd)
        except OSError:
            file.link = "?"  # replaced since
    return file


def _hidden(lower: Directory | None, name: str, status: os.stat_result) -> int:
    """Bytes of a file, or of all files of a directory, in the merged view below."""
    if lower is None or not stat.S_ISDIR(status.st_mode):
        return status.st_size if stat.S_ISREG(status.st_mode) else 0
    child = lower.open(name)
    if child is None:
        return 0
    with child:
        return sum(_hidden(child, other, old) for other, _, old in child.entries())
