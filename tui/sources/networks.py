"""The graph of the host's networks with the rates on its edges."""

from __future__ import annotations

from typing import NamedTuple

from pyctr.core import networks
from pyctr.tui.sources import STALE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyctr.core.engine import Engine
    from pyctr.core.netgraph import Flow, Graph
    from pyctr.tui.sources import Seen

SHORTEST = 0.2
"""Seconds two looks must be apart to give a rate."""


class Rails(NamedTuple):
    """One moment of the network."""

    graph: Graph
    flows: Mapping[tuple[str, str], Flow] = {}
    """As core.netgraph.flows gives them."""
    talked: Mapping[str, float] = {}
    """Id -> when (monotonic) bytes were last seen on a link of it, for those that ever did."""
    base: Graph | None = None
    """What the rates are a difference to, while the next look was too soon after it."""


def collect(engine: Engine, seen: Seen, before: object) -> object:
    from pyctr.core import netgraph

    now = networks.graph(engine, seen.containers, seen.statuses)._replace(taken=seen.monotonic)
    if not isinstance(before, Rails):
        return Rails(now)
    base = before.base or before.graph
    if now.taken - base.taken < SHORTEST:
        return before._replace(graph=now, base=base)
    if now.taken - base.taken > STALE:
        return Rails(now, {}, before.talked)
    flows = netgraph.flows(base, now)
    known = {node.id for node in now.nodes}
    talked = {id: moment for id, moment in before.talked.items() if id in known}
    talked |= {
        id.partition("@")[0]: now.taken
        for (kind, id), flow in flows.items()
        if kind == "edge" and flow.rx_bytes + flow.tx_bytes
    }
    return Rails(now, flows, talked)
