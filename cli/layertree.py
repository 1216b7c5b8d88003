"""`pyctr image tree`: all images as one tree of the layers they share, or one image layer by layer with its waste."""

from __future__ import annotations

from pyctr.cli import output
from pyctr.cli.diagnostics import safe
from pyctr.core.images import stack, tree, waste
from pyctr.core.images.tree import CONTAINER, IMAGE, LAYER, Node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyctr.core.engine import Engine
    from pyctr.core.images.model import Image

    Row = tuple[str, Node]

_WORST = 5
"""Wasted paths that are told by name."""


def show(engine: Engine, image: Image | None, form: str) -> None:
    """Print the tree of all images, or what leads to one."""
    if image is not None:
        engine.layers.ensure(image)
    roots = tree.tree(engine)
    leaf = None
    if image is not None:
        roots = [pruned for root in roots if (pruned := _only(root, image.digest)) is not None]
        leaf = next(node for root in roots for _, node in root.walk() if node.kind == IMAGE)
    measured = _waste(leaf) if leaf is not None else None
    if form:
        documents = [_document(engine, root) for root in roots]
        if measured is not None:
            documents[0]["waste"] = _measured(measured)
        for document in documents:
            output.write(output.json_line(document))
        return
    if not roots:
        output.write("no images")
        return
    rows: list[Row] = []
    for root in roots:
        _draw(root, "", "", rows)
    statuses = _statuses(engine)
    output.table(
        ["LAYERS, IMAGES, CONTAINERS", "SIZE", "SHARED", "DIGEST"],
        [[f"{lead}{_title(node, statuses)}", _size(node), _share(node), _digest(node)] for lead, node in rows],
    )
    size, saved = tree.shared(roots)
    if measured is None:
        output.write(f"\n{output.decimal_size(size)} of layers, {output.decimal_size(saved)} saved by sharing")
    else:
        _tell_waste(measured)


def _only(node: Node, digest: str) -> Node | None:
    """The tree without what does not lead to one image."""
    if node.kind == IMAGE:
        return node if node.key == digest else None
    node.children = [kept for child in node.children if (kept := _only(child, digest)) is not None]
    return node if node.children else None


def _draw(node: Node, lead: str, next_lead: str, rows: list[Row]) -> None:
    """Only where the tree parts does it go to the right: a long chain of layers stays readable."""
    while True:
        rows.append((lead, node))
        if len(node.children) != 1 or node.children[0].kind != LAYER:
            break
        [node] = node.children
        lead = next_lead
    for number, child in enumerate(node.children):
        last = number == len(node.children) - 1
        _draw(child, next_lead + ("└─ " if last else "├─ "), next_lead + ("   " if last else "│  "), rows)


def _statuses(engine: Engine) -> dict[str, str]:
    from pyctr.core import containers

    return {container.id: container.status for container in containers.all(engine)}


def _title(node: Node, statuses: dict[str, str]) -> str:
    title = " ".join(node.title.split())
    if node.kind == LAYER:
        return output.ellipsis(title or "(no instruction recorded)", 60)
    if node.kind == IMAGE:
        return f"image {title}"
    return f"container {title} ({statuses.get(node.container, 'gone')})"


def _size(node: Node) -> str:
    return ("" if node.kind == IMAGE else "+") + output.decimal_size(node.size)


def _share(node: Node) -> str:
    if node.kind == LAYER:
        return f"x{node.images}"
    if node.kind == CONTAINER:
        return ""
    return f"{node.containers} container{'s' * (node.containers != 1)}" if node.containers else "unused"


def _digest(node: Node) -> str:
    if node.kind == CONTAINER:
        return node.container[:12]
    return output.short_digest(node.layer.diff_id if node.layer is not None else node.key)


def _document(engine: Engine, node: Node) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": node.kind, "title": node.title, "size": node.size}
    if node.layer is not None:
        found |= {"diff_id": node.layer.diff_id, "chain_id": node.key, "images": node.images}
    elif node.kind == IMAGE:
        found |= {"digest": node.key, "names": list(node.image.names) if node.image is not None else []}
    else:
        found["id"] = node.container
    if node.kind != CONTAINER:
        found["containers"] = node.containers
    found["children"] = [_document(engine, child) for child in node.children]
    return found


def _waste(leaf: Node) -> waste.Waste:
    directories = tree.directories(leaf)
    return waste.measure(stack.read(directories), len(directories) - 1)


def _measured(measured: waste.Waste) -> dict[str, Any]:
    return {
        "efficiency": round(measured.efficiency, 6),
        "wasted": measured.wasted,
        "hidden": measured.hidden_size,
        "paths": [lost._asdict() for lost in measured.hidden],
    }


def _tell_waste(measured: waste.Waste) -> None:
    hidden: Sequence[waste.Lost] = measured.hidden
    output.write(f"\nefficiency {100 * measured.efficiency:.1f} %, as dive counts it")
    if not hidden:
        output.write("nothing is written in one layer and hidden by a later one")
        return
    files = f"{len(hidden)} file{'s' * (len(hidden) != 1)}"
    output.write(f"{output.decimal_size(measured.hidden_size)} in {files} are hidden by later layers")
    for lost in hidden[:_WORST]:
        output.write(f"  {output.decimal_size(lost.size):>8}  {safe(lost.path)}")
    if len(hidden) > _WORST:
        output.write(f"  and {len(hidden) - _WORST} more")
