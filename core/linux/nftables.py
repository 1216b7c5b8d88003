"""nf_tables over nfnetlink without a library: one atomic batch, all of it or nothing.

    NFNL_MSG_BATCH_BEGIN · NEWTABLE · NEWCHAIN ... · NEWRULE ... · NFNL_MSG_BATCH_END      one sendto(2)

A rule is a list of expressions that move data through registers: `meta(IIFNAME)` loads, `cmp` compares,
`lookup` asks a set or a map, `nat` and `verdict` act. Registers are the 32-bit ones, NFT_REG32_00 = 8 onwards, so that
concatenated keys lie side by side. Numbers in attributes are big-endian; numbers in registers are the host's.

Comments go into `userdata` the way nft(8) and iptables-nft(8) read them, so both show who owns a rule.
Source: linux/netfilter/nf_tables.h. Failures raise OSError(errno, "netlink: what: reason", name).
"""

from __future__ import annotations

import _socket
import struct

from pyctr.core.linux.netlink import (
    NETLINK_NETFILTER,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_DUMP,
    Message,
    Netlink,
    attribute,
    attributes,
    nested,
    text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

IPV4 = 2  # NFPROTO_IPV4
IPV6 = 10
INET = 1
NETDEV = 5
_SUBSYSTEM = 10 << 8
NEWTABLE, GETTABLE, DELTABLE = 0, 1, 2
NEWCHAIN, GETCHAIN, DELCHAIN = 3, 4, 5
NEWRULE, GETRULE, DELRULE = 6, 7, 8
NEWSET, GETSET, DELSET = 9, 10, 11
NEWSETELEM, GETSETELEM, DELSETELEM = 12, 13, 14

PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = 0, 1, 2, 3, 4
INGRESS = 0
"""Of family NETDEV."""
DROP, ACCEPT, RETURN, JUMP = 0, 1, -5, -3
R0 = 8
"""The first 32-bit register."""

PRIORITY, IIFNAME, OIFNAME, L4PROTO = 2, 6, 7, 16
CT_STATE, CT_STATUS = 0, 2
ESTABLISHED, RELATED, NEW = 2, 4, 8
DNATED = 32
EQ, NEQ = 0, 1

_IPADDR, _IP6ADDR, _PROTOCOL, _SERVICE, _CLASSID = 7, 8, 12, 13, 23
"""nft's own type numbers, so that `nft list` shows addresses and ports."""


class Rule:
    """One rule of a listing."""

    __slots__ = ("chain", "comment", "expressions", "handle", "packets", "table")

    def __init__(
        self, table: str, chain: str, handle: int, comment: str, expressions: list[str], packets: int = 0
    ) -> None:
        self.table = table
        self.chain = chain
        self.handle = handle
        self.comment = comment
        self.expressions = expressions
        self.packets = packets
        """What its counter has counted."""


class Chain:
    """One chain of a listing; `hook` is None for a chain without a hook, `policy` ACCEPT or DROP."""

    __slots__ = ("family", "hook", "kind", "name", "policy", "priority", "table")

    def __init__(self, family: int, table: str, name: str) -> None:
        self.family = family
        self.table = table
        self.name = name
        self.hook: int | None = None
        self.priority = 0
        self.policy = ACCEPT
        self.kind = ""


def _be32(kind: int, value: int) -> bytes:
    return struct.pack("=HH", 8, kind) + struct.pack(">I", value & 0xFFFFFFFF)


def _be64(kind: int, value: int) -> bytes:
    return struct.pack("=HH", 12, kind) + struct.pack(">Q", value)


def _number(value: bytes | None) -> int:
    return int.from_bytes(value, "big") if value else 0


def _expression(name: str, *data: bytes) -> bytes:
    return nested(1, text(1, name), nested(2, *data))


def _value(data: bytes) -> bytes:
    return attribute(1, data)


def meta(key: int, register: int = R0) -> bytes:
    return _expression("meta", _be32(2, key), _be32(1, register))


def set_priority(register: int = R0) -> bytes:
    """What a register has becomes the packet's priority, which classful queueing disciplines take as a class."""
    return _expression("meta", _be32(2, PRIORITY), _be32(3, register))


def ct(key: int, register: int = R0) -> bytes:
    return _expression("ct", _be32(1, register), _be32(2, key))


def cmp(data: bytes, operator: int = EQ, register: int = R0) -> bytes:
    return _expression("cmp", _be32(1, register), _be32(2, operator), nested(3, _value(data)))


def bitmask(mask: int, register: int = R0) -> bytes:
    """register &= mask, for 32 bits in the host's order."""
    return _expression(
        "bitwise",
        _be32(1, register),
        _be32(2, register),
        _be32(3, 4),
        nested(4, _value(struct.pack("=I", mask))),
        nested(5, _value(b"\0\0\0\0")),
    )


def prefix(mask: bytes, register: int = R0) -> bytes:
    """register &= mask, for an address in network order."""
    return _expression(
        "bitwise",
        _be32(1, register),
        _be32(2, register),
        _be32(3, len(mask)),
        nested(4, _value(mask)),
        nested(5, _value(bytes(len(mask)))),
    )


def payload(base: int, offset: int, length: int, register: int = R0) -> bytes:
    """Bytes of the packet; `base` 1 is the network header, 2 the transport header."""
    return _expression("payload", _be32(1, register), _be32(2, base), _be32(3, offset), _be32(4, length))


def saddr(register: int = R0, family: int = IPV4) -> bytes:
    return payload(1, 12, 4, register) if family == IPV4 else payload(1, 8, 16, register)


def daddr(register: int = R0, family: int = IPV4) -> bytes:
    """Into one register, an IPv6 address into four."""
    return payload(1, 16, 4, register) if family == IPV4 else payload(1, 24, 16, register)


def dport(register: int = R0) -> bytes:
    return payload(2, 2, 2, register)


def address_type(register: int = R0) -> bytes:
    """`fib daddr type` into a register: RTN_LOCAL is 2 (linux/rtnetlink.h)."""
    return _expression("fib", _be32(1, register), _be32(2, 3), _be32(3, 2))


def lookup(map: str, register: int = R0, result: int = R0) -> bytes:
    """Continue with the value in `result` if the key is in the map of the same table."""
    return _expression("lookup", text(1, map), _be32(2, register), _be32(3, result), _be32(4, 0))


def load(data: bytes, register: int = R0) -> bytes:
    """A constant into a register."""
    return _expression("immediate", _be32(1, register), nested(2, _value(data)))


def dnat(address: int, port: int, family: int = IPV4) -> bytes:
    """Destination NAT to the address and port in these registers."""
    return _expression("nat", _be32(1, 1), _be32(2, family), _be32(3, address), _be32(5, port))


def masquerade() -> bytes:
    return _expression("masq")


def counter() -> bytes:
    return _expression("counter", _be64(1, 0), _be64(2, 0))


def limit_over(rate: int, burst: int) -> bytes:
    """Matches what is more than `rate` bytes per second: unit 1 s, type bytes, inverted."""
    return _expression("limit", _be64(1, rate), _be64(2, 1), _be32(3, burst), _be32(4, 1), _be32(5, 1))


def verdict(code: int, chain: str = "") -> bytes:
    parts = [_be32(1, code)]
    if chain:
        parts.append(text(2, chain))
    return _expression("immediate", _be32(1, 0), nested(2, nested(2, *parts)))


def ifname(name: str) -> bytes:
    """An interface name as the kernel compares it: sixteen bytes, so that "pt1" is not "pt10"."""
    return name.encode().ljust(16, b"\0")


def iif(name: str, operator: int = EQ) -> bytes:
    return meta(IIFNAME) + cmp(ifname(name), operator)


def oif(name: str, operator: int = EQ) -> bytes:
    return meta(OIFNAME) + cmp(ifname(name), operator)


def source(network: str) -> bytes:
    return saddr(family=IPV6 if ":" in network else IPV4) + _network(network)


def destination(network: str) -> bytes:
    return daddr(family=IPV6 if ":" in network else IPV4) + _network(network)


def _network(network: str) -> bytes:
    address, _, length = network.partition("/")
    raw = _packed(address)
    whole = 8 * len(raw)
    bits = int(length or whole)
    mask = ((1 << whole) - (1 << (whole - bits))).to_bytes(len(raw), "big")
    base = bytes(a & m for a, m in zip(raw, mask, strict=True))
    return cmp(raw) if bits == whole else prefix(mask) + cmp(base)


def _packed(address: str) -> bytes:
    return _socket.inet_pton(_socket.AF_INET6 if ":" in address else _socket.AF_INET, address)


def _comment(value: str) -> bytes:
    raw = value.encode()[:254] + b"\0"
    return struct.pack("BB", 0, len(raw)) + raw


def _read_comment(userdata: bytes | None) -> str:
    at = 0
    while userdata and at + 2 <= len(userdata):
        kind, length = userdata[at], userdata[at + 1]
        if kind == 0:
            return userdata[at + 2 : at + 2 + length].rstrip(b"\0").decode("utf-8", "replace")
        at += 2 + length
    return ""


class Batch:
    """Changes that happen together or not at all. Deleting what is not there fails the whole batch (ENOENT)."""

    def __init__(self, family: int = IPV4) -> None:
        self.family = family
        self.messages: list[Message] = []
        self._sets = 0

    def _add(self, what: str, name: str, kind: int, flags: int, *body: bytes) -> None:
        header = struct.pack(">BBH", self.family, 0, 0)
        self.messages.append(Message(what, name, _SUBSYSTEM | kind, header + b"".join(body), flags))

    def table(self, name: str, comment: str = "") -> None:
        more = [attribute(6, _comment(comment))] if comment else []
        self._add("make table", name, NEWTABLE, NLM_F_CREATE, text(1, name), *more)

    def delete_table(self, name: str) -> None:
        self._add("delete table", name, DELTABLE, 0, text(1, name))

    def chain(
        self,
        table: str,
        name: str,
        *,
        hook: int | None = None,
        priority: int = 0,
        kind: str = "filter",
        device: str = "",
    ) -> None:
        """A chain, with a hook a base chain of policy accept, of one device in family NETDEV."""
        more: list[bytes] = []
        if hook is not None:
            where = [_be32(1, hook), _be32(2, priority), *([text(3, device)] if device else ())]
            more = [nested(4, *where), _be32(5, ACCEPT), text(7, kind)]
        self._add("make chain", name, NEWCHAIN, NLM_F_CREATE, text(1, table), text(3, name), *more)

    def delete_chain(self, table: str, name: str) -> None:
        """With the rules in it."""
        self._add("delete chain", name, DELCHAIN, 0, text(1, table), text(3, name))

    def rule(self, table: str, chain: str, *expressions: bytes, comment: str = "", first: bool = False) -> None:
        """Append a rule, or insert it before all others."""
        more = [attribute(7, _comment(comment))] if comment else []
        flags = NLM_F_CREATE | (0 if first else NLM_F_APPEND)
        self._add("add rule", chain, NEWRULE, flags, text(1, table), text(2, chain), nested(4, *expressions), *more)

    def delete_rule(self, table: str, chain: str, handle: int) -> None:
        self._add("delete rule", chain, DELRULE, 0, text(1, table), text(2, chain), _be64(3, handle))

    def port_map(self, table: str, name: str, *, with_address: bool) -> None:
        """A map [address .] protocol . port -> address . port."""
        self._sets += 1
        kind_of_address, size = (_IPADDR, 4) if self.family == IPV4 else (_IP6ADDR, 16)
        kinds = ([kind_of_address] if with_address else []) + [_PROTOCOL, _SERVICE]
        key = 0
        for kind in kinds:
            key = key << 6 | kind
        self._add(
            "make map",
            name,
            NEWSET,
            NLM_F_CREATE,
            text(1, table),
            text(2, name),
            _be32(3, 8),  # NFT_SET_MAP
            _be32(4, key),
            _be32(5, 8 + (size if with_address else 0)),
            _be32(6, kind_of_address << 6 | _SERVICE),
            _be32(7, size + 4),
            _be32(10, self._sets),
        )

    def class_map(self, table: str, name: str) -> None:
        """A map address -> traffic class; its entries are added and deleted like those of a port map."""
        self._sets += 1
        kind, size = (_IPADDR, 4) if self.family == IPV4 else (_IP6ADDR, 16)
        self._add(
            "make map",
            name,
            NEWSET,
            NLM_F_CREATE,
            text(1, table),
            text(2, name),
            _be32(3, 8),  # NFT_SET_MAP
            _be32(4, kind),
            _be32(5, size),
            _be32(6, _CLASSID),
            _be32(7, 4),
            _be32(10, self._sets),
            # for nft to show it: keys are big-endian (2), values the host's (1)
            attribute(13, struct.pack("=BBIBBI", 0, 4, 2, 1, 4, 1)),
        )

    def add_ports(self, table: str, name: str, entries: Iterable[tuple[bytes, bytes, str]]) -> None:
        """Add (key, value, comment) to a port map. EEXIST or EBUSY: somebody has the key with another value."""
        items = [
            nested(1, nested(1, _value(key)), nested(2, _value(value)), attribute(6, _comment(comment)))
            for key, value, comment in entries
        ]
        if items:
            self._add("publish ports", name, NEWSETELEM, NLM_F_CREATE, text(1, table), text(2, name), nested(3, *items))

    def delete_ports(self, table: str, name: str, keys: Iterable[bytes]) -> None:
        items = [nested(1, nested(1, _value(key))) for key in keys]
        if items:
            self._add("unpublish ports", name, DELSETELEM, 0, text(1, table), text(2, name), nested(3, *items))

    def send(self, socket: Nft) -> None:
        if self.messages:
            socket.send(self.messages, wrap=WRAP)


def _batch_message(kind: int) -> bytes:
    # struct nlmsghdr + struct nfgenmsg; res_id says which subsystem the batch is for
    return struct.pack("=IHHII", 20, kind, 1, 0, 0) + struct.pack(">BBH", 0, 0, 10)


WRAP = (_batch_message(16), _batch_message(17))


def port_key(protocol: int, port: int, address: str = "") -> bytes:
    """A key of a port map: every part padded to a register."""
    head = _packed(address) if address else b""
    return head + struct.pack("B3x", protocol) + struct.pack(">H2x", port)


def class_entry(address: str, number: int, comment: str) -> tuple[bytes, bytes, str]:
    """An entry of a class map; the class is the host's own kind of number."""
    return _packed(address), struct.pack("=I", number), comment


def port_value(address: str, port: int) -> bytes:
    return _packed(address) + struct.pack(">H2x", port)


class Nft(Netlink):
    """An nfnetlink socket that can read back what is there."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(NETLINK_NETFILTER)

    def _message(self, what: str, name: str, kind: int, family: int, *body: bytes, flags: int = 0) -> Message:
        return Message(what, name, _SUBSYSTEM | kind, struct.pack(">BBH", family, 0, 0) + b"".join(body), flags)

    def table(self, name: str, family: int = IPV4) -> str | None:
        """The comment of a table ("" without one), None when there is no such table."""
        found = self.get(self._message("find table", name, GETTABLE, family, text(1, name)))
        return None if found is None else _read_comment(attributes(found, 4).get(6))

    def tables(self, family: int = IPV4) -> dict[str, str]:
        """Comments of all tables of a family by name."""
        found = {}
        for _, data in self.dump(self._message("list tables", "", GETTABLE, family, flags=NLM_F_DUMP)):
            values = attributes(data, 4)
            found[_string(values.get(1))] = _read_comment(values.get(6))
        return found

    def chain(self, table: str, name: str, family: int = IPV4) -> Chain | None:
        found = self.get(self._message("find chain", name, GETCHAIN, family, text(1, table), text(3, name)))
        return None if found is None else _chain(found)

    def chains(self, family: int = 0) -> list[Chain]:
        """All chains of a family, 0 for every family."""
        return [
            _chain(data) for _, data in self.dump(self._message("list chains", "", GETCHAIN, family, flags=NLM_F_DUMP))
        ]

    def rules(self, table: str, chain: str, family: int = IPV4) -> list[Rule]:
        """The rules of one chain in their order; empty when there is no such chain."""
        found = []
        request = self._message("list rules", chain, GETRULE, family, text(1, table), text(2, chain), flags=NLM_F_DUMP)
        for _, data in self.dump(request):
            values = attributes(data, 4)
            if _string(values.get(1)) != table or _string(values.get(2)) != chain:
                continue
            found.append(
                Rule(
                    table,
                    chain,
                    _number(values.get(3)),
                    _read_comment(values.get(7)),
                    [_string(attributes(item).get(1)) for item in _list(values.get(4, b""))],
                    _packets(values.get(4, b"")),
                )
            )
        return found

    def ports(self, table: str, name: str, family: int = IPV4) -> list[tuple[bytes, bytes, str]]:
        """(key, value, comment) of every entry of a port map; empty when there is no such map."""
        found = []
        request = self._message("list ports", name, GETSETELEM, family, text(1, table), text(2, name), flags=NLM_F_DUMP)
        for _, data in self.dump(request):
            for item in _list(attributes(data, 4).get(3, b"")):
                values = attributes(item)
                key = attributes(values.get(1, b"")).get(1, b"")
                value = attributes(values.get(2, b"")).get(1, b"")
                found.append((key, value, _read_comment(values.get(6))))
        return found


def _list(data: bytes) -> Iterable[bytes]:
    """The payloads of repeated attributes, in order."""
    offset = 0
    while offset + 4 <= len(data):
        length = struct.unpack_from("=H", data, offset)[0]
        if length < 4:
            return
        yield data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def _packets(expressions: bytes) -> int:
    """What the counter among a rule's expressions has counted: NFTA_COUNTER_PACKETS is 2."""
    for item in _list(expressions):
        values = attributes(item)
        if _string(values.get(1)) == "counter":
            return _number(attributes(values.get(2, b"")).get(2))
    return 0


def _string(value: bytes | None) -> str:
    return value.rstrip(b"\0").decode("utf-8", "replace") if value else ""


def _chain(data: bytes) -> Chain:
    values = attributes(data, 4)
    chain = Chain(data[0], _string(values.get(1)), _string(values.get(3)))
    hook = attributes(values.get(4, b""))
    if 1 in hook:
        chain.hook = _number(hook[1])
        chain.priority = struct.unpack(">i", hook[2])[0]
        chain.policy = _number(values.get(5)) if 5 in values else ACCEPT
        chain.kind = _string(values.get(7))
    return chain
