"""IPv4 arithmetic for networks: subnets, what overlaps, which to choose, names and MACs that follow from them.

By hand and not with `ipaddress`, whose import costs more than everything else a start does here.
"""

from __future__ import annotations

import _socket

from pyctr.core import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT = "bridge"
"""Name of the network that containers are on unless they say otherwise."""


def to_int(address: str) -> int:
    return int.from_bytes(_socket.inet_aton(address), "big")


def to_text(value: int) -> str:
    return _socket.inet_ntoa(value.to_bytes(4, "big"))


def parse_subnet(text: str) -> tuple[int, int]:
    """("10.88.0.0/16") -> (first address, size). Raises UsageError."""
    base, _, length = text.partition("/")
    try:
        if base.count(".") != 3 or not length.isdigit() or not 1 <= int(length) <= 30:
            raise ValueError
        first = to_int(base)
    except (OSError, ValueError):
        raise errors.UsageError(f"'{text}' is not an IPv4 subnet", hint="like 10.90.0.0/24, at most /30") from None
    size = 1 << (32 - int(length))
    return first & ~(size - 1), size


def checked_subnet(text: str) -> str:
    """A subnet that has addresses for hosts, with its first address. Raises UsageError."""
    first, size = parse_subnet(text)
    if first >> 28 >= 14 or not first >> 24:  # multicast and what is reserved; "this network" (RFC 6890)
        raise errors.UsageError(f"subnet '{text}' has no addresses for hosts", hint="like 10.90.0.0/24")
    return f"{to_text(first)}/{33 - size.bit_length()}"


def check_addresses(subnet: str, gateway: str, ip_range: str, reserved: dict[str, str]) -> None:
    """Whether what a user gave lies in the subnet. Raises UsageError."""
    first, size = parse_subnet(subnet)
    for what, address in (("gateway", gateway), *((f"address of '{name}'", ip) for name, ip in reserved.items())):
        if address.count(".") != 3 or not first < to_int(address) < first + size - 1:
            raise errors.UsageError(f"{what} '{address}' is not in '{subnet}'", hint="one of the subnet's own")
    if ip_range:
        start, count = parse_subnet(ip_range)
        if start < first or start + count > first + size:
            raise errors.UsageError(f"range '{ip_range}' is not in '{subnet}'", hint="a smaller part of the subnet")


def overlap(one: str, other: str) -> bool:
    a, a_size = parse_subnet(one)
    base, _, length = other.partition("/")
    b_size = 1 << (32 - int(length or 32))
    b = to_int(base) & ~(b_size - 1)
    return a < b + b_size and b < a + a_size


def candidates(bridge: str, name: str) -> Iterator[str]:
    """Subnets to try for a network, best first.

    pyctr0 gets 10.78.0.0/16; another bridge starts at a place that depends on its name only, so that several pyctrs
    on one host rarely meet. Podman gives its first network 10.88.0.0/16 without looking whether somebody has it, and
    the others the first free one from 10.89.0.0/24 on, which has no route before it is used.
    """
    if bridge == "pyctr0" and name == DEFAULT:
        for second in (*range(78, 63, -1), *range(200, 256)):
            yield f"10.{second}.0.0/16"
        return
    import zlib

    number = zlib.crc32(f"{bridge}/{name}".encode())
    if name == DEFAULT:
        base, slots, length = to_int("10.100.0.0"), 1584, 20
    elif bridge == "pyctr0":
        base, slots, length, number = to_int("10.79.0.0"), 256 * 9, 24, 0
    else:
        base, slots, length = to_int("10.200.0.0"), 256 * 55, 24
    for step in range(slots):
        yield f"{to_text(base + ((number + step) % slots << (32 - length)))}/{length}"


def bridge_name(bridge: str, name: str) -> str:
    """The bridge of a user-defined network: our default bridge's name and a few digits of the network's."""
    if name == DEFAULT:
        return bridge
    import zlib

    # of a bridge whose name does not fit, the rest counts in the digits
    number = zlib.crc32(f"{bridge[9:]}/{name}".encode() if bridge[9:] else name.encode())
    return f"{bridge[:9]}-{number & 0xFFFFF:05x}"


def mac_of(address: str) -> str:
    """A locally administered MAC that follows from the address: whoever gets it next answers to old ARP entries."""
    return "02:70:" + ":".join(f"{byte:02x}" for byte in _socket.inet_aton(address))
