"""The network as documents for other programs: JSON, words, Graphviz's language, a drawing.

All four say the same of a `netgraph.Graph` and depend on nothing else, so that one graph is one text, byte for byte.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from pyctr.core.netdrivers import FACES
from pyctr.core.nettalks import named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyctr.core.netgraph import Edge, Graph, Node, Rail
    from pyctr.core.nettalks import Talk


def document(graph: Graph, talks: Sequence[Talk] | None = None) -> dict[str, Any]:
    """Plain dicts and lists for JSON; "talks" where they were asked for."""
    return {
        **({"talks": [talk._asdict() for talk in named(talks, graph)]} if talks is not None else {}),
        "interfaces": [
            {
                "name": nic.name,
                "addresses": list(nic.addresses),
                "gateway": nic.gateway,
                "uplink": nic.uplink,
                "bridge": nic.bridge,
                "counters": nic.counters._asdict(),
            }
            for nic in graph.nics
        ],
        "networks": [{**rail._asdict(), "counters": rail.counters._asdict()} for rail in graph.networks],
        "containers": [
            {
                **node._asdict(),
                "links": [
                    {
                        "network": edge.network,
                        "interface": f"eth{edge.number}",
                        "host_interface": edge.host_if,
                        "address": edge.address,
                        "mac": edge.mac,
                        "counters": edge.counters._asdict() if edge.counters is not None else None,
                    }
                    for edge in _edges(graph, node)
                ],
            }
            for node in graph.nodes
        ],
        "ports": [port._asdict() for port in graph.ports],
    }


def text(graph: Graph, talks: Sequence[Talk] = ()) -> str:
    """An indented list, made for reading and for grep."""
    lines = []
    for nic in graph.nics:
        way = f"  uplink via {nic.gateway}" if nic.uplink and nic.gateway else "  uplink" if nic.uplink else ""
        way += "  a bridge of others" if nic.bridge else ""
        lines.append(f"interface {nic.name}  {' '.join(nic.addresses) or '-'}{way}")
    for rail in graph.networks:
        lines.append(f"network {rail.name}  {rail.subnet}  {_about(rail)}")
        for edge, node in graph.on(rail.name):
            lines.append(
                f"  {node.name}  {edge.address.partition('/')[0] or '-'}  {edge.host_if or '-'}  {node.status}"
            )
            if not edge.number:
                lines += [f"    port {port}" for port in graph.ports if port.id == node.id]
    for node in graph.nodes:
        if node.mode != "bridge":
            other = next((each.name for each in graph.nodes if each.id == node.shares), node.shares[:12])
            mode = f"shares the network of {other}" if node.mode == "container" else f"network {node.mode}"
            lines.append(f"container {node.name}  {mode}  {node.status}")
    for talk in named(talks, graph):
        lines.append(f"talk {talk.source} -> {talk.target}:{talk.port}/{talk.protocol}  {said(talk)}")
    return "".join(f"{line}\n" for line in lines)


def said(talk: Talk) -> str:
    """How much of it there is, in words."""
    words = "1 connection" if talk.connections == 1 else f"{talk.connections} connections"
    if talk.sent is None or talk.received is None:
        return words
    return f"{words}, {talk.sent} bytes there, {talk.received} back"


def dot(graph: Graph, talks: Sequence[Talk] = ()) -> str:
    """For Graphviz: `pyctr network graph --dot | dot -Tsvg`."""
    lines = ["graph pyctr {", '  graph [rankdir="TB"]', '  node [shape="box", fontname="sans-serif"]']
    lines.append('  "internet" [shape="plaintext"]')
    for nic in graph.nics:
        lines.append(f"  {_word(f'nic {nic.name}')} [label={_word(_two(nic.name, ' '.join(nic.addresses)))}]")
        if nic.uplink:
            lines.append(f'  "internet" -- {_word(f"nic {nic.name}")}')
    for rail in graph.networks:
        label = _two(rail.name, f"{rail.subnet} {_about(rail)}")
        lines.append(f'  {_word(f"network {rail.name}")} [shape="underline", label={_word(label)}]')
        if rail.driver in FACES:
            lines.append(
                f"  {_word(f'nic {rail.bridge}')} -- {_word(f'network {rail.name}')} [label={_word(rail.driver)}]"
            )
        elif graph.uplink is not None and rail.nat:
            lines.append(f'  {_word(f"nic {graph.uplink.name}")} -- {_word(f"network {rail.name}")} [label="NAT"]')
    for node in graph.nodes:
        label = _two(node.name, " ".join(str(port) for port in graph.ports if port.id == node.id))
        style = "" if node.status == "running" else ', style="dashed"'
        lines.append(f'  {_word(node.id)} [shape="ellipse", label={_word(label)}{style}]')
        if node.mode == "container" and node.shares:
            lines.append(f'  {_word(node.id)} -- {_word(node.shares)} [style="dotted", label="shares"]')
        if node.mode == "host" and graph.uplink is not None:
            lines.append(f'  {_word(node.id)} -- {_word(f"nic {graph.uplink.name}")} [style="dotted", label="host"]')
    for edge in graph.edges:
        address = edge.address.partition("/")[0]
        lines.append(f"  {_word(f'network {edge.network}')} -- {_word(edge.id)} [label={_word(address)}]")
    drawn = {node.id for node in graph.nodes}
    for talk, words in zip(talks, named(talks, graph), strict=True):
        ends = [end if end in drawn else f"peer {end}" for end in (talk.source, talk.target)]
        peers = [end for end in ends if end.startswith("peer ")]
        lines += [f'  {_word(end)} [shape="plaintext", label={_word(end[5:])}]' for end in peers]
        label = _word(_two(f"{words.port}/{words.protocol}", said(words)))
        lines.append(f'  {_word(ends[0])} -- {_word(ends[1])} [dir="forward", style="dashed", label={label}]')
    return "\n".join([*lines, "}", ""])


_COLUMN, _LEFT, _TOP, _RAIL = 150, 170, 60, 110


def svg(graph: Graph, talks: Sequence[Talk] = ()) -> str:
    """A drawing: the way out on top, each network a rail, containers in columns, hanging from each of their rails. Who
    talks to whom is told below."""
    hanging = {edge.id for edge in graph.edges}
    nodes = [node for node in graph.nodes if node.id in hanging]
    alone = [node for node in graph.nodes if node.id not in hanging]
    column = {node.id: _LEFT + 70 + number * _COLUMN for number, node in enumerate(nodes)}
    level = {rail.name: _TOP + 60 + number * _RAIL for number, rail in enumerate(graph.networks)}
    width = max(640, _LEFT + len(nodes) * _COLUMN + 20)
    below = [f"{node.name}: network {node.mode}" for node in alone]
    below += [f"{one.source} → {one.target}:{one.port}/{one.protocol}  {said(one)}" for one in named(talks, graph)]
    height = _TOP + 40 + len(graph.networks) * _RAIL + 40 + 16 * len(below)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">',
        "<style>text{font-size:12px}.s{font-size:10px;fill:#666}.w{stroke:#888}.r{stroke:#268;stroke-width:3}</style>",
    ]
    if graph.uplink is not None:
        words = " ".join((graph.uplink.name, *graph.uplink.addresses))
        parts.append(f'<text x="10" y="24">internet · {escape(words)}</text>')
        last = max((level[rail.name] for rail in graph.networks if rail.nat), default=_TOP)
        parts.append(f'<line class="w" x1="30" y1="32" x2="30" y2="{last}"/>')
    for rail in graph.networks:
        y = level[rail.name]
        begin = 30 if rail.nat else 40
        parts.append(f'<line class="r" x1="{begin}" y1="{y}" x2="{width - 20}" y2="{y}"/>')
        parts.append(f'<text x="44" y="{y - 8}">{escape(rail.name)}</text>')
        parts.append(f'<text class="s" x="44" y="{y + 16}">{escape(rail.subnet)}</text>')
        parts.append(f'<text class="s" x="44" y="{y + 30}">{escape(_about(rail))}</text>')
    for node in nodes:
        x = column[node.id]
        edges = [edge for edge in _edges(graph, node) if edge.network in level]
        if not edges:
            continue
        place = level[edges[0].network] + 50
        for number, edge in enumerate(edges):
            parts.append(
                f'<line class="w" x1="{x + 8 * number}" y1="{level[edge.network]}" x2="{x + 8 * number}" y2="{place}"/>'
            )
        addresses = " ".join(edge.address.partition("/")[0] for edge in edges)
        ports = " ".join(str(port) for port in graph.ports if port.id == node.id)
        mark = "●" if node.status == "running" else "○"
        parts.append(f'<text x="{x - 6}" y="{place + 14}">{mark} {escape(node.name)}</text>')
        parts.append(f'<text class="s" x="{x - 6}" y="{place + 27}">{escape(addresses)}</text>')
        parts.append(f'<text class="s" x="{x - 6}" y="{place + 39}">{escape(ports)}</text>')
    for number, words in enumerate(below):
        y = height - 16 * (len(below) - number)
        parts.append(f'<text class="s" x="10" y="{y}">{escape(words)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _edges(graph: Graph, node: Node) -> list[Edge]:
    return [edge for edge in graph.edges if edge.id == node.id]


def _about(rail: Rail) -> str:
    words = [f"bridge {rail.bridge}"] if rail.driver == "bridge" else [rail.way]
    if rail.driver == "overlay":
        words.insert(0, f"overlay {rail.bridge}")
    if rail.internal:
        words.append("internal")
    if not rail.there:
        words.append("not made yet")
    return ", ".join(words)


def _two(first: str, second: str) -> str:
    return f"{first}\n{second}" if second else first


def _word(text: str) -> str:
    """A quoted string of the DOT language."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
