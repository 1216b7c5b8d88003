"""Messages of the domain name system (RFC 1035), as far as a server of container names needs them.

    header   id · flags · 4 counts                  12 bytes
    question name · type · class                    exactly one, or the message is none of ours
    answers  pointer to the question's name · type · class · ttl · length · data

Runs in the shim: struct and _socket only.
"""

from __future__ import annotations

import _socket
import struct

A, PTR, AAAA, OPT, ANY = 1, 12, 28, 41, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5
RESPONSE, AUTHORITATIVE, TRUNCATED, RECURSION_DESIRED, RECURSION_AVAILABLE = 0x8000, 0x400, 0x200, 0x100, 0x80
TTL = 1
"""Seconds that an answer may be kept: it changes when a container comes or goes."""
PLAIN = 512
"""Bytes that every client takes over UDP."""

_HEADER = struct.Struct(">HHHHHH")
_OPCODE = 0x7800


class Question:
    """What a query asks. `name` is lower case, without the last dot; `end` is where the question's bytes end."""

    __slots__ = ("end", "flags", "id", "kind", "limit", "name", "zone")

    def __init__(self, id: int, flags: int, name: str, kind: int, zone: int, end: int) -> None:
        self.id = id
        self.flags = flags
        self.name = name
        self.kind = kind
        self.zone = zone
        """The class: IN."""
        self.end = end
        self.limit = PLAIN
        """Bytes of an answer over UDP, by EDNS (RFC 6891)."""


_LONGEST = 255
"""Octets of a name (RFC 1035, 2.3.4)."""


def read(message: bytes) -> Question | None:
    """The question of a query; None for what is no query or has not exactly one question."""
    if len(message) < 17:
        return None
    id, flags, questions, answers, authorities, additional = _HEADER.unpack_from(message)
    if flags & (RESPONSE | _OPCODE) or questions != 1:
        return None
    found = _name(message, 12)
    if found is None or found[1] + 4 > len(message):
        return None
    name, at = found
    kind, zone = struct.unpack_from(">HH", message, at)
    question = Question(id, flags, name.lower(), kind, zone, at + 4)
    if additional and not answers and not authorities and len(message) >= at + 9 and message[at + 4] == 0:
        kind, size = struct.unpack_from(">HH", message, at + 5)
        if kind == OPT:
            question.limit = max(PLAIN, min(size, 4096))
    return question


def _name(message: bytes, at: int) -> tuple[str, int] | None:
    """(name, where it ends). Without compression: a question's name is the first of its message."""
    labels: list[str] = []
    end = at + _LONGEST
    while at < min(len(message), end):
        length = message[at]
        at += 1
        if not length:
            return ".".join(labels), at
        if length > 63 or at + length > len(message):
            return None
        labels.append(message[at : at + length].decode("latin-1"))
        at += length
    return None


def answer(query: bytes, question: Question, code: int, records: list[tuple[int, bytes]], limit: int) -> bytes:
    """A response of at most `limit` bytes: what does not fit is left out, and the truncation said."""
    flags = RESPONSE | RECURSION_AVAILABLE | question.flags & RECURSION_DESIRED | code
    if code in (NOERROR, NXDOMAIN):
        flags |= AUTHORITATIVE
    body = b""
    count = 0
    for kind, data in records:
        record = struct.pack(">HHHIH", 0xC00C, kind, IN, TTL, len(data)) + data
        if question.end + len(body) + len(record) > limit:
            flags |= TRUNCATED
            break
        body += record
        count += 1
    return _HEADER.pack(question.id, flags, 1, count, 0, 0) + query[12 : question.end] + body


def address_record(address: str) -> tuple[int, bytes]:
    if ":" in address:
        return AAAA, _socket.inet_pton(_socket.AF_INET6, address)
    return A, _socket.inet_aton(address)


def name_record(name: str) -> tuple[int, bytes]:
    """A PTR record. Labels that no message can carry are cut."""
    labels = [label.encode()[:63] for label in name.split(".") if label]
    return PTR, b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def reversed_address(name: str) -> str:
    """ "7.0.88.10.in-addr.arpa" -> "10.88.0.7", likewise ip6.arpa; "" for other names."""
    labels = name.split(".")
    try:
        if name.endswith(".in-addr.arpa") and len(labels) == 6:
            return _socket.inet_ntoa(bytes(int(label) for label in reversed(labels[:4])))
        if name.endswith(".ip6.arpa") and len(labels) == 34:
            raw = bytes.fromhex("".join(reversed(labels[:32])))
            return _socket.inet_ntop(_socket.AF_INET6, raw)
    except ValueError:
        pass  # not an address spelt backwards
    return ""


def is_answer(message: bytes, query: bytes, question: Question, id: int) -> bool:
    """Whether a message from a name server answers what was asked of it under `id`."""
    if len(message) < question.end:
        return False
    got, flags, questions, _, _, _ = _HEADER.unpack_from(message)
    if got != id or not flags & RESPONSE or questions != 1:
        return False
    return message[12 : question.end].lower() == query[12 : question.end].lower()


def code_of(message: bytes) -> int:
    return message[3] & 15


def with_id(message: bytes, id: int) -> bytes:
    return struct.pack(">H", id) + message[2:]
