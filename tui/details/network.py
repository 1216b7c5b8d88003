"""Address, ports, interfaces with their rates, who listens and who talks."""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from pyctr.core.sockettables import address
from pyctr.tui import format as f
from pyctr.tui.widgets.sparkline import buckets, sparkline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.tui.format import Line
    from pyctr.tui.snapshot import ContainerRow, Snapshot
    from pyctr.tui.table import Look

ESTABLISHED, LISTEN = "01", "0A"
STATES = 4096
"""Sockets looked at."""


class Interface(NamedTuple):
    name: str
    rx: int
    tx: int
    errors: int
    dropped: int
    rx_rate: float | None
    tx_rate: float | None


class Networked(NamedTuple):
    taken: float
    facts: dict[str, Any]
    interfaces: tuple[Interface, ...]
    listening: tuple[str, ...]
    peers: tuple[tuple[str, int], ...]
    """(address, connections), the most first"""


def collect(engine: Engine, container: Container, before: object) -> object:
    now = engine.monotonic()
    pid = container.pid
    interfaces: list[Interface] = []
    listening: set[str] = set()
    peers: dict[str, int] = {}
    if pid:
        proc = engine.paths.proc
        old = {one.name: one for one in before.interfaces} if isinstance(before, Networked) else {}
        interval = now - before.taken if isinstance(before, Networked) else 0.0
        with open(f"{proc}/{pid}/net/dev") as file:
            for line in file.read().splitlines()[2:]:
                name, _, rest = line.partition(":")
                words = [int(word) for word in rest.split()]
                name = name.strip()
                last = old.get(name)
                fresh = last is not None and interval > 0.2
                interfaces.append(
                    Interface(
                        name,
                        words[0],
                        words[8],
                        words[2] + words[10],
                        words[3] + words[11],
                        max(0, words[0] - last.rx) / interval if fresh and last is not None else None,
                        max(0, words[8] - last.tx) / interval if fresh and last is not None else None,
                    )
                )
        for kind in ("tcp", "tcp6", "udp", "udp6"):
            _sockets(f"{proc}/{pid}/net/{kind}", kind, listening, peers)
    return Networked(
        now,
        dict(container.state.network),
        tuple(interfaces),
        tuple(sorted(listening, key=lambda text: (text.split()[0], int(text.rpartition(":")[2])))),
        tuple(sorted(peers.items(), key=lambda item: (-item[1], item[0]))[:20]),
    )


def _sockets(path: str, kind: str, listening: set[str], peers: dict[str, int]) -> None:
    """proc_net_tcp: local and remote address in hex, the state, …"""
    try:
        with open(path) as file:
            lines = list(islice(file, STATES))  # every read beyond the end would walk all the host's sockets again
    except OSError:
        return  # no IPv6 here, or it ended
    for line in lines[1:]:
        words = line.split()
        if len(words) < 4:
            continue
        if (kind.startswith("tcp") and words[3] == LISTEN) or (kind.startswith("udp") and words[3] == "07"):
            listening.add(f"{kind.rstrip('6')} {address(words[1])}")
        elif words[3] == ESTABLISHED:
            peer = address(words[2]).rpartition(":")[0].strip("[]")
            peers[peer] = peers.get(peer, 0) + 1


def render(document: object, row: ContainerRow, snapshot: Snapshot, width: int, height: int, look: Look) -> list[Line]:
    from pyctr.tui.details import facts, table

    if not isinstance(document, Networked):
        return []
    known = document.facts
    pairs = [("network", f"{row.network}{f' on {bridge}' if (bridge := known.get('bridge')) else ''}")]
    for key, label in (("address", "address"), ("gateway", "gateway"), ("mac", "mac"), ("host_if", "host side")):
        if known.get(key):
            pairs.append((label, str(known[key])))
    if row.ports:
        pairs.append(("ports", ", ".join(row.ports).replace("→", look.glyphs.arrow)))
    if document.listening:
        pairs.append(("listens", ", ".join(document.listening)))
    lines = facts(pairs, width)
    if document.interfaces:
        series = snapshot.detail.series if snapshot.detail is not None else {}
        rows = []
        for one in document.interfaces:
            spark = ""
            if one.name == "eth0" and width >= 90:
                points = series.get("net_rx", ())
                values = buckets(points, snapshot.monotonic, 20)
                top = max([value for value in values if value is not None], default=0.0)
                spark = sparkline(values, max(top, 1024.0), look.glyphs)
            rows.append(
                [
                    (f.neutral(one.name), "strong"),
                    (f.size(one.rx_rate), "text"),
                    (f.size(one.tx_rate), "text"),
                    (f.size(one.rx), "muted"),
                    (f.size(one.tx), "muted"),
                    (f.count(one.errors), "bad" if one.errors else "faint"),
                    (f.count(one.dropped), "warn" if one.dropped else "faint"),
                    (spark, "spark"),
                ]
            )
        down, up = look.glyphs.down, look.glyphs.up
        headings = [("INTERFACE", 10, "left"), (f"{down}/s", 6, "right"), (f"{up}/s", 6, "right")]
        headings += [(f"{down} all", 6, "right"), (f"{up} all", 6, "right"), ("ERR", 4, "right"), ("DROP", 4, "right")]
        headings.append(("", 0, "left"))
        lines += [(), *table(headings, rows, width)]
    elif row.live:
        lines += [(), (("no interfaces", "faint"),)]
    if document.peers:
        lines += [(), (("TALKS TO", "heading"),)]
        for peer, number in document.peers:
            plural = "connections" if number > 1 else "connection"
            lines.append(((f.fit(peer, 24), "text"), (f" {number} {plural}", "muted")))
    return lines
