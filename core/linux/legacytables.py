"""What the old kernel interface of iptables tells of a table: enough to see that it is another one than before.

Nothing is told of changes there, so somebody has to look; this look is one system call. Source:
linux/netfilter_ipv4/ip_tables.h, struct ipt_getinfo; ip6t_getinfo is of the same shape.
"""

from __future__ import annotations

import _socket

from pyctr.core.linux import foreign, libc

_GET_INFO = 64
"""IPT_SO_GET_INFO, IP6T_SO_GET_INFO."""
_NAME, _INFO = 32, 84
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
            continue  # not in this kernel, or not for us to ask
    return found


def _info(family: int, level: int, table: bytes) -> bytes:
    info, size = foreign.buffer(_INFO), foreign.c_int(_INFO)
    info[: len(table)] = table
    there = foreign.c_ulong(foreign.addressof(size))
    socket = _socket.socket(family, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, _socket.IPPROTO_RAW)
    try:
        libc.check(libc.libc.getsockopt(socket.fileno(), level, _GET_INFO, info, there), "getsockopt IPT_SO_GET_INFO")
    finally:
        socket.close()
    return bytes(info[_NAME:])
