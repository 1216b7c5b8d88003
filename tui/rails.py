"""The network as a picture: rails from left to right, containers hanging on them, the way out on top.

      internet
         │  eth0  192.0.2.10/24                 ↓1.3M ↑4.2M
      ───┴─ NAT ──────────────────────────────────────────────
         ║  :8080→api-1:80
      ═══╬═ bridge ═══════════╤══════════════════╤════════════
         ║  10.88.0.1/16      ╰ a slot: rates, name, address
      ═══╩═ backend ══════════╧══════════════════╤══ internal ══

Pure: the same graph in the same width is the same picture, whatever the counters say; only numbers in their own cells
change. What hangs where follows from names alone. A rail too short for all goes on in further rails below itself.
A container on two neighbouring rails hangs between them; on others it hangs from each, and says so.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

from pyctr.core.netgraph import ALIVE, Counters, Edge, Node, Rail
from pyctr.tui import format as f
from pyctr.tui.canvas import Canvas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pyctr.core.netgraph import Flow, Graph
    from pyctr.tui.format import Line
    from pyctr.tui.snapshot import ContainerRow
    from pyctr.tui.sources.networks import Rails
    from pyctr.tui.table import Look

SPINE = 5
"""Column of the way out."""
BRANCH = 25
"""Column where a rail's further rails leave it; left of it stand its facts."""
SLOT = 22
"""A container needs so many columns at least."""
STEM = 7
"""Its link, within these."""
CROWD = 60
"""More containers than these, and the quiet ones become a number."""
LOUD = 60.0
"""Seconds without a byte that make a container quiet."""
PORT_LINES = 3
REST_LINES = 4


class Spot(NamedTuple):
    """Where a container can be pointed at."""

    id: str
    x: int
    y: int
    width: int
    height: int = 1


class Picture(NamedTuple):
    lines: tuple[Line, ...]
    spots: tuple[Spot, ...]
    """In reading order. A container that hangs from several rails has several."""


class Signs:
    """Characters of lines: heavy for rails, light for links."""

    def __init__(self, *, ascii: bool) -> None:
        self.rail, self.spine = ("=", "|") if ascii else ("═", "║")
        self.cross, self.end = ("+", "+") if ascii else ("╬", "╩")
        self.off, self.on, self.last = ("+", "+", "+") if ascii else ("╦", "╠", "╚")
        self.hang, self.land = ("+", "+") if ascii else ("╤", "╧")
        self.link, self.light, self.up, self.shared = ("|", "-", "+", "`") if ascii else ("│", "─", "┴", "╰")


class _Hung(NamedTuple):
    edge: Edge
    node: Node
    below: Edge | None = None
    """Its link to the next rail, between which and this one it hangs."""
    elsewhere: tuple[str, ...] = ()
    """Other networks it is on, drawn there again."""


def quiet(view: Rails) -> frozenset[str]:
    """Ids of those that a crowded picture leaves out: alive, and without a byte for a while."""
    if sum(node.status in ALIVE for node in view.graph.nodes) <= CROWD:
        return frozenset()
    now = view.graph.taken
    return frozenset(
        node.id for node in view.graph.nodes if now - view.talked.get(node.id, -LOUD) >= LOUD and node.status in ALIVE
    )


def layout(
    view: Rails,
    width: int,
    look: Look,
    *,
    rows: Mapping[str, ContainerRow] | None = None,
    hidden: frozenset[str] = frozenset(),
) -> Picture:
    """`rows` tells what failed; `hidden` are only counted."""
    return _Drawing(view, max(width, BRANCH + SLOT + 2), look, rows or {}, hidden).picture()


class _Drawing:
    def __init__(
        self, view: Rails, width: int, look: Look, rows: Mapping[str, ContainerRow], hidden: frozenset[str]
    ) -> None:
        self.graph: Graph = view.graph
        self.flows = view.flows
        self.width = width
        self.look = look
        self.glyphs = look.glyphs
        self.signs = Signs(ascii=look.glyphs.ascii)
        self.rows = rows
        self.hidden = hidden
        self.canvas = Canvas(width)
        self.spots: list[Spot] = []
        self.nodes = {node.id: node for node in self.graph.nodes}
        self.links: dict[str, list[Edge]] = {}
        """Edges by container."""
        self._edges: dict[str, list[Edge]] = {}
        for edge in self.graph.edges:
            self.links.setdefault(edge.id, []).append(edge)
            self._edges.setdefault(edge.network, []).append(edge)
        self.slots = max(1, (width - BRANCH - 2) // SLOT)
        self.slot = (width - BRANCH - 2) // self.slots
        self.sharing: dict[str, list[Node]] = {}
        for node in self.graph.nodes:
            if node.mode == "container" and node.shares and node.status in ALIVE:
                self.sharing.setdefault(node.shares, []).append(node)

    def picture(self) -> Picture:
        rails = self._rails()
        ways = [rail for rail in rails if rail.nat and rail.there]
        y = self._outside(bool(ways))
        if ways:
            y = self._nat(y)
        self._all_rails(y, rails, len(ways))
        self._aside()
        spots = sorted(self.spots, key=lambda spot: (spot.y, spot.x))
        return Picture(tuple(self.canvas.lines()), tuple(spots))

    def _rails(self) -> list[Rail]:
        """Those with a way out first: then no line crosses one without."""
        known = {rail.name for rail in self.graph.networks}
        lost = sorted({edge.network for edge in self.graph.edges if edge.counters is not None} - known)
        rails = [*self.graph.networks, *(Rail(name, "", "", "", True, False, Counters()) for name in lost)]
        used = {edge.network for edge in self.graph.edges if self._alive(edge)}
        return sorted(rails, key=lambda rail: (not rail.nat, rail.internal, not (rail.there or rail.name in used)))

    def _on(self, network: str) -> list[Edge]:
        return self._edges.get(network, [])

    def _alive(self, edge: Edge) -> bool:
        return self.nodes[edge.id].status in ALIVE

    def _flow(self, edge: Edge) -> Flow | None:
        return self.flows.get(("edge", edge.key))

    def _outside(self, linked: bool) -> int:
        """The host's own links, and who lives on them."""
        canvas, glyphs = self.canvas, self.glyphs
        uplink = self.graph.uplink
        y = 0
        if uplink is not None:
            canvas.put(2, 0, "internet", "muted")
            canvas.put(SPINE, 1, self.signs.link, "axis")
            x = canvas.put(SPINE + 3, 1, f.cut(f.neutral(uplink.name), 15), "strong")
            facts = "  " + " ".join(uplink.addresses[:2])
            if uplink.gateway:
                facts += f"  via {uplink.gateway}"
            rates = self._rates(("nic", uplink.name))
            room = self.width - x - f.line_width(rates) - 5
            x = canvas.put(x, 1, f.cut(facts, room), "muted")
            canvas.line(x + 4, 1, rates)
            y = 2
        elif self.graph.nics or self.graph.networks:
            canvas.put(2, 0, "no default route", "warn")
            canvas.put(19, 0, "containers reach this host and each other", "faint")
            y = 1
        others = [nic for nic in self.graph.nics if nic is not uplink]
        if others:
            named = f" {glyphs.dot} ".join(
                f"{'bridge ' if nic.bridge else ''}{f.neutral(nic.name)} {' '.join(nic.addresses[:1])}"
                for nic in others
            )
            canvas.put(SPINE, y, self.signs.link if uplink is not None and linked else " ", "axis")
            canvas.put(SPINE + 3, y, f.cut(f"also {named}", self.width - SPINE - 4), "faint")
            y += 1
        on_host = [node for node in self.graph.nodes if node.mode == "host" and node.status in ALIVE]
        if on_host:
            begin = y
            y = self._list("the host's network", on_host, y, 12)
            if uplink is not None and linked:
                canvas.down(SPINE, begin, y, self.signs.link, "axis")
        return y

    def _rates(self, key: tuple[str, str]) -> Line:
        flow = self.flows.get(key)
        down, up = self.glyphs.down, self.glyphs.up
        rx = f.fit(f.size(flow.rx_bytes if flow else None), 4)
        tx = f.size(flow.tx_bytes if flow else None)
        return ((down, "faint"), (rx, _judged(flow)), (f" {up}", "faint"), (tx, _judged(flow)))

    def _nat(self, y: int) -> int:
        canvas, signs = self.canvas, self.signs
        canvas.put(2, y, signs.light * (self.width - 4), "axis")
        if self.graph.uplink is not None:
            canvas.put(SPINE, y, signs.up, "axis")
        canvas.put(SPINE + 2, y, " NAT ", "muted")
        y += 1
        x, line = SPINE + 3, 0
        ports = sorted(self.graph.ports, key=lambda port: (port.host_port, port.protocol, port.host_ip))
        for place, port in enumerate(ports):
            text = self._port(port)
            rest = f"and {len(ports) - place} more"
            last = line == PORT_LINES - 1
            if x > SPINE + 3 and x + f.width(text) + (len(rest) + 3 if last else 0) > self.width - 2:
                if last:
                    canvas.put(x, y + line, rest, "faint")
                    break
                x, line = SPINE + 3, line + 1
            host, arrow, inside = text.partition(self.glyphs.arrow)
            x = canvas.put(x, y + line, host, "accent")
            x = canvas.put(x, y + line, arrow, "faint")
            x = canvas.put(x, y + line, inside, "text") + 3
        end = y + line + 1
        if not ports:
            canvas.put(SPINE + 3, y, "no published ports", "faint")
        canvas.down(SPINE, y, end, signs.spine, "chart")
        return end

    def _port(self, port: object) -> str:
        text = f.cut(f.neutral(str(port)), max(20, self.width - SPINE - 6))
        return text.replace("→", self.glyphs.arrow)

    def _all_rails(self, y: int, rails: list[Rail], ways: int) -> None:
        landing: list[_Hung] = []
        landed: list[tuple[int, _Hung]] = []
        shown: dict[str, set[str]] = {}
        place = 0
        for number, rail in enumerate(rails):
            hanging = self._hanging(rail, rails[number + 1] if number + 1 < len(rails) else None)
            taken = {hung.node.id for hung in landing}
            hanging = [hung for hung in hanging if hung.node.id not in taken]
            shown[rail.name] = {hung.node.id for hung in hanging}
            out = rail.there and rail.nat
            begin = y
            y, landed = self._rail(y, rail, hanging, landed)
            landing = [hung for _, hung in landed]
            if out:
                place += 1
                self.canvas.put(SPINE, begin, self.signs.cross if place < ways else self.signs.end, "chart")
            if place < ways and ways:
                self.canvas.down(SPINE, begin + 1, y, self.signs.spine, "chart")

    def _hanging(self, rail: Rail, following: Rail | None) -> list[_Hung]:
        """By name; those that also reach the next rail last, as many as one row has."""
        edges = [edge for edge in self._on(rail.name) if self._alive(edge)]
        out: list[_Hung] = []
        between: list[_Hung] = []
        for edge in edges:
            node = self.nodes[edge.id]
            others = [one for one in self.links[edge.id] if one.network != rail.name]
            below = next((one for one in others if following is not None and one.network == following.name), None)
            if below is not None and len(between) < self.slots:
                rest = tuple(one.network for one in others if one is not below)
                between.append(_Hung(edge, node, below, rest))
            elif edge.id not in self.hidden or others:
                out.append(_Hung(edge, node, None, tuple(one.network for one in others)))
        return out + between

    def _rail(
        self, y: int, rail: Rail, hanging: list[_Hung], landed: list[tuple[int, _Hung]]
    ) -> tuple[int, list[tuple[int, _Hung]]]:
        canvas, signs = self.canvas, self.signs
        there, metal = rail.there, self._metal(rail)
        canvas.put(2, y, (signs.rail if there else signs.light) * (self.width - 4), metal)
        name = f.cut(f.neutral(rail.name), BRANCH - SPINE - 4)
        canvas.put(SPINE + 2, y, f" {name} ", "title" if there else "faint")
        for x, _ in landed:
            canvas.put(x, y, signs.land, metal)
        quiet = sum(edge.id in self.hidden for edge in self._on(rail.name))
        self._facts(y, rail, len(hanging) + len(landed) + quiet)
        rows = self._fold(hanging, bool(quiet))
        if there and (way := "internal, no way out" if rail.internal else f.neutral(rail.way)):
            self._beside(y, way, [x for x, _ in landed] + [self._stem(index) for index in range(len(rows[0]))])
        gone: list[tuple[int, _Hung]] = []
        begin = y
        for number, row in enumerate(rows):
            if number:
                last = number == len(rows) - 1
                canvas.put(BRANCH, y, signs.last if last else signs.on, metal)
                canvas.put(BRANCH + 1, y, signs.rail * (self.width - BRANCH - 3), metal)
                canvas.down(BRANCH, begin + 1, y, signs.spine, metal)
                begin = y
            elif len(rows) > 1:
                canvas.put(BRANCH, y, signs.off, metal)
            bottom = y
            for index, hung in enumerate(row):
                left = self._stem(index) - STEM
                if hung is None:
                    canvas.put(left + STEM, y, signs.hang, metal)
                    canvas.put(left + STEM, y + 1, signs.link, "faint")
                    canvas.put(left + STEM, y + 2, f"+ {quiet} quiet", "muted")
                    bottom = max(bottom, y + 2)
                    continue
                bottom = max(bottom, self._container(left, y, hung, metal))
                if hung.below is not None:
                    gone.append((left + STEM, hung))
            bottom = max(bottom, y + 3 if number == 0 else y)
            if number == len(rows) - 1 and gone:
                for x, hung in gone:
                    assert hung.below is not None
                    canvas.down(x, y + 3, bottom + 2, signs.link, "faint")
                    self._edge(x, bottom + 2, hung.below)
                bottom += 2
                y = bottom + 1
            else:
                y = bottom + 2
        return y, gone

    def _stem(self, index: int) -> int:
        """Column of the link in a slot."""
        return BRANCH + 1 + index * self.slot + STEM

    def _beside(self, y: int, words: str, stems: list[int]) -> None:
        """Words on a rail, as far to the right as they fit between what hangs there."""
        bounds = [BRANCH, *sorted(set(stems)), self.width - 4]
        gaps = [(end - begin - 5, end) for begin, end in itertools.pairwise(bounds)]
        room, end = max(gaps, key=lambda gap: (min(gap[0], f.width(words)), gap[1]))
        words = f.cut(words, room, self.glyphs.ellipsis)
        if words:
            self.canvas.put(end - f.width(words) - 3, y, f" {words} ", "muted")

    @staticmethod
    def _metal(rail: Rail) -> str:
        """What leads out is lit."""
        return "axis" if not rail.there else "muted" if rail.internal else "chart"

    def _fold(self, hanging: list[_Hung], quiet: bool) -> list[list[_Hung | None]]:
        """Rows of at most `slots`; None is the place of those that are only counted."""
        plain: list[_Hung | None] = [hung for hung in hanging if hung.below is None]
        between: list[_Hung | None] = [hung for hung in hanging if hung.below is not None]
        if quiet:
            plain.append(None)
        rows = [plain[at : at + self.slots] for at in range(0, len(plain), self.slots)] or [[]]
        if len(rows[-1]) + len(between) > self.slots:
            rows.append([])
        rows[-1] += between
        return rows

    def _facts(self, y: int, rail: Rail, number: int) -> None:
        """Below the rail's name, left of the branch."""
        canvas, room = self.canvas, BRANCH - SPINE - 4
        x = SPINE + 3
        if not rail.there:
            canvas.put(x, y + 1, "made by its first one" if rail.bridge else "its record is gone", "faint")
            return
        prefix = rail.subnet.partition("/")[2]
        if rail.gateway:
            canvas.put(x, y + 1, f.cut(f"{rail.gateway}/{prefix}", room), "muted")
        if number:
            canvas.line(x, y + 2, self._rates(("network", rail.name)))
        canvas.put(x, y + 3, f"{number} container{'' if number == 1 else 's'}", "faint")

    def _edge(self, x: int, y: int, edge: Edge) -> None:
        """`↓1.2M │ ↑340k`, each in cells of its own."""
        canvas, flow = self.canvas, self._flow(edge)
        style = _judged(flow)
        canvas.put(x, y, self.signs.link, "faint")
        if edge.counters is None:
            canvas.put(x + 2, y, "no link", "warn")
            return
        for bytes_, sign, at, align in (
            (flow.rx_bytes if flow else None, self.glyphs.down, x - 6, "right"),
            (flow.tx_bytes if flow else None, self.glyphs.up, x + 2, "left"),
        ):
            value = f.size(bytes_)
            still = value in ("0", "-")
            canvas.put(at, y, f.fit(value if still else f"{sign}{value}", 5, align), "faint" if still else style)

    def _address(self, address: str, room: int) -> str:
        """Its last parts where not all fit: the rail says how it begins."""
        while len(address) > room and "." in address.lstrip("."):
            address = "." + address.lstrip(".").partition(".")[2]
        return address

    def _container(self, left: int, y: int, hung: _Hung, metal: str) -> int:
        """Its slot below a rail; the last line used."""
        canvas, node, edge = self.canvas, hung.node, hung.edge
        x = left + STEM
        room = left + self.slot - x - 3
        canvas.put(x, y, self.signs.hang, metal)
        self._edge(x, y + 1, edge)
        self._name(node, x, y + 2, room)
        address = self._address(edge.address.partition("/")[0] or "no address", room)
        at = canvas.put(x + 2, y + 3, address, "faint")
        flow, counters = self._flow(edge), edge.counters
        if counters is not None and (counters.dropped or counters.errors):
            now = flow is not None and (flow.dropped or flow.errors)
            style = "bad" if now else "faint"
            text = " ".join(
                f"{f.count(value)} {word}"
                for value, word in ((counters.dropped, "drops"), (counters.errors, "errors"))
                if value
            )
            if at + 3 + len(text) <= left + self.slot:
                canvas.put(at + 2, y + 3, text, style)
            else:
                y += 1
                canvas.put(x + 2, y + 3, f.cut(text, room), style)
        bottom = y + 3
        if hung.elsewhere:
            bottom += 1
            canvas.put(x + 2, bottom, f.cut(f"also on {f.neutral(', '.join(hung.elsewhere))}", room), "muted")
        for other in self.sharing.get(node.id, ()):
            bottom += 1
            canvas.put(x, bottom, self.signs.shared, "faint")
            self._name(other, x + 2, bottom, room - 2)
        return bottom

    def _name(self, node: Node, x: int, y: int, room: int) -> int:
        """Glyph and name, to be pointed at; the column behind."""
        row = self.rows.get(node.id)
        failed = row is not None and row.failed
        state = "bad" if failed else {"running": "good", "paused": "warn"}.get(node.status, "faint")
        at = self.canvas.put(x, y, self.glyphs.state(node.status, failed=failed), state)
        name = f.cut(f.neutral(node.name), max(1, room), self.glyphs.ellipsis)
        at = self.canvas.put(at + 1, y, name, "strong" if node.status in ALIVE or failed else "muted")
        self.spots.append(Spot(node.id, x, y, at - x))
        return at

    def _aside(self) -> None:
        """Those that hang on nothing."""
        y = self.canvas.height + (1 if self.canvas.height else 0)
        alone = [node for node in self.graph.nodes if node.mode == "none" and node.status in ALIVE]
        orphans = [
            node
            for node in self.graph.nodes
            if node.mode == "container" and node.status in ALIVE and self._placed(node.shares)
        ]
        resting = [node for node in self.graph.nodes if node.status not in ALIVE]
        for title, nodes in (("no network", alone), ("shares a network", orphans), ("at rest", resting)):
            if nodes:
                y = self._list(title, nodes, y, REST_LINES)

    def _placed(self, owner: str) -> bool:
        """Nobody in the picture has this one's network."""
        return not any(edge.id == owner and self._alive(edge) and owner not in self.hidden for edge in self.graph.edges)

    def _list(self, title: str, nodes: Iterable[Node], y: int, most: int) -> int:
        """`title   ● one   ● two`, folded; the line after it."""
        canvas = self.canvas
        begin = SPINE + 3
        canvas.put(begin, y, title, "faint")
        x = left = begin + 20
        nodes = list(nodes)
        line = 0
        for place, node in enumerate(nodes):
            need = 2 + min(f.width(f.neutral(node.name)), 30)
            last = line == most - 1
            rest = f"and {len(nodes) - place} more"
            if x > left and x + need + (len(rest) + 3 if last and place < len(nodes) - 1 else 0) > self.width - 2:
                if last:
                    canvas.put(x, y + line, rest, "faint")
                    break
                x, line = left, line + 1
            x = self._name(node, x, y + line, min(30, self.width - x - 4)) + 3
        return y + line + 1


def _judged(flow: Flow | None) -> str:
    """Bytes that move are what one looks for."""
    return "accent" if flow is not None and (flow.rx_bytes >= 0.5 or flow.tx_bytes >= 0.5) else "faint"
