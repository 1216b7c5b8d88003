"""What a bridge network needs of the host's network namespace: a subnet nobody uses, the device, three sysctls."""

from __future__ import annotations

import os
from os import unlink

from pyctr.core import netns
from pyctr.core.fsutil import read_json, write_json
from pyctr.core.linux import netlink, rtmessages
from pyctr.core.subnets import mac_of, parse_subnet, to_int, to_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    Used = list[tuple[str, str]]


def used_subnets(bridge: str) -> Used:
    """(subnet, whose in words) of every route and address of this host, but for those of `bridge`."""
    with netlink.Netlink() as socket:
        names = {link.index: link.name for link in socket.links(stats=False)}
        routes = [(route.destination, names.get(route.oif, "?")) for route in socket.routes()]
        addresses = [(address, names.get(index, "?")) for index, address in socket.addresses()]
    return [
        (subnet, f"interface '{name}'")
        for subnet, name in routes + addresses
        if not subnet.endswith("/0") and name != bridge
    ]


def used_prefixes(bridge: str) -> Used:
    """The same for IPv6."""
    with netlink.Netlink() as socket:
        names = {link.index: link.name for link in socket.links(stats=False)}
        found = [(prefix, names.get(index, "?")) for index, prefix in socket.prefixes6()]
    return [(prefix, f"interface '{name}'") for prefix, name in found if name != bridge]


def adopted_subnet(bridge: str) -> str:
    """The subnet of a bridge of ours that outlived its record, or ""."""
    with netlink.Netlink() as socket:
        links = socket.links(name=bridge, stats=False)
        if not links or links[0].kind != "bridge":
            return ""
        for index, address in socket.addresses():
            if index == links[0].index and not address.endswith(("/31", "/32")):
                first, size = parse_subnet(address)
                ours = to_int(address.partition("/")[0]) == first + 1
                return f"{to_text(first)}/{33 - size.bit_length()}" if ours else ""
    return ""


def raise_bridge(
    socket: netlink.Netlink, bridge: str, gateway: str, length: str, *, proc: str, there: bool, mtu: int = 0
) -> int:
    """Make a bridge unless it is there, give it its address and set it up; its MTU, the uplink's unless given.
    Raises OSError."""
    mtu = mtu or uplink_mtu(socket)
    if not there:
        socket.send([rtmessages.bridge(bridge, mtu=mtu, mac=rtmessages.mac(mac_of(gateway)), up=False)])
    index = netlink.index(bridge)
    netns.deaf(bridge, proc)
    socket.send([rtmessages.address(index, f"{gateway}/{length}", name=bridge), rtmessages.up(index, bridge)])
    return mtu


def uplink_mtu(socket: netlink.Netlink) -> int:
    """MTU of the interface of the default route with the lowest metric, 1500 without one."""
    defaults = [r for r in socket.routes() if r.destination == "0.0.0.0/0" and r.table == netlink.RT_TABLE_MAIN]
    if defaults:
        best = min(defaults, key=lambda route: route.metric)
        for link in socket.links(stats=False):
            if link.index == best.oif:
                return link.mtu
    return 1500


FORWARD = "ipv4/ip_forward"
FORWARD6 = "ipv6/conf/all/forwarding"
_RTF_ADDRCONF = 0x40000


def forward(proc: str, memory: str, sysctl: str = FORWARD) -> None:
    """Switch forwarding on. What it was is written to the file `memory` first, for `restore_forwarding`.

    A host that forwards IPv6 believes no router advertisement any more (ip-sysctl.rst, accept_ra) unless it is told to:
    interfaces that took their addresses from one are.
    """
    path = f"{proc}/sys/net/{sysctl}"
    with open(path) as file:
        before = file.read().strip()
    if before == "1":
        return
    if sysctl == FORWARD6:
        _keep_advertised(proc, f"{memory}.ra")
    write_json(memory, before, durable=False)
    with open(path, "w") as file:
        file.write("1")


def _keep_advertised(proc: str, memory: str) -> None:
    directory = f"{proc}/sys/net/ipv6/conf"
    living = _advertised(proc)
    with netlink.Netlink() as socket:
        # a macvlan, veth or bridge is an uplink when it lives on advertisements now; else it may be a container's, who
        # is not to become a router by saying so
        uplinks = {
            link.name
            for link in socket.links(stats=False)
            if link.up and not link.master and (link.kind in ("", "bond", "vlan") or link.name in living)
        }
    changed = []
    for name in sorted(uplinks - {"lo"}):
        try:
            with open(f"{directory}/{name}/accept_ra", "r+") as file:
                if file.read(1) == "1":
                    changed.append(name)
                    write_json(memory, changed, durable=False)
                    file.seek(0)
                    file.write("2")
        except FileNotFoundError:
            continue  # no IPv6 on it


def _advertised(proc: str) -> set[str]:
    """Interfaces that have routes from router advertisements: RTF_ADDRCONF of /proc/net/ipv6_route."""
    try:
        with open(f"{proc}/net/ipv6_route") as file:
            routes = [line.split() for line in file.read().splitlines()]
    except FileNotFoundError:
        return set()  # a kernel without IPv6
    return {words[9] for words in routes if int(words[8], 16) & _RTF_ADDRCONF}


def restore_forwarding(proc: str, memory: str, sysctl: str = FORWARD) -> None:
    """Give forwarding back as it was found, unless somebody else's bridge may have come to rely on it."""
    try:
        before = read_json(memory)
    except FileNotFoundError:
        return
    with netlink.Netlink() as socket:
        if socket.links(kind="bridge", stats=False):
            return
    with open(f"{proc}/sys/net/{sysctl}", "w") as file:
        file.write(before)
    unlink(memory)
    if os.path.exists(f"{memory}.ra"):
        for name in read_json(f"{memory}.ra"):
            try:
                with open(f"{proc}/sys/net/ipv6/conf/{name}/accept_ra", "w") as file:
                    file.write("1")
            except FileNotFoundError:
                continue  # that interface is gone
        unlink(f"{memory}.ra")


def open_localnet(proc: str, bridge: str) -> None:
    """Let this host's 127.0.0.1 be translated onto the bridge; the table's `guard` keeps the way back shut."""
    with open(f"{proc}/sys/net/ipv4/conf/{bridge}/route_localnet", "r+") as file:
        if file.read(1) != "1":
            file.seek(0)
            file.write("1")


def mute6(proc: str, bridge: str) -> None:
    """Let a bridge without IPv6 addresses have no link-local one either, to which its containers could talk."""
    try:
        with open(f"{proc}/sys/net/ipv6/conf/{bridge}/disable_ipv6", "r+") as file:
            if file.read(1) != "1":
                file.seek(0)
                file.write("1")
    except FileNotFoundError:
        pass  # a kernel without IPv6


def filtered(proc: str) -> bool:
    """Whether br_netfilter translates addresses already on a bridge: a container's call to its own published port then
    leaves by the port it came from, which a bridge port does only in hairpin mode."""
    try:
        with open(f"{proc}/sys/net/bridge/bridge-nf-call-iptables") as file:
            return file.read(1) == "1"
    except FileNotFoundError:
        return False
