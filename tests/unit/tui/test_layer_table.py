"""The layer tree as rows, the files of a layer as lines."""

from __future__ import annotations

from pyctr.core.images.tree import CONTAINER, IMAGE, LAYER, Node
from pyctr.tui import format as f
from pyctr.tui import layer_table
from pyctr.tui.format import Glyphs
from pyctr.tui.snapshot import ContainerRow
from pyctr.tui.table import Layout, Look

LOOK = Look(Glyphs())


def shelf() -> Node:
    base = Node(LAYER, "chain-1", "ADD rootfs", 100 << 20, images=2)
    top = Node(LAYER, "chain-2", "COPY . /app\x1b[31m", 5 << 20, images=1)
    image = Node(IMAGE, "digest", "acme/api:2", 105 << 20, images=1, containers=1)
    image.children = [Node(CONTAINER, "c1", "api-1", 12 << 20, container="c1", containers=1)]
    top.children = [image]
    base.children = [Node(IMAGE, "other", "acme/base:1", 100 << 20, images=1), top]
    return base


def drawn(rows: list[layer_table.TreeRow], width: int) -> list[str]:
    layout = Layout(layer_table.columns(width, LOOK), width)
    return [f.plain(layout.line(layout.cells(row, LOOK))) for row in rows]


def test_the_tree_is_shown_from_the_shared_layer_to_the_container():
    rows = layer_table.rows([shelf()], set(), {"c1": ContainerRow(id="c1", name="api-1", status="running")})
    lines = drawn(rows, 60)
    assert [line[:24].replace("␛[31m", "").rstrip() for line in lines] == [
        "▾ ADD rootfs",
        "    ◆ acme/base:1",
        "  ▾ COPY . /app",
        "    ▾ ◆ acme/api:2",
        "        ● api-1",
    ]
    assert "+100M" in lines[0] and "×2" in lines[0]
    assert "105M" in lines[3] and "1 ctr" in lines[3]
    assert all(f.width(line) == 60 for line in lines)


def test_escape_sequences_of_an_instruction_never_reach_the_terminal():
    assert "\x1b" not in "".join(drawn(layer_table.rows([shelf()], set(), {}), 80))


def test_what_is_below_a_folded_node_is_not_shown():
    rows = layer_table.rows([shelf()], {"layer chain-2"}, {})
    assert [row.node.title[:8] for row in rows] == ["ADD root", "acme/bas", "COPY . /"]
    assert rows[2].folded is True and rows[1].folded is None


def test_a_deep_tree_keeps_its_names_readable():
    top = node = Node(LAYER, "0", "layer 0", 1, images=1)
    for number in range(1, 60):
        child = Node(LAYER, str(number), f"layer {number}", 1, images=1)
        node.children = [child]
        node = child
    lines = drawn(layer_table.rows([top], set(), {}), 78)
    assert "layer 59" in lines[-1]
