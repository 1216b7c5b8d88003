"""Links of other kinds than bridges and veth pairs, as rtnetlink(7) messages; see `netlink`.

macvlan, ipvlan   a further face of a parent interface, made in the namespace of whoever uses it
vxlan             a tunnel to peers (RFC 7348); who is behind which peer it learns, what nobody knows goes to all
"""

from __future__ import annotations

import _socket
import struct

from pyctr.core.linux import netlink
from pyctr.core.linux.netlink import Message, attribute, nested, text, u32

RTM_NEWNEIGH = 28
MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
VXLAN_PORT = 4789
"""IANA's; Docker's overlay networks use it, too."""
_AF_BRIDGE = 7
_NTF_SELF = 2
_NUD_PERMANENT, _NUD_NOARP = 0x80, 0x40


def face(
    kind: str, name: str, parent: int, *, mode: str, mtu: int = 0, mac: bytes = b"", pid: int | None, netns: int | None
) -> Message:
    """A macvlan or ipvlan called `name` in the namespace of `pid` or of the descriptor `netns`."""
    body = netlink._LINK.pack(0, 0, 0, 0, 0) + text(netlink.IFLA_IFNAME, name) + u32(netlink.IFLA_LINK, parent)
    if pid is not None:
        body += u32(netlink.IFLA_NET_NS_PID, pid)
    if netns is not None:
        body += u32(netlink.IFLA_NET_NS_FD, netns)
    if mtu:
        body += u32(netlink.IFLA_MTU, mtu)
    if kind == "macvlan":
        data = u32(1, MACVLAN_MODES[mode])
        if mac:
            body += attribute(netlink.IFLA_ADDRESS, mac)
    else:
        data = attribute(1, struct.pack("=H", IPVLAN_MODES[mode]))  # its address is the parent's
    body += nested(netlink.IFLA_LINKINFO, text(netlink.IFLA_INFO_KIND, kind), nested(netlink.IFLA_INFO_DATA, data))
    return Message(f"make {kind}", name, netlink.RTM_NEWLINK, body, netlink.NLM_F_CREATE | netlink.NLM_F_EXCL)


def vxlan(name: str, number: int, *, bridge: int, port: int, local: str = "", device: int = 0, mtu: int = 0) -> Message:
    """A tunnel of the network `number` (VNI), a port of a bridge, up."""
    data = u32(1, number)
    if device:
        data += u32(3, device)
    if local:
        data += attribute(4, _socket.inet_aton(local))
    data += attribute(15, struct.pack(">H", port))
    body = netlink._LINK.pack(0, 0, 0, netlink.IFF_UP, netlink.IFF_UP)
    body += text(netlink.IFLA_IFNAME, name) + u32(netlink.IFLA_MASTER, bridge)
    if mtu:
        body += u32(netlink.IFLA_MTU, mtu)
    body += nested(netlink.IFLA_LINKINFO, text(netlink.IFLA_INFO_KIND, "vxlan"), nested(netlink.IFLA_INFO_DATA, data))
    return Message("make vxlan", name, netlink.RTM_NEWLINK, body, netlink.NLM_F_CREATE | netlink.NLM_F_EXCL)


def peer(index: int, address: str, name: str = "") -> Message:
    """Send what is for everybody, or for nobody known, to a peer of a vxlan, too (`bridge fdb append`)."""
    body = struct.pack("=BxxxiHBB", _AF_BRIDGE, index, _NUD_PERMANENT | _NUD_NOARP, _NTF_SELF, 0)
    body += attribute(2, bytes(6)) + attribute(1, _socket.inet_aton(address))
    return Message(f"add peer {address}", name, RTM_NEWNEIGH, body, netlink.NLM_F_CREATE | netlink.NLM_F_APPEND)
