"""A D-Bus client for a few calls (dbus.freedesktop.org/doc/dbus-specification.html): one connection, one thread.

A value is given with its signature: `y b n q i u x t d` and `s o g` are Python's numbers and strings, `a` a list,
`( )` a tuple, `v` a pair of signature and value. Everything is little-endian.
"""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FIXED = {"y": "B", "b": "I", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d"}
_ALIGN = {"g": 1, "v": 1, "s": 4, "o": 4, "a": 4, "(": 8, "{": 8}
_CALL, _REPLY, _ERROR, _SIGNAL = 1, 2, 3, 4
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL, _DESTINATION, _SIGNATURE = 1, 2, 3, 4, 5, 6, 8
_MAX = 1 << 27
"""Bytes of a message, by the specification."""


class Refused(Exception):
    """The answer is an error: its name, such as org.freedesktop.systemd1.NoSuchUnit, and what it says."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{text or name}")
        self.name = name


def split(signature: str) -> list[str]:
    """Its complete types, one by one. Raises ValueError."""
    parts = []
    while signature:
        end = _end(signature, 0)
        parts.append(signature[:end])
        signature = signature[end:]
    return parts


def _end(signature: str, at: int) -> int:
    if at >= len(signature):
        raise ValueError("an incomplete signature")
    first = signature[at]
    if first == "a":
        return _end(signature, at + 1)
    if first in "({":
        close = ")" if first == "(" else "}"
        at += 1
        while at < len(signature) and signature[at] != close:
            at = _end(signature, at)
        if at >= len(signature):
            raise ValueError("an incomplete signature")
        return at + 1
    if first not in _FIXED and first not in "sogv":
        raise ValueError(f"'{first}' is no type")
    return at + 1


def _alignment(kind: str) -> int:
    return _ALIGN.get(kind) or struct.calcsize(_FIXED[kind])


def marshal(signature: str, values: list[Any] | tuple[Any, ...]) -> bytes:
    """The body of a message."""
    out = bytearray()
    for kind, value in zip(split(signature), values, strict=True):
        _put(out, kind, value)
    return bytes(out)


def _put(out: bytearray, kind: str, value: Any) -> None:
    first = kind[0]
    out += bytes(-len(out) % _alignment(first))
    if first in _FIXED:
        out += struct.pack(f"<{_FIXED[first]}", value)
    elif first in "so":
        data = value.encode()
        out += struct.pack("<I", len(data)) + data + b"\0"
    elif first == "g":
        out += bytes([len(value)]) + value.encode() + b"\0"
    elif first == "v":
        _put(out, "g", value[0])
        _put(out, *value)
    elif first == "a":
        out += bytes(4)
        length_at = len(out) - 4
        out += bytes(-len(out) % _alignment(kind[1]))
        begin = len(out)
        for item in value:
            _put(out, kind[1:], item)
        struct.pack_into("<I", out, length_at, len(out) - begin)
    else:
        for inner, item in zip(split(kind[1:-1]), value, strict=True):
            _put(out, inner, item)


def unmarshal(signature: str, data: bytes) -> list[Any]:
    """The values of a body. Raises ValueError for one that does not fit."""
    reader = _Reader(data)
    try:
        return [reader.get(kind) for kind in split(signature)]
    except (struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"a message that ends too early or is no text: {error}") from None


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def get(self, kind: str) -> Any:
        first = kind[0]
        self.at += -self.at % _alignment(first)
        if first in _FIXED:
            value = self._number(_FIXED[first])
            return bool(value) if first == "b" else value
        if first in "so":
            return self._text(self._number("I"))
        if first == "g":
            return self._text(self._number("B"))
        if first == "v":
            inner = self.get("g")
            if len(split(inner)) != 1:
                raise ValueError(f"a variant of '{inner}'")
            return inner, self.get(inner)
        if first == "a":
            length = self._number("I")
            self.at += -self.at % _alignment(kind[1])
            end = self.at + length
            if end > len(self.data):
                raise ValueError("an array is longer than its message")
            items = []
            while self.at < end:
                items.append(self.get(kind[1:]))
            return items
        return tuple(self.get(inner) for inner in split(kind[1:-1]))

    def _number(self, code: str) -> Any:
        (value,) = struct.unpack_from(f"<{code}", self.data, self.at)
        self.at += struct.calcsize(code)
        return value

    def _text(self, length: int) -> str:
        end = self.at + length
        if end >= len(self.data):
            raise ValueError("a string is longer than its message")
        text, self.at = self.data[self.at : end].decode(), end + 1
        return text


class Connection:
    """To a bus, or to a service's own socket (`bus` false), as whoever we are. Raises OSError."""

    def __init__(self, path: str, *, bus: bool, timeout: float = 30.0) -> None:
        import _socket

        self._serial = 0
        self._buffer = b""
        self._signals: list[tuple[str, list[Any]]] = []
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(path)
            self._authenticate()
            if bus:
                self.call(
                    "org.freedesktop.DBus",
                    "/org/freedesktop/DBus",
                    "org.freedesktop.DBus",
                    "Hello",
                    signature="",
                    values=(),
                )
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def _authenticate(self) -> None:
        self._socket.sendall(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n")
        while b"\r\n" not in self._buffer:
            self._more()
        answer, _, self._buffer = self._buffer.partition(b"\r\n")
        if not answer.startswith(b"OK "):
            raise PermissionError(1, f"refused to talk to us: {answer.decode(errors='replace')}")
        self._socket.sendall(b"BEGIN\r\n")

    def _more(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionResetError(104, "the other side has closed the connection")
        self._buffer += data

    def call(
        self, destination: str, path: str, interface: str, member: str, signature: str, values: tuple[Any, ...]
    ) -> list[Any]:
        """The values of the reply. Raises Refused, OSError."""
        body = marshal(signature, values)
        self._serial += 1
        fields: list[tuple[int, tuple[str, Any]]] = [
            (_PATH, ("o", path)),
            (_INTERFACE, ("s", interface)),
            (_MEMBER, ("s", member)),
            (_DESTINATION, ("s", destination)),
        ]
        if signature:
            fields.append((_SIGNATURE, ("g", signature)))
        head = marshal("yyyyuua(yv)", (ord("l"), _CALL, 0, 1, len(body), self._serial, fields))
        self._socket.sendall(head + bytes(-len(head) % 8) + body)
        while True:
            kind, found, answer = self._receive()
            if kind == _SIGNAL:
                self._signals.append((found.get(_MEMBER, ""), answer))
            elif found.get(_REPLY_SERIAL) == self._serial:
                if kind == _ERROR:
                    raise Refused(found.get(_ERROR_NAME, ""), str(answer[0]) if answer else "")
                return answer

    def signal(self, member: str) -> list[Any]:
        """The values of the next signal of that name, of those that came meanwhile, too."""
        while True:
            while self._signals:
                name, values = self._signals.pop(0)
                if name == member:
                    return values
            kind, found, values = self._receive()
            if kind == _SIGNAL:
                self._signals.append((found.get(_MEMBER, ""), values))

    def _receive(self) -> tuple[int, dict[int, Any], list[Any]]:
        """(type, header fields, values) of the next message."""
        while len(self._buffer) < 16:
            self._more()
        endian, kind, _, version, length, _, fields = struct.unpack_from("<BBBBIII", self._buffer)
        if endian != ord("l") or version != 1 or length > _MAX or fields > _MAX:
            raise OSError(71, "this is not D-Bus")  # EPROTO
        begin = 16 + fields + -fields % 8
        while len(self._buffer) < begin + length:
            self._more()
        message, self._buffer = self._buffer[: begin + length], self._buffer[begin + length :]
        try:
            header = unmarshal("yyyyuua(yv)", message[: 16 + fields])
            found = {number: value for number, (_, value) in header[6]}
            return kind, found, unmarshal(found.get(_SIGNATURE, ""), message[begin:])
        except ValueError as error:
            raise OSError(71, f"this is not D-Bus: {error}") from None
