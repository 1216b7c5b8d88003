"""IPv6 arithmetic for networks: what a user gave, checked, or a local prefix that follows from names (RFC 4193)."""

from __future__ import annotations

import _socket

from pyctr.core import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def to_int(address: str) -> int:
    """Raises OSError."""
    return int.from_bytes(_socket.inet_pton(_socket.AF_INET6, address), "big")


def to_text(value: int) -> str:
    return _socket.inet_ntop(_socket.AF_INET6, value.to_bytes(16, "big"))


def parse(text: str) -> tuple[int, int]:
    """("fd00::/64") -> (first address, size). Raises UsageError."""
    base, _, length = text.partition("/")
    try:
        if not length.isdecimal() or not 8 <= int(length) <= 120:
            raise OSError
        size = 1 << (128 - int(length))
        return to_int(base) & ~(size - 1), size
    except OSError:
        raise errors.UsageError(
            f"'{text}' is not an IPv6 subnet", hint="like fd12:3456:789a::/64, at most /120"
        ) from None


def settle(bridge: str, name: str, subnet: str, gateway: str, taken: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """(subnet, gateway) of a new network. Raises UsageError, Conflict."""
    if not subnet:
        from hashlib import sha256

        digest = sha256(f"{bridge}/{name}".encode()).digest()
        subnet = f"{to_text(int.from_bytes(bytes([0xFD]) + digest[:7] + bytes(8), 'big'))}/64"
    first, size = parse(subnet)
    for other, whose in taken:
        begin, count = parse(other)
        if first < begin + count and begin < first + size:
            raise errors.Conflict(f"subnet '{subnet}' overlaps '{other}' of network '{whose}'", hint="choose another")
    if gateway and not first < to_int(gateway) < first + size:
        raise errors.UsageError(f"gateway '{gateway}' is not in '{subnet}'", hint="one of the subnet's own")
    return f"{to_text(first)}/{129 - size.bit_length()}", gateway or to_text(first + 1)
