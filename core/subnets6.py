"""IPv6 arithmetic for networks: what a user gave, checked, or a local prefix that follows from names (RFC 4193)."""

from __future__ import annotations

import _socket
from itertools import count

from pyctr.core import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


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
    """(subnet, gateway) of a new network; `taken` are (subnet, whose in words). Raises UsageError, Conflict."""
    taken = list(taken)
    if subnet:
        first, size = parse(subnet)
        if clash := _clash(first, size, taken):
            raise errors.Conflict(f"subnet '{subnet}' overlaps '{clash[0]}' of {clash[1]}", hint="choose another")
    else:
        first, size = next(each for each in _candidates(bridge, name) if not _clash(*each, taken))
    if gateway and not _inside(gateway, first, size):
        raise errors.UsageError(
            f"gateway '{gateway}' is not in '{subnet or to_text(first)}'", hint="one of the subnet's own"
        )
    return f"{to_text(first)}/{129 - size.bit_length()}", gateway or to_text(first + 1)


def _candidates(bridge: str, name: str) -> Iterator[tuple[int, int]]:
    from hashlib import sha256

    for number in count():
        digest = sha256(f"{bridge}/{name}{number or ''}".encode()).digest()
        yield int.from_bytes(bytes([0xFD]) + digest[:7] + bytes(8), "big"), 1 << 64


def _clash(first: int, size: int, taken: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    for other, whose in taken:
        base, _, length = other.partition("/")
        begin, many = to_int(base), 1 << (128 - int(length or 128))
        if first < begin + many and begin < first + size:
            return other, whose
    return None


def _inside(address: str, first: int, size: int) -> bool:
    try:
        return first < to_int(address) < first + size
    except OSError:
        return False


def check(subnet: str, ip_range: str, reserved: Iterable[str]) -> None:
    """Whether what a user gave lies in the subnet. Raises UsageError."""
    if not subnet:
        if given := [*filter(None, [ip_range]), *reserved]:
            raise errors.UsageError(f"'{given[0]}' needs an IPv6 subnet", hint="give one more --subnet, or --ipv6")
        return
    first, size = parse(subnet)
    for address in reserved:
        if not _inside(address, first, size):
            raise errors.UsageError(f"address '{address}' is not in '{subnet}'", hint="one of the subnet's own")
    if ip_range:
        start, many = parse_range(ip_range)
        if start < first or start + many > first + size:
            raise errors.UsageError(f"range '{ip_range}' is not in '{subnet}'", hint="a smaller part of the subnet")


def parse_range(text: str) -> tuple[int, int]:
    """("fd00::100/120") -> (first address, size), as small as one address. Raises UsageError."""
    base, _, length = text.partition("/")
    try:
        size = 1 << (128 - int(length))
        return to_int(base) & ~(size - 1), size
    except (OSError, ValueError):
        raise errors.UsageError(f"'{text}' is not a range of IPv6 addresses", hint="like fd12::100/120") from None
