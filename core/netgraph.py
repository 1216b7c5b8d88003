"""The host's network as a graph: uplinks, networks, containers on them, published ports, and counters on every edge.

    internet ── Nic eth0 ── NAT ─┬─ Rail pyctr0 ──┬── Edge ── Node api
                                 │                └── Edge ── Node web          Published 0.0.0.0:8080 -> web:80
                                 └─ Rail backend (internal: no NAT)

Everything is read from files below `Paths.proc`, `Paths.root` and `Paths.run`, so a recorded host gives the graph
it had. One graph costs one read of net/dev, which is cheaper than a netlink dump from a few links on. Rates come from
two graphs: `flows(before, after)`.
"""

from __future__ import annotations

import os
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

from pyctr.core import netns
from pyctr.core.linux import procfs
from pyctr.core.netdrivers import CNI, FACES
from pyctr.core.subnets import DEFAULT, to_int, to_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.core.paths import Paths

SKIPPED = ("lo", "veth", "ifb", "dummy", "tunl", "sit", "gre", "erspan", "ip6tnl", "ip_vti", "bonding_masters")
"""Beginnings of names that are no way to other hosts."""
ALIVE = frozenset({"running", "paused"})
_FAR = (*FACES, CNI)
"""Drivers whose links have no end on the host that is known to us."""


class Counters(NamedTuple):
    """Since the link was made, as whoever is at the end of the edge sees it: rx is what it received."""

    rx_bytes: int = 0
    tx_bytes: int = 0
    rx_packets: int = 0
    tx_packets: int = 0
    errors: int = 0
    dropped: int = 0

    def swapped(self) -> Counters:
        """The same link seen from its other end."""
        return Counters(self.tx_bytes, self.rx_bytes, self.tx_packets, self.rx_packets, self.errors, self.dropped)


class Nic(NamedTuple):
    """An interface of the host that is not ours."""

    name: str
    addresses: tuple[str, ...]
    """"192.0.2.10/24"; empty when unknown."""
    gateway: str
    """Next hop of the default route through it, "" when there is none."""
    uplink: bool
    """The default route with the lowest metric goes here."""
    counters: Counters
    bridge: bool = False
    """A bridge of somebody else: docker0, cni0, podman0, virbr0."""


class Rail(NamedTuple):
    """A network of ours."""

    name: str
    bridge: str
    subnet: str
    gateway: str
    internal: bool
    """No way out: no NAT, no default route."""
    there: bool
    """Its bridge exists; it is made by the first container."""
    counters: Counters
    """Of the bridge, from the containers' side: rx is what came in from the host."""
    driver: str = "bridge"
    """macvlan and ipvlan have no bridge: `bridge` is the parent interface then."""
    way: str = ""
    """What its containers leave by where NAT is not all: "macvlan on eth1", "vxlan 42 to 192.0.2.11"."""

    @property
    def nat(self) -> bool:
        """Whether what leaves it gets the host's address."""
        return not self.internal and self.driver in ("bridge", "overlay")


class Edge(NamedTuple):
    """A container's link to a network."""

    id: str
    network: str
    host_if: str
    address: str
    mac: str
    counters: Counters | None
    """The container's own view; None while it has no link."""
    number: int = 0
    """Of its links: 0 for eth0, the way out."""

    @property
    def key(self) -> str:
        """What tells this edge from the others, the same from graph to graph."""
        return f"{self.id}@{self.network}" if self.number else self.id


class Node(NamedTuple):
    """A container."""

    id: str
    name: str
    status: str
    mode: str
    """bridge, host, none or container."""
    shares: str
    """For mode container: the id of the container whose network this is, "" when it is gone."""


class Published(NamedTuple):
    """A published port."""

    id: str
    name: str
    network: str
    host_ip: str
    """"" means every address of the host."""
    host_port: int
    protocol: str
    address: str
    container_port: int

    def __str__(self) -> str:
        host = f"{self.host_ip}:" if self.host_ip else ":"
        protocol = "" if self.protocol == "tcp" else f"/{self.protocol}"
        return f"{host}{self.host_port}→{self.name}:{self.container_port}{protocol}"


class Flow(NamedTuple):
    """Rates per second between two graphs."""

    rx_bytes: float
    tx_bytes: float
    dropped: float
    errors: float


class Graph(NamedTuple):
    """One moment. Networks in the order of `Networks.list`, nodes and edges by container name."""

    taken: float
    """time.monotonic()"""
    networks: tuple[Rail, ...]
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    ports: tuple[Published, ...]
    nics: tuple[Nic, ...]

    def on(self, network: str) -> list[tuple[Edge, Node]]:
        """What hangs on a network."""
        nodes = {node.id: node for node in self.nodes}
        return [(edge, nodes[edge.id]) for edge in self.edges if edge.network == network]

    @property
    def uplink(self) -> Nic | None:
        return next((nic for nic in self.nics if nic.uplink), None)


def graph(
    engine: Engine,
    containers: Iterable[Container],
    statuses: Mapping[str, str] | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Graph:
    """The graph now. `statuses` saves asking the kernel again for what the caller knows; ids not in it are asked."""
    paths = engine.paths
    counters = _counters(paths.proc)
    known = sorted(containers, key=lambda container: container.name)
    by_reference = {reference: each.id for each in known for reference in (each.id, each.short_id, each.name)}
    nodes, edges, ports = [], [], []
    veths = _veths(counters)
    records = engine.networks.list()
    drivers = {record.name: record.driver for record in records}
    for container in known:
        status = (statuses or {}).get(container.id) or container.status
        attachment = container.state.network
        mode, _, reference = container.spec.network.partition(":")
        if mode not in ("host", "none", "container"):
            mode = "bridge"
        nodes.append(Node(container.id, container.name, status, mode, by_reference.get(reference, "")))
        if mode != "bridge":
            continue
        network = str(attachment.get("network") or container.spec.network or DEFAULT)
        address = str(attachment.get("address") or "")
        wished: list[dict[str, Any]] = [{"network": name} for name in container.spec.endpoints]
        for place, each in enumerate((attachment, *(attachment.get("more") or wished))):
            # "eth1": a link keeps its number when those before it go
            number = int(str(each.get("container_if") or f"eth{place}")[3:] or 0)
            host_if = veths.get((container.id[:8], number), "")
            on = network if each is attachment else str(each["network"])
            seen = None
            if host_if and status in ALIVE:
                seen = counters[host_if].swapped()
            elif status in ALIVE and drivers.get(on) in _FAR:
                seen = _inside(paths.proc, container, f"eth{number}")
            words = str(each.get("address") or ""), str(each.get("mac") or "")
            edges.append(Edge(container.id, on, host_if, *words, seen, place))
        published = attachment.get("ports")
        if status in ALIVE and isinstance(published, list):
            ports += [
                Published(
                    container.id,
                    container.name,
                    network,
                    str(port["host_ip"]),
                    int(port["host_port"]),
                    str(port["protocol"]),
                    address.partition("/")[0],
                    int(port["container_port"]),
                )
                for port in published
            ]
    rails = []
    for record in records:
        # plugins tell nobody what they made
        there = record.bridge in counters or record.driver == CNI
        seen = counters.get(record.bridge) or Counters()
        if record.driver not in FACES:
            seen = seen.swapped()
        rails.append(
            Rail(
                record.name,
                record.bridge,
                record.subnet,
                record.gateway,
                record.internal,
                there,
                seen,
                record.driver,
                _way(record.driver, record.bridge, record.options),
            )
        )
    parents = {rail.bridge for rail in rails if rail.driver in FACES}
    parents |= {record.options.get("dev", "") for record in records}
    ours = {rail.bridge for rail in rails if rail.driver in ("bridge", "overlay")}
    return Graph(
        clock(), tuple(rails), tuple(nodes), tuple(edges), tuple(ports), tuple(_nics(paths, counters, ours, parents))
    )


def flows(before: Graph, after: Graph) -> dict[tuple[str, str], Flow]:
    """Rates by ("edge", id), ("network", name), ("nic", name). A counter that went back (a new link) has no rate."""
    seconds = after.taken - before.taken
    if seconds <= 0:
        return {}
    old = _all(before)
    rates = {}
    for key, now in _all(after).items():
        then = old.get(key)
        if then is None or now.rx_bytes < then.rx_bytes or now.tx_bytes < then.tx_bytes:
            continue
        rates[key] = Flow(
            (now.rx_bytes - then.rx_bytes) / seconds,
            (now.tx_bytes - then.tx_bytes) / seconds,
            max(0, now.dropped - then.dropped) / seconds,
            max(0, now.errors - then.errors) / seconds,
        )
    return rates


def _all(graph: Graph) -> dict[tuple[str, str], Counters]:
    found = {("edge", edge.key): edge.counters for edge in graph.edges if edge.counters is not None}
    found |= {("network", rail.name): rail.counters for rail in graph.networks if rail.there}
    found |= {("nic", nic.name): nic.counters for nic in graph.nics}
    return found


def _read(proc: str, name: str) -> bytes:
    """A file of the host's network namespace; recordings keep that of the first process."""
    for directory in ("net", "1/net"):
        try:
            with open(f"{proc}/{directory}/{name}", "rb") as file:
                return file.read()
        except OSError:
            continue
    return b""


def _counters(proc: str) -> dict[str, Counters]:
    return _parsed(_read(proc, "dev"))


def _parsed(table: bytes) -> dict[str, Counters]:
    found = {}
    for name, (rxb, rxp, rxe, rxd, txb, txp, txe, txd) in procfs.parse_net_dev(table).items():
        found[name] = Counters(rxb, txb, rxp, txp, rxe + txe, rxd + txd)
    return found


def _veths(names: Iterable[str]) -> dict[tuple[str, int], str]:
    """(first digits of a container's id, number of its link) -> name. net/dev lists links in the order they were made,
    the last counts."""
    return {(owner, netns.number(name)): name for name in names if (owner := netns.owner(name))}


def _routes(proc: str) -> list[tuple[str, int, int, int, int]]:
    """(interface, destination, mask, gateway, metric) of the main table, proc_net(5): numbers as the CPU has them."""
    found = []
    for line in _read(proc, "route").decode(errors="replace").splitlines()[1:]:
        words = line.split()
        if len(words) >= 8:
            destination, gateway, mask = (_hex(words[column]) for column in (1, 2, 7))
            found.append((words[0], destination, mask, gateway, int(words[6])))
    return found


def _hex(text: str) -> int:
    return int(struct.unpack("=I", struct.pack(">I", int(text, 16)))[0])


def local_addresses(proc: str) -> list[int]:
    """Addresses of the host itself, from net/fib_trie."""
    found = set()
    address = ""
    for line in _read(proc, "fib_trie").decode(errors="replace").splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == "|--":
            address = words[1]
        elif words == ["/32", "host", "LOCAL"]:
            found.add(to_int(address))
    return sorted(found)


def _way(driver: str, bridge: str, options: Mapping[str, str]) -> str:
    if driver == "overlay":
        through = f" through {options['dev']}" if options.get("dev") else ""
        return f"vxlan {options.get('vni', '')} to {options.get('peers', '').replace(',', ', ')}{through}"
    if driver in FACES:
        return f"{driver} on {bridge}"
    return "cni plugins" if driver == CNI else ""


def _inside(proc: str, container: Container, interface: str) -> Counters | None:
    """Of a link that has no end here, as the container's first process sees it."""
    process = container.state.process
    try:
        with open(f"{proc}/{process.pid if process else 0}/net/dev", "rb") as file:
            found = _parsed(file.read())
    except OSError:
        return None  # it has just ended
    return found.get(interface)


def _nics(paths: Paths, counters: dict[str, Counters], ours: set[str], parents: set[str]) -> list[Nic]:
    routes = _routes(paths.proc)
    local = local_addresses(paths.proc)
    defaults = sorted(
        (metric, name, gateway) for name, destination, mask, gateway, metric in routes if not destination | mask
    )
    up = defaults[0][1] if defaults else ""
    nics = []
    for name, seen in counters.items():
        addresses = tuple(
            f"{to_text(address)}/{mask.bit_count()}"
            for interface, destination, mask, _, _ in routes
            for address in local
            if interface == name and mask and address & mask == destination
        )
        gateway = next((to_text(hop) for _, interface, hop in defaults if interface == name and hop), "")
        quiet = (name.startswith(SKIPPED) and not gateway) or not (addresses or name == up)
        if name in ours or (quiet and name not in parents):
            continue
        foreign = os.path.isdir(f"{paths.sys}/class/net/{name}/bridge")
        nics.append(Nic(name, addresses, gateway, name == up, seen, foreign))
    return sorted(nics, key=lambda nic: (not nic.uplink, nic.name))
