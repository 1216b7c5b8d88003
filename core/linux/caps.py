"""Capability sets of threads: capget(2), capset(2), capabilities(7)."""

from __future__ import annotations

import struct

from pyctr.core.linux import const, foreign
from pyctr.core.linux.capnames import NAMES as NAMES
from pyctr.core.linux.capnames import number as number
from pyctr.core.linux.libc import prctl, syscall

_VERSION_3 = 0x20080522
_last = -1


def last() -> int:
    """The highest capability this kernel knows. Asked by prctl, because init has no /proc of its own yet."""
    global _last
    if _last < 0:
        highest = len(NAMES) - 1
        while _known(highest + 1):
            highest += 1
        while not _known(highest):
            highest -= 1
        _last = highest
    return _last


def supported() -> int:
    """Mask of every capability this kernel knows."""
    return (1 << last() + 1) - 1


def mask(names: list[str]) -> int:
    """The bit mask of some names; "ALL" is everything this kernel knows."""
    bits = 0
    for name in names:
        bits |= supported() if name.upper() in ("ALL", "CAP_ALL") else 1 << number(name)
    return bits


def names(mask: int) -> list[str]:
    """The names in a mask, in numeric order; a bit without a name yet is called "CAP_42"."""
    bits = [bit for bit in range(mask.bit_length()) if mask >> bit & 1]
    return [NAMES[bit] if bit < len(NAMES) else f"CAP_{bit}" for bit in bits]


def get(pid: int = 0) -> tuple[int, int, int]:
    """(effective, permitted, inheritable) masks of a thread, 0 for the calling one."""
    header = struct.pack("=Ii", _VERSION_3, pid)
    data = foreign.buffer(24)
    syscall(const.SYSCALLS["capget"], header, data, name="capget")
    low_e, low_p, low_i, high_e, high_p, high_i = struct.unpack("=6I", data.raw)
    return low_e | high_e << 32, low_p | high_p << 32, low_i | high_i << 32


def set(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2) of the calling thread."""
    header = struct.pack("=Ii", _VERSION_3, 0)
    low = 0xFFFFFFFF
    words = (
        effective & low,
        permitted & low,
        inheritable & low,
        effective >> 32,
        permitted >> 32,
        inheritable >> 32,
    )
    syscall(const.SYSCALLS["capset"], header, struct.pack("=6I", *words), name="capset")


def bounding() -> int:
    """The mask of the calling thread's bounding set."""
    bits = 0
    for bit in range(last() + 1):
        bits |= prctl(const.PR_CAPBSET_READ, bit) << bit
    return bits


def drop_bounding(mask_to_keep: int) -> None:
    """Drop everything else from the bounding set; needs CAP_SETPCAP unless it is gone already."""
    for bit in range(last() + 1):
        if mask_to_keep >> bit & 1:
            continue
        try:
            prctl(const.PR_CAPBSET_DROP, bit)
        except PermissionError:
            if prctl(const.PR_CAPBSET_READ, bit):
                raise


def set_ambient(mask: int) -> None:
    """Exactly this ambient set. Its members must be permitted and inheritable already (EPERM)."""
    prctl(const.PR_CAP_AMBIENT, const.PR_CAP_AMBIENT_CLEAR_ALL)
    for bit in range(mask.bit_length()):
        if mask >> bit & 1:
            prctl(const.PR_CAP_AMBIENT, const.PR_CAP_AMBIENT_RAISE, bit)


def ambient() -> int:
    """The mask of the calling thread's ambient set."""
    bits = 0
    for bit in range(last() + 1):
        bits |= prctl(const.PR_CAP_AMBIENT, const.PR_CAP_AMBIENT_IS_SET, bit) << bit
    return bits


def _known(bit: int) -> bool:
    try:
        prctl(const.PR_CAPBSET_READ, bit)
    except OSError:
        return False  # EINVAL: not a capability here
    return True
