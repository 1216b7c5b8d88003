"""The layer tree as rows of a grid, and the files of one layer as lines. Pure: no Textual here."""

from __future__ import annotations

from typing import NamedTuple

from pyctr.core.images.tree import CONTAINER, IMAGE, LAYER, Node
from pyctr.tui import format as f
from pyctr.tui.container_table import state_style
from pyctr.tui.finding import node_key
from pyctr.tui.snapshot import ContainerRow
from pyctr.tui.table import Column

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pyctr.tui.finding import Found
    from pyctr.tui.format import Line, Span
    from pyctr.tui.table import Look


class TreeRow(NamedTuple):
    """One visible node. `folded` is None for one that has nothing below it."""

    key: str
    node: Node
    depth: int
    folded: bool | None
    container: ContainerRow | None = None
    hits: int | None = None
    """Paths found in it, while something is looked for."""


def rows(
    roots: Iterable[Node], folded: set[str], known: Mapping[str, ContainerRow], found: Found | None = None
) -> list[TreeRow]:
    """The tree from top to bottom, without what is below a folded node; while something is looked for, only what
    has it, and what that stands on."""
    out: list[TreeRow] = []

    def add(node: Node, depth: int) -> None:
        key = node_key(node)
        if found is not None:
            if not any(node_key(below) in found.keys for _, below in node.walk()):
                return
            hits = len(found.files.get(key, ()))
            out.append(TreeRow(key, node, depth, None, known.get(node.container), hits))
            for child in node.children:
                add(child, depth + 1)
            return
        shut = key in folded if node.children else None
        out.append(TreeRow(key, node, depth, shut, known.get(node.container)))
        if not shut:
            for child in node.children:
                add(child, depth + 1)

    for root in roots:
        add(root, 0)
    return out


def chain(roots: Iterable[Node], node: Node) -> list[Node]:
    """The layers that lead to a node, the bottom one first, itself included; a container's own writable one, too."""

    def look(below: Node, above: list[Node]) -> list[Node] | None:
        here = [*above, below] if below.kind != IMAGE else above
        if below is node or (below.kind == node.kind and below.key == node.key):
            return here
        return next((found for child in below.children if (found := look(child, here)) is not None), None)

    return next((found for root in roots if (found := look(root, [])) is not None), [])


def _tree(row: TreeRow, width: int, look: Look) -> Line:
    glyphs, node = look.glyphs, row.node
    title = " ".join(f.neutral(node.title).split())
    fold = "  " if row.folded is None else f"{glyphs.closed if row.folded else glyphs.open} "
    spans: list[Span] = [("  " * min(row.depth, max(0, width // 2 - 12)), "text"), (fold, "faint")]
    if node.kind == IMAGE:
        spans += [("# " if glyphs.ascii else "◆ ", "accent"), (title, "strong")]
    elif node.kind == CONTAINER:
        known = row.container
        glyph = glyphs.state(known.status, failed=known.failed) if known is not None else "?"
        spans += [(f"{glyph} ", state_style(known) if known is not None else "faint"), (title, "text")]
    else:
        spans.append((title or "(no instruction recorded)", "muted"))
    used = f.line_width(spans[:-1])
    text, style = spans[-1]
    return (*spans[:-1], (f.cut(text, max(4, width - used), glyphs.ellipsis), style))


def _size(row: TreeRow, width: int, look: Look) -> Line:
    plus = "" if row.node.kind == IMAGE else "+"
    return ((f"{plus}{f.size(row.node.size)}", "text" if row.node.size else "faint"),)


def _share(row: TreeRow, width: int, look: Look) -> Line:
    node = row.node
    if row.hits is not None:
        return ((f"{f.count(row.hits)} hit{'s' * (row.hits != 1)}", "accent") if row.hits else ("", "text"),)
    if node.kind == LAYER:
        return (
            (f"x{node.images}" if look.glyphs.ascii else f"×{node.images}", "accent" if node.images > 1 else "faint"),
        )
    if node.kind == IMAGE:
        users = node.containers
        return ((f"{users} ctr", "text") if users else ("unused", "faint"),)
    if node.growth >= 1:
        return ((f"+{f.size(node.growth)}/s", "warn"),)
    return (("upper", "faint"),)


def columns(width: int, look: Look) -> list[Column]:
    return [
        Column("tree", "LAYERS, IMAGES, CONTAINERS", 20, _tree, grow=1, limit=200),
        Column("size", "SIZE", 6, _size, align="right"),
        Column("share", "SHARED", 7, _share, align="right"),
    ]


def facts(row: TreeRow, width: int, look: Look) -> list[Line]:
    """Who the node is, above its files."""
    node, dot = row.node, f" {look.glyphs.dot} "
    lines: list[Line] = []
    if node.layer is not None:
        where = (node.layer.diff_id[:19] + look.glyphs.ellipsis, "muted")
        lines.append((where, (dot, "faint"), (f"{node.images} image{'s' * (node.images != 1)}", "text")))
    elif node.image is not None:
        names = ", ".join(f.neutral(name) for name in node.image.names) or "no name"
        lines.append(((f.cut(names, width, look.glyphs.ellipsis), "text"),))
        lines.append(
            (
                (node.image.digest[:19] + look.glyphs.ellipsis, "muted"),
                (dot, "faint"),
                (f"{len(node.image.layers)} layers", "text"),
                (dot, "faint"),
                (node.image.architecture, "text"),
            )
        )
    else:
        lines.append((("what the container has written over its image", "muted"),))
    if node.kind == LAYER:
        text = " ".join(f.neutral(node.title).split())
        while text:
            lines.append(((text[:width], "text"),))
            text = text[width:]
            if len(lines) > 5:
                lines.append(((look.glyphs.ellipsis, "faint"),))
                break
    return lines
