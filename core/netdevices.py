"""Interfaces of the host that move into a container and keep their addresses (config-linux.md, "Network Devices")."""

from __future__ import annotations

from pyctr.core.linux import namespaces, netlink, rtmessages

TYPE_CHECKING = False
if TYPE_CHECKING:
    # family, prefix length, scope, the attributes that make the address
    Address = tuple[int, int, int, bytes]

_PERMANENT = 0x80
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_FLAGS = 1, 2, 4, 8
_GLOBAL = 0


def addresses(index: int) -> list[Address]:
    """What an interface of this network namespace has of permanent, global addresses, IPv4 and IPv6."""
    found: list[Address] = []
    with netlink.Netlink() as socket:
        request = netlink.Message("list addresses", "", netlink.RTM_GETADDR, netlink._ADDRESS.pack(0, 0, 0, 0, 0))
        for _, payload in socket.dump(request):
            family, prefix, flags, scope, owner = netlink._ADDRESS.unpack_from(payload)
            if owner != index or scope != _GLOBAL:
                continue
            given = netlink.attributes(payload, netlink._ADDRESS.size)
            if _IFA_FLAGS in given:
                flags = int.from_bytes(given[_IFA_FLAGS], "little")
            if not flags & _PERMANENT:
                continue  # a lease's client or the router's advertisement gives it anew
            kept = b"".join(
                netlink.attribute(kind, given[kind])
                for kind in (_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST)
                if kind in given
            )
            found.append((family, prefix, scope, kept))
    return found


def move(index: int, name: str, netns: int, *, source: int = -1) -> None:
    """An interface into another network namespace, under a name that must be free there.

    From the caller's namespace, or from that of the descriptor `source`. Raises OSError: EEXIST for the name.
    """
    body = netlink._LINK.pack(0, 0, index, 0, 0)
    body += netlink.u32(netlink.IFLA_NET_NS_FD, netns) + netlink.text(netlink.IFLA_IFNAME, name)
    with socket_in(source) as socket:
        socket.send([netlink.Message("move link", name, netlink.RTM_SETLINK, body)])


def settle(name: str, kept: list[Address], *, place: int = -1) -> None:
    """Addresses back on an interface that has been moved, and the interface up."""
    with socket_in(place) as socket:
        links = [link for link in socket.links(stats=False) if link.name == name]
        if not links:
            raise OSError(19, "netlink: find link: no such device", name)
        index = links[0].index
        batch = [
            netlink.Message(
                "add address",
                name,
                netlink.RTM_NEWADDR,
                netlink._ADDRESS.pack(family, prefix, 0, scope, index) + attributes,
                netlink.NLM_F_CREATE | netlink.NLM_F_REPLACE,
            )
            for family, prefix, scope, attributes in kept
        ]
        socket.send([*batch, rtmessages.up(index, name)])


def index_in(name: str, place: int) -> int:
    """The index of an interface in the namespace of a descriptor, 0 if it is not there."""
    with socket_in(place) as socket:
        return next((link.index for link in socket.links(stats=False) if link.name == name), 0)


def socket_in(place: int) -> netlink.Netlink:
    """A socket in the namespace of a descriptor, in ours for -1."""
    return namespaces.within(place, netlink.Netlink) if place >= 0 else netlink.Netlink()
