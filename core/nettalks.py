"""Who talks to whom: connections of containers by the tables of their sockets, and what the host's conntrack knows.

    sockets     sock_diag(7) in each network namespace: TCP connections that are open, with the bytes that the kernel
                itself counts for each (tcp_info); neighbours on one bridge are seen only here
    conntrack   ctnetlink on the host: everything that is routed, UDP and what has just ended too, with whoever is
                behind a published port; bytes, headers included, where net.netfilter.nf_conntrack_acct is on

The two are put together by who called whom on which port. Callers and called are containers by id, or else "host" or an
address. Reading needs root; a namespace that cannot be entered is left out.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

from pyctr.core.linux import namespaces, netlink
from pyctr.core.netgraph import ALIVE, local_addresses
from pyctr.core.subnets import to_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyctr.core.containers import Container
    from pyctr.core.netgraph import Graph

HOST = "host"
_SOCK_DIAG, _BY_FAMILY = 4, 20
_ESTABLISHED, _LISTEN = 1, 10
_INFO = 2
_BYTES = 120
"""Where struct tcp_info has tcpi_bytes_acked, and behind it tcpi_bytes_received (Linux 4.1)."""
_CONNTRACK_GET = 1 << 8 | 1
_PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp"}


class Talk(NamedTuple):
    """All connections of one to another's port."""

    source: str
    """Id of a container, "host" or an address: who called."""
    target: str
    port: int
    protocol: str
    connections: int
    """Open or remembered by conntrack."""
    sent: int | None
    """Bytes from the caller to the called, as far as they were counted; None if they were not."""
    received: int | None


class _Sum:
    __slots__ = ("connections", "received", "sent")

    def __init__(self) -> None:
        self.connections = 0
        self.sent: int | None = None
        self.received: int | None = None

    def add(self, sent: int | None, received: int | None) -> None:
        self.connections += 1
        if sent is not None and received is not None:
            self.sent = (self.sent or 0) + sent
            self.received = (self.received or 0) + received


_Key = tuple[str, str, int, str]


def talks(graph: Graph, containers: Iterable[Container], proc: str = "/proc") -> list[Talk]:
    """Of the containers of a graph that run, those with the most bytes first."""
    known = {container.id: container for container in containers}
    pids = {node.id: known[node.id].pid for node in graph.nodes if node.status in ALIVE and node.id in known}
    owners: dict[str, str] = {}
    for id in pids:
        network = known[id].state.network
        for each in (network, *(network.get("more") or ())):
            owners |= {str(each[key]).partition("/")[0]: id for key in ("address", "address6") if each.get(key)}
    own = {to_text(address) for address in local_addresses(proc)} | {"127.0.0.1", "::1"}
    published = {(port.host_port, port.protocol): (port.id, port.container_port) for port in graph.ports}

    def who(address: str) -> str:
        return owners.get(address) or (HOST if address in own else address)

    open_now: dict[_Key, _Sum] = {}
    for node in graph.nodes:
        if node.mode != "bridge" or not pids.get(node.id):
            continue
        for called, address, port, sent, received in _sockets(pids[node.id]):
            if called:
                if who(address) in pids:
                    continue  # told at the caller's end
                key = (who(address), node.id, port, "tcp")
                sent, received = received, sent
            else:
                target = who(address)
                if target == HOST and (port, "tcp") in published:
                    target, port = published[port, "tcp"]
                key = (node.id, target, port, "tcp")
            open_now.setdefault(key, _Sum()).add(sent, received)
    tracked: dict[_Key, _Sum] = {}
    for source, target, port, protocol, sent, received in _tracked():
        key = (who(source), who(target), port, protocol)
        if key[0] in pids or key[1] in pids:
            tracked.setdefault(key, _Sum()).add(sent, received)
    found = []
    for key in {**tracked, **open_now}:
        # a socket counts what arrived, and is there at once; conntrack remembers what has ended
        sums = [one for one in (open_now.get(key), tracked.get(key)) if one is not None]
        best = max(sums, key=lambda one: ((one.sent or 0) + (one.received or 0), one.connections))
        found.append(Talk(*key, max(one.connections for one in sums), best.sent, best.received))
    return sorted(found, key=lambda talk: (-(talk.sent or 0) - (talk.received or 0), -talk.connections, talk[:4]))


def _sockets(pid: int) -> Iterator[tuple[bool, str, int, int | None, int | None]]:
    """(whether the other one called, its address, the called one's port, bytes sent, bytes received) of every TCP
    connection of a process's network namespace but those with itself."""
    try:
        place = namespaces.open_namespace(pid, "network")
    except OSError:
        return  # it has just ended
    try:
        with namespaces.within(place, lambda: netlink.Netlink(_SOCK_DIAG)) as diag:
            rows = [row for family in (socket.AF_INET, socket.AF_INET6) for row in _dump(diag, family)]
    except OSError:
        return  # a kernel without sock_diag, or not ours to enter
    finally:
        os.close(place)
    listening = {port for state, _, port, _, _, _ in rows if state == _LISTEN}
    for state, address, port, remote, sent, received in rows:
        if state == _ESTABLISHED and not address.startswith("127.") and address != "::1":
            called = port in listening
            yield called, address, port if called else remote, sent, received


def _dump(diag: netlink.Netlink, family: int) -> Iterator[tuple[int, str, int, int, int | None, int | None]]:
    """(state, remote address, local port, remote port, bytes sent, bytes received); linux/inet_diag.h."""
    states = 1 << _ESTABLISHED | 1 << _LISTEN
    body = struct.pack("=BBBxI48x", family, socket.IPPROTO_TCP, 1 << (_INFO - 1), states)
    for _, payload in diag.dump(netlink.Message("list sockets", "", _BY_FAMILY, body, netlink.NLM_F_DUMP)):
        state = payload[1]
        local, remote = struct.unpack_from(">HH", payload, 4)
        raw = payload[24:40]
        if family == socket.AF_INET6 and raw.startswith(bytes(10) + b"\xff\xff"):
            address = socket.inet_ntoa(raw[12:])
        else:
            address = socket.inet_ntop(family, raw[: 4 if family == socket.AF_INET else 16])
        information = netlink.attributes(payload, 72).get(_INFO, b"")
        sent = received = None
        if len(information) >= _BYTES + 16:
            sent, received = struct.unpack_from("=QQ", information, _BYTES)
        yield state, address, local, remote, sent, received


def _tracked() -> Iterator[tuple[str, str, int, str, int | None, int | None]]:
    """(who called, who was really called, its port, protocol, bytes there, bytes back) of every flow that conntrack
    knows in this namespace; linux/netfilter/nfnetlink_conntrack.h."""
    request = netlink.Message("list flows", "", _CONNTRACK_GET, bytes(4), netlink.NLM_F_DUMP)
    try:
        with netlink.Netlink(netlink.NETLINK_NETFILTER) as there:
            payloads = [payload for _, payload in there.dump(request)]
    except OSError:
        return  # no conntrack in this kernel
    for payload in payloads:
        values = netlink.attributes(payload, 4)
        source, _, _, protocol = _tuple(values.get(1, b""))
        target, _, port, _ = _tuple(values.get(2, b""))
        if source and target and protocol in _PROTOCOLS:
            yield source, target, port, _PROTOCOLS[protocol], _bytes(values.get(9)), _bytes(values.get(10))


def _tuple(data: bytes) -> tuple[str, str, int, int]:
    """(source, destination, source port, protocol)."""
    parts = netlink.attributes(data)
    addresses = netlink.attributes(parts.get(1, b""))
    four = 1 in addresses
    family = socket.AF_INET if four else socket.AF_INET6
    source, destination = addresses.get(1 if four else 3, b""), addresses.get(2 if four else 4, b"")
    if len(source) != (4 if four else 16):
        return "", "", 0, 0
    proto = netlink.attributes(parts.get(2, b""))
    port = int.from_bytes(proto.get(2, b""), "big")
    number = (proto.get(1) or b"\0")[0]
    return socket.inet_ntop(family, source), socket.inet_ntop(family, destination), port, number


def _bytes(counters: bytes | None) -> int | None:
    if not counters:
        return None
    return int.from_bytes(netlink.attributes(counters).get(2, b""), "big")


def named(found: Iterable[Talk], graph: Graph) -> list[Talk]:
    """The same with containers by name."""
    names = {node.id: node.name for node in graph.nodes}
    return [
        talk._replace(source=names.get(talk.source, talk.source), target=names.get(talk.target, talk.target))
        for talk in found
    ]
