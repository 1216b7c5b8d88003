"""Masquerade, published ports and protection of one bridge, in a table of its own.

    table ip pyctr0 {                                   # comment: what it was made for; anything else is remade
        map ports    { proto . port -> address . port }              -p 8080:80
        map ports_ip { address . proto . port -> address . port }    -p 127.0.0.1:8080:80
        map classes  { address -> class }                            --network-class 1:10
        chain guard       prerouting -300   from the bridge to 127.0.0.0/8: drop (route_localnet opens that door)
        chain prerouting  dstnat            to a local address: jump dnat
        chain output      dstnat            the same for this host's own connections, to 127.0.0.1 too, but not to ::1
        chain dnat                          dnat to map ports_ip, else map ports
        chain forward     filter            from the bridge: its class
                                            into the bridge: replies, published ports, its own containers; else drop
        chain input       filter            IPv6, of an internal bridge: to this host replies only, for its own sockets
                                            may be the doors (`runtime/doors`) of another network's ports
        chain postrouting srcnat            out of the bridge's network, hairpin, from 127.0.0.1: masquerade
    }

A published port is one map element: adding, removing and matching cost the same with one port and with a thousand.
The forward chain also keeps networks apart, because another bridge's containers are "else".

An accept here does not outvote another table's drop: see `forwardrules`, which are safe because the drop in `forward`
above still holds.
"""

from __future__ import annotations

import errno
import os
import sys

from pyctr.core import forwardrules, hostports
from pyctr.core.linux import nftables as nf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Entries = list[tuple[bytes, bytes, str]]
    """(key, value, comment) of a map."""

_ICMPV6 = 58
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_STAMP = "pyctr rules 4"


_parked: list[tuple[int, nf.Nft]] = []


class Session:
    """An nfnetlink socket that is not closed but kept for the next use by this process.

    Closing any such socket waits for an RCU grace period (2 to 30 ms) when something was deleted just before
    (nft_rcv_nl_event() flushes the kernel's destroy list), and we would wait with the lock of the leases held.
    """

    def __enter__(self) -> nf.Nft:
        try:
            pid, self._socket = _parked.pop()
        except IndexError:
            pid = 0
        if pid != os.getpid():  # none, or inherited by a fork: possibly from another network namespace
            self._socket = nf.Nft()
        return self._socket

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is None and not _parked:
            _parked.append((os.getpid(), self._socket))
        else:
            self._socket.close()


_SILENT = (errno.EINVAL, errno.EPROTONOSUPPORT, errno.EOPNOTSUPP)
"""What a kernel answers to what it has no part for."""
_spoken: list[bool] = []


def spoken() -> bool:
    """Whether this kernel has nf_tables; what it has instead is `iptables`' affair. Raises OSError."""
    if not _spoken:
        try:
            with Session() as socket:
                socket.table("pyctr")
            _spoken.append(True)
        except OSError as error:
            if error.errno not in _SILENT:
                raise
            _spoken.append(False)
    return _spoken[0]


def stamp(subnet: str, internal: bool) -> str:
    """The comment of a table that needs no change."""
    return f"{_STAMP} {subnet}{' internal' if internal else ''}"


def ensure(
    bridge: str,
    subnet: str,
    *,
    internal: bool = False,
    ports: Iterable[tuple[str, dict[str, Any]]] = (),
    proc: str,
    subnet6: str = "",
    classes: Iterable[tuple[str, int, str]] = (),
    thorough: bool = False,
    dry: bool = False,
) -> bool:
    """Make the table of a bridge unless it is there, and the accepts in iptables' FORWARD unless they are there.

    `ports` are (address, port document) of everything published by now, for a table that somebody flushed, `classes`
    (address, traffic class, whose). With
    `thorough` a table counts as there when it has all of its rules and ports. Returns whether anything had to be done,
    which with `dry` is not. Raises OSError.
    """
    changed = False
    if not spoken():
        from pyctr.core import iptables

        ports = list(ports)
        for family, net in ((nf.IPV4, subnet), (nf.IPV6, subnet6)):
            if net:
                wanted = split(family, ports)
                made = stamp(net, internal)
                changed |= iptables.ensure(family, bridge, net, made, wanted, thorough=thorough, dry=dry)
        return forwardrules.accept_legacy(bridge, proc, dry=dry) or changed
    with Session() as socket:
        for family, net in ((nf.IPV4, subnet), (nf.IPV6, subnet6)):
            if not net:
                continue
            before = socket.table(bridge, family)
            if thorough or before != stamp(net, internal):
                ports, classes = list(ports), list(classes)
            entries = _classes(family, classes) if thorough else []
            whole = not thorough or _whole(socket, bridge, net, internal, ports, entries)
            if before != stamp(net, internal) or not whole:
                changed = True
                if dry:
                    continue
                batch = nf.Batch(family)
                if before is not None:
                    batch.delete_table(bridge)
                table(batch, bridge, net, internal)
                _add(batch, bridge, ports)
                if not internal:
                    batch.add_ports(bridge, "classes", _classes(family, classes))
                batch.send(socket)
            changed = forwardrules.accept(socket, bridge, family, dry=dry) or changed
        changed = forwardrules.accept(socket, bridge, nf.INET, dry=dry) or changed
    return forwardrules.accept_legacy(bridge, proc, dry=dry) or changed


def _classes(family: int, classes: Iterable[tuple[str, int, str]]) -> Entries:
    """Entries of a family's map of classes."""
    return [nf.class_entry(*each) for each in classes if (":" in each[0]) == (family == nf.IPV6)]


def _whole(
    socket: nf.Nft, bridge: str, subnet: str, internal: bool, ports: Iterable[tuple[str, Any]], classes: Entries
) -> bool:
    """Whether each chain of a table has as many rules as it was made with, and each published port is there, and each
    class."""
    batch = nf.Batch(nf.IPV6 if ":" in subnet else nf.IPV4)
    table(batch, bridge, subnet, internal)
    rules = [message.name for message in batch.messages if message.what == "add rule"]
    for chain in set(rules):
        if len(socket.rules(bridge, chain, batch.family)) != rules.count(chain):
            return False
    maps = split(batch.family, ports)
    if not internal:
        maps["classes"] = classes
    for name, wanted in maps.items():
        there = {key: value for key, value, _ in socket.ports(bridge, name, batch.family)}
        if any(there.get(key) != value for key, value, _ in wanted):
            return False
    return True


def table(batch: nf.Batch, bridge: str, subnet: str, internal: bool) -> None:
    family = batch.family
    wide = 1 if family == nf.IPV4 else 4
    batch.table(bridge, stamp(subnet, internal))
    batch.port_map(bridge, "ports", with_address=False)
    batch.port_map(bridge, "ports_ip", with_address=True)
    if not internal:
        batch.class_map(bridge, "classes")
    batch.chain(bridge, "guard", hook=nf.PREROUTING, priority=-300)
    batch.chain(bridge, "prerouting", hook=nf.PREROUTING, priority=-100, kind="nat")
    batch.chain(bridge, "output", hook=nf.OUTPUT, priority=-100, kind="nat")
    batch.chain(bridge, "dnat")
    batch.chain(bridge, "forward", hook=nf.FORWARD)
    batch.chain(bridge, "postrouting", hook=nf.POSTROUTING, priority=100, kind="nat")
    guarded = internal and family == nf.IPV6
    if guarded:
        batch.chain(bridge, "input", hook=nf.INPUT)

    def rule(chain: str, *expressions: bytes) -> None:
        batch.rule(bridge, chain, *expressions)

    local = nf.address_type() + nf.cmp(b"\2\0\0\0" if _LITTLE else b"\0\0\0\2")
    bridged = nf.iif(bridge)
    if family == nf.IPV4:
        rule("guard", bridged, nf.destination("127.0.0.0/8"), nf.counter(), nf.verdict(nf.DROP))
    else:
        # the kernel would drop what comes from there on the bridge: it is for `runtime/doors`
        rule("output", nf.destination("::1"), nf.verdict(nf.ACCEPT))
    for chain in ("prerouting", "output"):
        rule(chain, local, nf.verdict(nf.JUMP, "dnat"))
    r = nf.R0
    rule(
        "dnat",
        nf.daddr(r, family)
        + nf.meta(nf.L4PROTO, r + wide)
        + nf.dport(r + wide + 1)
        + nf.lookup("ports_ip", r, r)
        + nf.dnat(r, r + wide, family),
    )
    rule("dnat", nf.meta(nf.L4PROTO, r) + nf.dport(r + 1) + nf.lookup("ports", r, r) + nf.dnat(r, r + wide, family))

    into = nf.oif(bridge)
    related = nf.ct(nf.CT_STATE) + nf.bitmask(nf.ESTABLISHED | nf.RELATED) + nf.cmp(bytes(4), nf.NEQ)
    published = nf.ct(nf.CT_STATUS) + nf.bitmask(nf.DNATED) + nf.cmp(bytes(4), nf.NEQ)
    foreign = nf.iif(bridge, nf.NEQ)
    if guarded:
        unasked = nf.ct(nf.CT_STATE) + nf.bitmask(nf.ESTABLISHED | nf.RELATED) + nf.cmp(bytes(4))
        # neighbours are found by ICMPv6
        protocol = nf.meta(nf.L4PROTO) + nf.cmp(bytes([_ICMPV6]), nf.NEQ)
        rule("input", bridged, protocol, unasked, nf.counter(), nf.verdict(nf.DROP))
    if not internal:
        # forwarding gives every packet a priority by its type of service, before this
        rule("forward", bridged, nf.saddr(r, family) + nf.lookup("classes", r, r) + nf.set_priority(r))
    rule("forward", foreign, into, related, nf.verdict(nf.ACCEPT))
    rule("forward", foreign, into, published, nf.verdict(nf.ACCEPT))
    rule("forward", foreign, into, nf.counter(), nf.verdict(nf.DROP))
    if internal:
        rule("forward", bridged, nf.oif(bridge, nf.NEQ), nf.counter(), nf.verdict(nf.DROP))
    else:
        rule("postrouting", nf.source(subnet), nf.oif(bridge, nf.NEQ), nf.counter(), nf.masquerade())
    # a container that reaches itself or a neighbour through a published port: without a new source the answer would
    # go straight back over the bridge, from an address the caller never spoke to
    rule("postrouting", nf.source(subnet), into, published, nf.masquerade())
    if family == nf.IPV4:
        rule("postrouting", nf.source("127.0.0.0/8"), into, nf.masquerade())


_LITTLE = sys.byteorder == "little"


def split(family: int, ports: Iterable[tuple[str, dict[str, Any]]], id: str = "") -> dict[str, Entries]:
    """Entries of the two maps of a family's table: of the addresses, inside and of the host, that are of it."""
    entries: dict[str, dict[bytes, tuple[bytes, bytes, str]]] = {}
    for address, port in ports:
        host_ip = port.get("host_ip") or ""
        if host_ip in ("0.0.0.0", "*"):
            host_ip = ""
        if (":" in address) != (family == nf.IPV6) or (host_ip and (":" in host_ip) != (family == nf.IPV6)):
            continue
        if family == nf.IPV6:
            way, _ = hostports.ways6(host_ip, True)
            if way is None or port.get("only4"):
                continue
            host_ip = way
        key = nf.port_key(PROTOCOLS[port.get("protocol") or "tcp"], port["host_port"], host_ip)
        value = nf.port_value(address, port["container_port"])
        # "" and "::" are the same here: an entry can be deleted once
        entries.setdefault("ports_ip" if host_ip else "ports", {})[key] = key, value, port.get("owner") or id[:12]
    return {name: list(found.values()) for name, found in entries.items()}


def _add(batch: nf.Batch, bridge: str, ports: Iterable[tuple[str, dict[str, Any]]], id: str = "") -> None:
    for name, entries in split(batch.family, ports, id).items():
        batch.add_ports(bridge, name, entries)


def publish(attachment: dict[str, Any]) -> None:
    """Forward an attachment's ports to it, all or none. Raises OSError.

    The leases say whose a port is: an entry in its place was left by a container whose end nobody saw.
    """
    ports = attachment.get("ports")
    if not ports:
        return
    for family, addressed in _targets(attachment):
        if entries := split(family, addressed, attachment.get("id", "")):
            _publish(family, attachment["bridge"], entries)


def _targets(attachment: dict[str, Any]) -> list[tuple[int, list[tuple[str, dict[str, Any]]]]]:
    """(family, (address, port) of each port) of the addresses that a container has."""
    found = []
    for family, key in ((nf.IPV4, "address"), (nf.IPV6, "address6")):
        if address := str(attachment.get(key) or "").partition("/")[0]:
            found.append((family, [(address, port) for port in attachment["ports"]]))
    return found


def _publish(family: int, bridge: str, entries: dict[str, Entries]) -> None:
    if not spoken():
        from pyctr.core import iptables

        iptables.publish(family, bridge, entries)
        return
    with Session() as socket:
        batch = nf.Batch(family)
        for name, wanted in entries.items():
            batch.add_ports(bridge, name, wanted)
        try:
            batch.send(socket)
            return
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.EBUSY):
                raise
        batch = nf.Batch(family)
        for name, wanted in entries.items():
            there = {key for key, _, _ in socket.ports(bridge, name, family)}
            batch.delete_ports(bridge, name, (key for key, _, _ in wanted if key in there))
            batch.add_ports(bridge, name, wanted)
        batch.send(socket)


def classify(attachment: dict[str, Any]) -> None:
    """Give what an attachment's container sends beyond its bridge the traffic class that it has, or none. Raises
    OSError."""
    if attachment.get("internal") or "driver" in attachment:
        return
    if not spoken():
        if attachment.get("net_class"):
            raise OSError(errno.EOPNOTSUPP, "traffic classes need nf_tables, which this kernel has not")
        return
    with Session() as socket:
        for family, key in ((nf.IPV4, "address"), (nf.IPV6, "address6")):
            address = str(attachment.get(key) or "").partition("/")[0]
            if not address:
                continue
            entry = nf.class_entry(address, attachment.get("net_class") or 0, attachment["id"][:12])
            there = {key: value for key, value, _ in socket.ports(attachment["bridge"], "classes", family)}
            batch = nf.Batch(family)
            if entry[0] in there:
                batch.delete_ports(attachment["bridge"], "classes", [entry[0]])
            if attachment.get("net_class"):
                batch.add_ports(attachment["bridge"], "classes", [entry])
            batch.send(socket)


def unpublish(attachment: dict[str, Any], *, looked: bool = False) -> None:
    """Take an attachment's ports out, as far as they are there. They are its own, or with `looked` those that lead to
    it. Fits the shim."""
    ports = attachment.get("ports")
    if not ports:
        return
    for family, addressed in _targets(attachment):
        if entries := split(family, addressed):
            _unpublish(family, attachment["bridge"], entries, looked)


def _unpublish(family: int, bridge: str, entries: dict[str, Entries], looked: bool) -> None:
    if not spoken():
        from pyctr.core import iptables

        iptables.unpublish(family, bridge, entries)
        return
    with Session() as socket:
        if not looked:
            batch = nf.Batch(family)
            for name, wanted in entries.items():
                batch.delete_ports(bridge, name, (key for key, _, _ in wanted))
            try:
                batch.send(socket)
                return
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise
        # somebody flushed the table or half of it: take what is ours, one by one
        batch = nf.Batch(family)
        for name, wanted in entries.items():
            there = {key: value for key, value, _ in socket.ports(bridge, name, family)}
            batch.delete_ports(bridge, name, (key for key, value, _ in wanted if there.get(key) == value))
        batch.send(socket)


def remove(bridge: str, *, proc: str) -> None:
    """Take out everything `ensure` and `publish` put in for this bridge. Nothing there is fine."""
    if not spoken():
        from pyctr.core import iptables

        iptables.remove(bridge)
        forwardrules.remove_legacy(bridge, proc)
        return
    with Session() as socket:
        for family in (nf.IPV4, nf.IPV6, nf.NETDEV):
            before = socket.table(bridge, family)
            if before is not None and before.startswith("pyctr"):
                batch = nf.Batch(family)
                batch.delete_table(bridge)
                batch.send(socket)
        forwardrules.remove(socket, bridge)
    forwardrules.remove_legacy(bridge, proc)
