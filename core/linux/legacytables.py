"""What the old kernel interface of iptables tells of a table: enough to see that it is another one than before, and
whether a comment stands in it.

Nothing is told of changes there, so somebody has to look; a look is a system call or two, where the program iptables
takes 3 ms. Source: linux/netfilter_ipv4/ip_tables.h, struct ipt_getinfo and ipt_get_entries; those of ip6_tables.h are
of the same shape.
"""

from __future__ import annotations

import _socket
import struct

from pyctr.core.linux import foreign, libc

_GET_INFO = 64
"""IPT_SO_GET_INFO, IP6T_SO_GET_INFO."""
_GET_ENTRIES = 65
_NAMES = {_GET_INFO: "IPT_SO_GET_INFO", _GET_ENTRIES: "IPT_SO_GET_ENTRIES"}
_NAME, _INFO = 32, 84
_HEAD = 40
"""Bytes of struct ipt_get_entries before its entries: name, size, padding."""
_LEVELS = ((_socket.AF_INET, 0, "ip_tables_names"), (_socket.AF_INET6, 41, "ip6_tables_names"))


def shape(proc: str) -> bytes:
    """Number and places of the rules in the tables that are loaded in this namespace; asking loads none."""
    found = b""
    for family, level, names in _LEVELS:
        try:
            with open(f"{proc}/net/{names}", "rb") as file:
                loaded = sorted({b"filter", b"mangle", b"nat"}.intersection(file.read().split()))
            for table in loaded:
                found += _info(family, level, table)
        except OSError:
            continue  # not in this kernel, not for us to ask, or unloaded just now: then its absence is its shape
    return found


def comments(comment: str, names: str) -> int:
    """How often a comment stands in table `filter` of the family whose tables are listed in /proc/net/`names`. Raises
    OSError, EAGAIN when somebody has just changed it."""
    family, level, _ = next(each for each in _LEVELS if each[2] == names)
    (size,) = struct.unpack("=I", _info(family, level, b"filter")[-4:])
    head = struct.pack("=32sI4x", b"filter", size)
    # struct xt_comment_info is its text and zeros
    return _asked(family, level, _GET_ENTRIES, head, _HEAD + size).count(b"%b\0" % comment.encode())


def _info(family: int, level: int, table: bytes) -> bytes:
    return _asked(family, level, _GET_INFO, table, _INFO)[_NAME:]


def _asked(family: int, level: int, option: int, request: bytes, length: int) -> bytes:
    answer, size = foreign.buffer(length), foreign.c_int(length)
    answer[: len(request)] = request
    there = foreign.c_ulong(foreign.addressof(size))
    socket = _socket.socket(family, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, _socket.IPPROTO_RAW)
    try:
        libc.check(libc.libc.getsockopt(socket.fileno(), level, option, answer, there), f"getsockopt {_NAMES[option]}")
    finally:
        socket.close()
    return bytes(answer)
