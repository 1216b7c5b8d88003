"""The addresses of sockets by inode, as the tables of a network namespace have them (proc_pid_net(5), proc(5))."""

from __future__ import annotations

import socket
import struct
from itertools import islice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

LINES = 65536
"""Read of one table: that of the host's namespace can be long."""
_STATES = {
    1: "", 2: "connecting", 3: "connecting", 4: "closing", 5: "closing", 6: "closing", 7: "", 8: "closing",
    9: "closing", 10: "listening", 11: "closing",
}  # fmt: skip
"""Of TCP (include/net/tcp_states.h) in a word; the others use 1 and 7, which need none."""
_UNIX = {1: "stream", 2: "datagram", 5: "seqpacket"}
_INTERNET = ("tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6", "icmp", "icmp6")
_INODE = {"packet": 8, "netlink": 9}
"""Tables that know no address: the column of the inode."""


def names(directory: str, wanted: Collection[int]) -> dict[int, str]:
    """Of the wanted inodes those that a table in /proc/PID/net has: `tcp 10.88.0.2:8080 listening`,
    `unix stream /run/app.sock`. A table that is not there, or not ours, has none."""
    found: dict[int, str] = {}
    # paths of unix sockets are a container's own words, even with line feeds: that table comes last and changes nothing
    for table in (*_INTERNET, *_INODE, "unix"):
        if len(found) == len(wanted):
            break
        try:
            with open(f"{directory}/{table}", encoding="utf-8", errors="replace") as file:
                lines = list(islice(file, LINES))[1:]
        except OSError:
            continue
        for line in lines:
            try:
                inode, name = _line(table, line)
            except (ValueError, IndexError, struct.error, OSError):
                continue  # half a line, or one that is somebody's name
            if inode in wanted:
                found.setdefault(inode, name)
    return found


def _line(table: str, line: str) -> tuple[int, str]:
    if table == "unix":
        # Num RefCount Protocol Flags Type St Inode Path
        words = line.rstrip("\n").split(None, 7)
        kind = _UNIX.get(int(words[4], 16), "")
        path = words[7] if len(words) > 7 else ""
        return int(words[6]), " ".join(word for word in ("unix", kind, path) if word)
    words = line.split()
    if table in _INODE:
        return int(words[_INODE[table]]), table
    here, there = address(words[1]), address(words[2])
    talks = f"{here} -> {there}" if not there.endswith(":0") else here
    return int(words[9]), f"{table.removesuffix('6')} {talks} {_STATES.get(int(words[3], 16), '')}".rstrip()


def address(text: str) -> str:
    """`0100007F:1F90` -> `127.0.0.1:8080`: words of four bytes in the host's order. Raises ValueError."""
    raw, _, port = text.partition(":")
    packed = b"".join(struct.pack("=I", int(raw[place : place + 8], 16)) for place in range(0, len(raw), 8))
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    shown = socket.inet_ntop(family, packed).removeprefix("::ffff:")
    if shown in ("0.0.0.0", "::"):
        shown = "*"
    return f"{f'[{shown}]' if ':' in shown else shown}:{int(port, 16)}"
