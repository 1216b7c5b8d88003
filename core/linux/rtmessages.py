"""Requests of rtnetlink(7) that every start needs: links, addresses and routes, one batch per need.

    need                    messages in one sendto(2)
    ────────────────────────────────────────────────────────────────────────────
    a container's link      NEWLINK veth { master, up, peer { netns, name, mac } }
    inside the container    SETLINK lo up · SETLINK eth0 up · NEWADDR · NEWROUTE default
    a bridge                NEWLINK bridge · NEWADDR · SETLINK up

What is sent with them and how failures come back: `netlink`.
"""

from __future__ import annotations

import _socket

from pyctr.core.linux.netlink import (
    _ADDRESS,
    _AF_INET6,
    _LINK,
    _ROUTE,
    IFF_UP,
    IFLA_ADDRESS,
    IFLA_BRPORT_MODE,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_INFO_SLAVE_DATA,
    IFLA_INFO_SLAVE_KIND,
    IFLA_LINKINFO,
    IFLA_MASTER,
    IFLA_MTU,
    IFLA_NET_NS_FD,
    IFLA_NET_NS_PID,
    IFLA_NUM_RX_QUEUES,
    IFLA_NUM_TX_QUEUES,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    RT_TABLE_MAIN,
    RTA_GATEWAY,
    RTA_OIF,
    RTM_DELLINK,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    RTM_SETLINK,
    RTN_UNICAST,
    RTPROT_BOOT,
    VETH_INFO_PEER,
    Message,
    attribute,
    nested,
    text,
    u32,
)


def mac(value: str) -> bytes:
    """ "02:70:0a:58:00:07" as six bytes. Raises ValueError."""
    raw = bytes.fromhex(value.replace(":", ""))
    if len(raw) != 6:
        raise ValueError(f"'{value}' is not a MAC address")
    return raw


def veth(
    name: str,
    peer: str,
    *,
    pid: int | None = None,
    netns: int | None = None,
    bridge: int = 0,
    mtu: int = 0,
    peer_mac: bytes = b"",
) -> Message:
    """A pair: this end as an up port of `bridge`, the other end in the namespace of `pid` or descriptor `netns`.

    The other end stays down: raised here, veth_open() fails with ENOTCONN because the ends are not joined yet.
    """
    inner = text(IFLA_IFNAME, peer)
    outer = text(IFLA_IFNAME, name)
    if pid is not None:
        inner += u32(IFLA_NET_NS_PID, pid)
    if netns is not None:
        inner += u32(IFLA_NET_NS_FD, netns)
    if peer_mac:
        inner += attribute(IFLA_ADDRESS, peer_mac)
    if mtu:
        inner += u32(IFLA_MTU, mtu)
        outer += u32(IFLA_MTU, mtu)
    if bridge:
        outer += u32(IFLA_MASTER, bridge)
    # one queue each: by default the kernel makes one per possible processor
    queues = u32(IFLA_NUM_TX_QUEUES, 1) + u32(IFLA_NUM_RX_QUEUES, 1)
    information = nested(
        IFLA_LINKINFO,
        text(IFLA_INFO_KIND, "veth"),
        nested(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, _LINK.pack(0, 0, 0, 0, 0) + inner + queues)),
    )
    return Message(
        "make veth",
        name,
        RTM_NEWLINK,
        _LINK.pack(0, 0, 0, IFF_UP, IFF_UP) + outer + queues + information,
        NLM_F_CREATE | NLM_F_EXCL,
    )


def bridge(name: str, *, mtu: int = 0, mac: bytes = b"", up: bool = True) -> Message:
    """A bridge. With `mac` given it keeps its address when ports come and go."""
    body = _LINK.pack(0, 0, 0, IFF_UP if up else 0, IFF_UP) + text(IFLA_IFNAME, name)
    if mtu:
        body += u32(IFLA_MTU, mtu)
    if mac:
        body += attribute(IFLA_ADDRESS, mac)
    body += nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "bridge"))
    return Message("make bridge", name, RTM_NEWLINK, body, NLM_F_CREATE | NLM_F_EXCL)


def hairpin(name: str) -> Message:
    """Let a bridge port send a frame back to where it came from (`bridge link set dev … hairpin on`)."""
    body = _LINK.pack(0, 0, 0, 0, 0) + text(IFLA_IFNAME, name)
    body += nested(
        IFLA_LINKINFO,
        text(IFLA_INFO_SLAVE_KIND, "bridge"),
        nested(IFLA_INFO_SLAVE_DATA, attribute(IFLA_BRPORT_MODE, b"\1")),
    )
    return Message("set hairpin", name, RTM_NEWLINK, body)


def up(index: int, name: str = "") -> Message:
    """Raise an interface; with index 0 the one called `name`."""
    body = _LINK.pack(0, 0, index, IFF_UP, IFF_UP)
    return Message("set up", name, RTM_SETLINK, body if index else body + text(IFLA_IFNAME, name))


def delete(name: str) -> Message:
    return Message("delete link", name, RTM_DELLINK, _LINK.pack(0, 0, 0, 0, 0) + text(IFLA_IFNAME, name))


def address(index: int, value: str, *, name: str = "", noprefixroute: bool = False) -> Message:
    """Add "10.88.0.7/16" to an interface, with the broadcast address of its network, or "fd00::7/64"."""
    local, _, length = value.partition("/")
    if ":" in local:
        raw = _socket.inet_pton(_AF_INET6, local)
        # IFA_F_NODAD: the book of leases knows that nobody else has it
        body = _ADDRESS.pack(_AF_INET6, int(length or 128), 0x02, 0, index) + attribute(2, raw) + attribute(1, raw)
        return Message(f"add address {value}", name, RTM_NEWADDR, body, NLM_F_CREATE | NLM_F_REPLACE)
    raw = _socket.inet_aton(local)
    prefix = int(length or 32)
    flags = 0x200 if noprefixroute else 0
    body = _ADDRESS.pack(2, prefix, 0, 0, index) + attribute(2, raw) + attribute(1, raw)
    if prefix < 31:
        host = (1 << (32 - prefix)) - 1
        body += attribute(4, (int.from_bytes(raw, "big") | host).to_bytes(4, "big"))
    if flags:
        body += u32(8, flags)
    return Message(f"add address {value}", name, RTM_NEWADDR, body, NLM_F_CREATE | NLM_F_REPLACE)


def default_route(gateway: str, index: int = 0, *, name: str = "") -> Message:
    family = _AF_INET6 if ":" in gateway else 2
    body = _ROUTE.pack(family, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST, 0)
    body += attribute(RTA_GATEWAY, _socket.inet_pton(family, gateway))
    if index:
        body += u32(RTA_OIF, index)
    return Message(f"add default route via {gateway}", name, RTM_NEWROUTE, body, NLM_F_CREATE | NLM_F_EXCL)
