"""netlink(7) without a library: batches out, acknowledgements and dumps in, and what rtnetlink(7) tells of links,
addresses and routes. The requests that change them: `rtmessages`, and `links` for the rarer kinds.

The kernel answers a netlink request before send() returns, so the answers are already queued and nothing
here waits. Only the last message of a batch asks for an acknowledgement; failures are always reported.

This module runs in the shim and in a container's init: it imports `_socket` because `socket` pulls in
enum and selectors (4 ms). Failures raise OSError(errno, "rtnetlink: what: the kernel's own words", name).
"""

from __future__ import annotations

import _socket
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12
SOL_NETLINK = 270
NETLINK_CAP_ACK = 10
NETLINK_EXT_ACK = 11
NETLINK_GET_STRICT_CHK = 12

NLMSG_ERROR = 2
NLMSG_DONE = 3
NLM_F_REQUEST = 1
NLM_F_MULTI = 2
NLM_F_ACK = 4
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_REPLACE = 0x100
NLM_F_APPEND = 0x800
NLM_F_DUMP = 0x300
NLM_F_CAPPED = 0x100
NLM_F_ACK_TLVS = 0x200
NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER = 1, 3, 4, 5, 10
IFLA_OPERSTATE, IFLA_LINKINFO, IFLA_NET_NS_PID, IFLA_STATS64, IFLA_NET_NS_FD = 16, 18, 19, 23, 28
IFLA_EXT_MASK, IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES, IFLA_LINK_NETNSID = 29, 31, 32, 37
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
IFLA_BRPORT_MODE = 4
RTEXT_FILTER_SKIP_STATS = 8
VETH_INFO_PEER = 1
IFF_UP = 1
IFF_LOOPBACK = 8
IFF_LOWER_UP = 0x10000

RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_MULTIPATH, RTA_TABLE = 1, 4, 5, 6, 7, 9, 15
RT_TABLE_MAIN = 254
_RT_TABLE_LOCAL = 255
RTPROT_BOOT = 3
RTN_UNICAST = 1

_AF_INET6 = 10
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")


class Message:
    """One request: what it asks for in words, about which thing, type, flags and body."""

    __slots__ = ("body", "flags", "kind", "name", "what")

    def __init__(self, what: str, name: str, kind: int, body: bytes, flags: int = 0) -> None:
        self.what = what
        self.name = name
        self.kind = kind
        self.body = body
        self.flags = flags

    def fill(self, kind: int, place: int, value: int) -> None:
        """Replace the value of the one attribute that was built with `place` in it."""
        self.body = self.body.replace(u32(kind, place), u32(kind, value))

    def aim(self, index: int) -> None:
        """Set the interface of an address or qdisc message: bytes 4 to 8 of struct ifaddrmsg and struct tcmsg."""
        self.body = self.body[:4] + struct.pack("=I", index) + self.body[8:]


class Link:
    """One interface of a dump. `stats` is (rx_bytes, tx_bytes, rx_packets, tx_packets, rx_errors, tx_errors,
    rx_dropped, tx_dropped), counted from the interface's own side, or None when not asked for."""

    __slots__ = ("flags", "index", "kind", "link", "mac", "master", "mtu", "name", "netnsid", "operstate", "stats")

    def __init__(self) -> None:
        self.index = 0
        self.name = ""
        self.kind = ""
        """"bridge", "veth", "vlan", ... or "" for real hardware and loopback."""
        self.flags = 0
        self.mtu = 0
        self.mac = b""
        self.master = 0
        self.link = 0
        """Index of the other end (veth) or the lower link, in namespace `netnsid` when that is not None."""
        self.netnsid: int | None = None
        self.operstate = 0
        self.stats: tuple[int, ...] | None = None

    @property
    def up(self) -> bool:
        return bool(self.flags & IFF_UP)


class Route:
    """One IPv4 route of a dump. `destination` is "10.0.0.0/8" ("0.0.0.0/0" for the default)."""

    __slots__ = ("destination", "gateway", "metric", "oif", "table")

    def __init__(self, destination: str, gateway: str, oif: int, table: int, metric: int) -> None:
        self.destination = destination
        self.gateway = gateway
        self.oif = oif
        self.table = table
        self.metric = metric


def attribute(kind: int, payload: bytes) -> bytes:
    """struct nlattr with its payload, padded to four bytes."""
    return _ATTRIBUTE.pack(4 + len(payload), kind) + payload + b"\0" * (-len(payload) & 3)


def nested(kind: int, *attributes: bytes) -> bytes:
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def u32(kind: int, value: int) -> bytes:
    return struct.pack("=HHI", 8, kind, value)


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def attributes(payload: bytes, offset: int = 0) -> dict[int, bytes]:
    """Attributes by type without the flag bits; of a repeated one the last."""
    found = {}
    end = len(payload)
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(payload, offset)
        if length < 4:
            break
        found[kind & NLA_TYPE_MASK] = payload[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


class Netlink:
    """A netlink socket of the network namespace that the calling thread is in when it is made."""

    __slots__ = ("_sequence", "_socket")

    def __init__(self, protocol: int = NETLINK_ROUTE) -> None:
        self._socket = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, protocol)
        self._sequence = 1
        try:
            # the kernel's own explanation of a failure, without a copy of our request
            self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
            self._socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        except OSError:
            pass  # before 4.12 there are no words, the errno is enough

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def strict(self) -> None:
        """Let the kernel filter dumps by the attributes in the request (since 4.20, else they are ignored)."""
        try:
            self._socket.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
        except OSError:
            pass

    def send(self, messages: Iterable[Message], *, wrap: tuple[bytes, bytes] | None = None) -> None:
        """Send a batch; raise the first failure. Earlier messages of a failed rtnetlink batch stay done.

        `wrap` is what nfnetlink puts around an atomic batch: two whole messages.
        """
        messages = list(messages)
        first = self._sequence
        parts = [wrap[0]] if wrap else []
        for position, message in enumerate(messages):
            flags = message.flags | NLM_F_REQUEST | (NLM_F_ACK if position == len(messages) - 1 else 0)
            parts.append(_HEADER.pack(16 + len(message.body), message.kind, flags, first + position, 0))
            parts.append(message.body)
        self._sequence = first + len(messages)
        if wrap:
            parts.append(wrap[1])
        data = b"".join(parts)
        if len(data) > 100_000:
            self._socket.setsockopt(_socket.SOL_SOCKET, 32, 2 * len(data))  # SO_SNDBUFFORCE
        self._transmit(data)
        failure: OSError | None = None
        while True:
            try:
                answer = self._socket.recv(8192, _socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != 105:  # ENOBUFS: the answers did not fit, some failed
                    raise
                failure = failure or error
                continue
            for kind, _, sequence, payload, flags in _messages(answer):
                if kind != NLMSG_ERROR:
                    continue
                code = -struct.unpack_from("=i", payload)[0]
                if code and failure is None:
                    failure = _error(code, payload, flags, messages, sequence - first)
                if sequence == self._sequence - 1 and failure is None:
                    return
        if failure:
            raise failure

    def _transmit(self, data: bytes) -> None:
        self._socket.send(data)

    def get(self, message: Message) -> bytes | None:
        """The payload of a single object, or None when there is no such thing (ENOENT, ENODEV)."""
        sequence = self._sequence
        self._sequence += 1
        self._transmit(
            _HEADER.pack(16 + len(message.body), message.kind, message.flags | NLM_F_REQUEST, sequence, 0)
            + message.body
        )
        for kind, _, _, payload, flags in _messages(self._socket.recv(65536)):
            if kind == NLMSG_ERROR:
                code = -struct.unpack_from("=i", payload)[0]
                if code in (2, 19):
                    return None
                raise _error(code, payload, flags, [message], 0)
            return payload
        return None

    def dump(self, message: Message) -> Iterator[tuple[int, bytes]]:
        """(type, payload) of every object of a dump. Started again by nobody: a dump that the kernel marks as
        interrupted is still a list of things that were there."""
        sequence = self._sequence
        self._sequence += 1
        self._transmit(
            _HEADER.pack(16 + len(message.body), message.kind, message.flags | NLM_F_REQUEST | NLM_F_DUMP, sequence, 0)
            + message.body
        )
        while True:
            for kind, _, number, payload, flags in _messages(self._socket.recv(1 << 18)):
                if number != sequence:
                    continue
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    code = -struct.unpack_from("=i", payload)[0]
                    if code in (0, 2):
                        return
                    raise _error(code, payload, flags, [message], 0)
                yield kind, payload

    def links(self, *, master: int = 0, name: str = "", kind: str = "", stats: bool = True) -> list[Link]:
        """All interfaces, those of a bridge, those of a kind, or the one with a name (empty when there is none)."""
        extra = b"" if stats else u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
        if name:
            payload = self.get(
                Message("find link", name, RTM_GETLINK, _LINK.pack(0, 0, 0, 0, 0) + extra + text(IFLA_IFNAME, name))
            )
            return [_link(payload)] if payload else []
        if master or kind:
            self.strict()
        if master:
            extra += u32(IFLA_MASTER, master)
        if kind:
            extra += nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, kind))
        found = [
            _link(payload)
            for type, payload in self.dump(
                Message("list links", "", RTM_GETLINK, _LINK.pack(0, 0, 0, 0, 0) + extra, NLM_F_DUMP)
            )
            if type == RTM_NEWLINK
        ]
        return [link for link in found if (not master or link.master == master) and (not kind or link.kind == kind)]

    def addresses(self) -> list[tuple[int, str]]:
        """(interface index, "192.0.2.1/24") of every IPv4 address."""
        found = []
        for type, payload in self.dump(Message("list addresses", "", RTM_GETADDR, _ADDRESS.pack(2, 0, 0, 0, 0))):
            if type != RTM_NEWADDR:
                continue
            family, prefix, _, _, index = _ADDRESS.unpack_from(payload)
            if family != 2:
                continue
            values = attributes(payload, 8)
            local = values.get(2) or values.get(1)
            if local:
                found.append((index, f"{_socket.inet_ntoa(local)}/{prefix}"))
        return found

    def prefixes6(self) -> list[tuple[int, str]]:
        """(interface index, "fd00::/64") of every IPv6 route but those of `local`, of links alone, and the default."""
        found = []
        for type, payload in self.dump(
            Message("list routes", "", RTM_GETROUTE, _ROUTE.pack(10, 0, 0, 0, 0, 0, 0, 0, 0))
        ):
            if type != RTM_NEWROUTE:
                continue
            family, length, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(payload)
            values = attributes(payload, 12)
            table = _number(values.get(RTA_TABLE)) or table
            if family == 10 and kind == RTN_UNICAST and table != _RT_TABLE_LOCAL and length and RTA_DST in values:
                destination = _socket.inet_ntop(_socket.AF_INET6, values[RTA_DST])
                if not destination.startswith(("fe80:", "ff")):
                    found.append((_number(values.get(RTA_OIF)), f"{destination}/{length}"))
        return found

    def routes(self) -> list[Route]:
        """IPv4 routes of every table but `local`."""
        found = []
        body = _ROUTE.pack(2, 0, 0, 0, 0, 0, 0, 0, 0)
        for type, payload in self.dump(Message("list routes", "", RTM_GETROUTE, body)):
            if type != RTM_NEWROUTE:
                continue
            family, length, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(payload)
            if family != 2 or kind != RTN_UNICAST:
                continue
            values = attributes(payload, 12)
            destination = _socket.inet_ntoa(values.get(RTA_DST, b"\0\0\0\0"))
            gateway = _socket.inet_ntoa(values[RTA_GATEWAY]) if RTA_GATEWAY in values else ""
            oif = _number(values.get(RTA_OIF))
            hop = values.get(RTA_MULTIPATH)
            if not oif and hop and len(hop) >= 8:
                oif = struct.unpack_from("=HBBi", hop)[3]  # the first next hop speaks for all
            found.append(
                Route(
                    f"{destination}/{length}",
                    gateway,
                    oif,
                    _number(values.get(RTA_TABLE)) or table,
                    _number(values.get(RTA_PRIORITY)),
                )
            )
        return found


def _messages(data: bytes) -> Iterator[tuple[int, int, int, bytes, int]]:
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, port = _HEADER.unpack_from(data, offset)
        if length < 16:
            return
        yield kind, port, sequence, data[offset + 16 : offset + length], flags
        offset += (length + 3) & ~3


def _error(code: int, payload: bytes, flags: int, messages: list[Message], position: int) -> OSError:
    message = messages[position] if 0 <= position < len(messages) else messages[0]
    words = ""
    if flags & NLM_F_ACK_TLVS:
        # struct nlmsgerr: int error, struct nlmsghdr (16 bytes, the rest capped), then NLMSGERR_ATTR_MSG
        words = attributes(payload, 20).get(1, b"").rstrip(b"\0").decode("utf-8", "replace").lower()
    reason = words or os.strerror(code).lower()
    return OSError(code, f"netlink: {message.what}: {reason}", message.name)


def _number(value: bytes | None) -> int:
    return struct.unpack("=I", value)[0] if value and len(value) == 4 else 0


def _link(payload: bytes) -> Link:
    link = Link()
    _, _, link.index, link.flags, _ = _LINK.unpack_from(payload)
    values = attributes(payload, 16)
    link.name = values.get(IFLA_IFNAME, b"").rstrip(b"\0").decode("utf-8", "replace")
    link.mtu = _number(values.get(IFLA_MTU))
    link.mac = values.get(IFLA_ADDRESS, b"")
    link.master = _number(values.get(IFLA_MASTER))
    link.link = _number(values.get(IFLA_LINK))
    if IFLA_LINK_NETNSID in values:
        link.netnsid = struct.unpack("=i", values[IFLA_LINK_NETNSID])[0]
    if operstate := values.get(IFLA_OPERSTATE):
        link.operstate = operstate[0]
    if information := values.get(IFLA_LINKINFO):
        link.kind = attributes(information).get(IFLA_INFO_KIND, b"").rstrip(b"\0").decode()
    stats = values.get(IFLA_STATS64)
    if stats and len(stats) >= 64:
        # struct rtnl_link_stats64 in the kernel's order: packets before bytes
        rxp, txp, rxb, txb, rxe, txe, rxd, txd = struct.unpack_from("=8Q", stats)
        link.stats = (rxb, txb, rxp, txp, rxe, txe, rxd, txd)
    return link


def index(name: str) -> int:
    """Index of an interface, 0 when there is none."""
    try:
        return _socket.if_nametoindex(name)
    except OSError:
        return 0
