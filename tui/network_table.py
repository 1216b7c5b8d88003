"""The networks as a list, for narrow terminals and crowds: a row per container, with where it is and what it moves."""

from __future__ import annotations

from typing import NamedTuple

from pyctr.core.netgraph import ALIVE, Counters, Flow
from pyctr.tui import format as f
from pyctr.tui.container_table import state_style
from pyctr.tui.snapshot import ContainerRow
from pyctr.tui.table import Column

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyctr.tui.format import Line
    from pyctr.tui.sources.networks import Rails
    from pyctr.tui.table import Look


class NetRow(NamedTuple):
    """One container on one network, or on none."""

    id: str
    name: str
    status: str
    state: str
    failed: bool
    network: str
    address: str
    ports: str
    flow: Flow | None
    counters: Counters | None

    @property
    def key(self) -> str:
        return f"{self.id} {self.network}"

    @property
    def rate(self) -> float:
        return self.flow.rx_bytes + self.flow.tx_bytes if self.flow is not None else -1.0


def rows(view: Rails, known: Mapping[str, ContainerRow]) -> list[NetRow]:
    """By network, and in it by name; those at rest at the end."""
    out: list[NetRow] = []
    names = {node.id: node.name for node in view.graph.nodes}
    for node in view.graph.nodes:
        row = known.get(node.id)
        failed = row is not None and row.failed
        state = state_style(row) if row is not None else "faint"
        ports = [port for port in view.graph.ports if port.id == node.id]
        text = ", ".join(f"{port.host_port}→{port.container_port}" for port in ports)
        edges = [edge for edge in view.graph.edges if edge.id == node.id]
        for edge in edges:
            flow = view.flows.get(("edge", edge.key)) if edge.counters is not None else None
            address = edge.address.partition("/")[0] if node.status in ALIVE else ""
            out.append(
                NetRow(node.id, node.name, node.status, state, failed, edge.network, address, text, flow, edge.counters)
            )
        if not edges:
            mode = {"host": "host's own", "none": "none"}.get(node.mode, "")
            mode = mode or f"with {names.get(node.shares, 'one that is gone')}"
            out.append(NetRow(node.id, node.name, node.status, state, failed, mode, "", text, None, None))
    return sorted(out, key=lambda row: (row.status not in ALIVE, row.network, row.name))


def _glyph(row: NetRow, width: int, look: Look) -> Line:
    return ((look.glyphs.state(row.status, failed=row.failed), row.state),)


def _name(row: NetRow, width: int, look: Look) -> Line:
    style = "strong" if row.status in ALIVE or row.failed else "muted"
    return ((f.cut(f.neutral(row.name), width, look.glyphs.ellipsis), style),)


def _network(row: NetRow, width: int, look: Look) -> Line:
    style = "text" if row.status in ALIVE else "faint"
    return ((f.cut(f.neutral(row.network), width, look.glyphs.ellipsis), style),)


def _address(row: NetRow, width: int, look: Look) -> Line:
    return ((row.address or "-", "muted" if row.address else "faint"),)


def _rate(value: float | None) -> Line:
    text = f.size(value)
    return ((text, "faint" if text in ("-", "0") else "accent"),)


def _rx(row: NetRow, width: int, look: Look) -> Line:
    return _rate(row.flow.rx_bytes if row.flow else None)


def _tx(row: NetRow, width: int, look: Look) -> Line:
    return _rate(row.flow.tx_bytes if row.flow else None)


def _drops(row: NetRow, width: int, look: Look) -> Line:
    if row.counters is None:
        return (("-", "faint"),)
    lost = row.counters.dropped + row.counters.errors
    now = row.flow is not None and row.flow.dropped + row.flow.errors > 0
    return ((f.count(lost), "bad" if now else "text" if lost else "faint"),)


def _ports(row: NetRow, width: int, look: Look) -> Line:
    return ((f.cut(row.ports.replace("→", look.glyphs.arrow), width, look.glyphs.ellipsis), "accent"),)


def columns(width: int, look: Look) -> list[Column]:
    down, up = look.glyphs.down, look.glyphs.up
    chosen = [
        Column("glyph", "", 1, _glyph),
        Column("name", "NAME", 10, _name, sort=lambda row: row.name, grow=3, limit=32, gap=1, sort_key="N"),
    ]
    if width >= 46:
        chosen.append(
            Column("network", "NETWORK", 8, _network, sort=lambda row: row.network, grow=1, limit=20, sort_key="W")
        )
    if width >= 66:
        chosen.append(Column("address", "ADDRESS", 15, _address))
    chosen += [
        Column("rx", f"{down}/s", 5, _rx, align="right", sort=lambda row: row.rate, descending=True),
        Column("tx", f"{up}/s", 5, _tx, align="right", sort=lambda row: row.rate, descending=True),
        Column("lost", "LOST", 4, _drops, align="right"),
    ]
    if width >= 66:
        chosen.append(Column("ports", "PORTS", 11, _ports, grow=2, limit=40))
    return chosen
