"""Which process listens on a port of this host, in words for an error message."""

from __future__ import annotations

import os


def owner(number: int, protocol: str, proc: str = "/proc") -> str:
    """ "'nginx' (pid 812)", or "a process of this host" when /proc does not tell."""
    inodes = set()
    for table in (protocol, f"{protocol}6"):
        try:
            with open(f"{proc}/net/{table}") as file:
                lines = file.read().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            # proc_net(5): local address in hex, state 0A is LISTEN, 07 an unconnected UDP socket
            if int(fields[1].rpartition(":")[2], 16) == number and fields[3] in ("0A", "07"):
                inodes.add(f"socket:[{fields[9]}]")
    if inodes:
        for pid in os.listdir(proc):
            if pid.isdigit() and _holds(f"{proc}/{pid}/fd", inodes):
                try:
                    with open(f"{proc}/{pid}/comm") as file:
                        return f"'{file.read().strip()}' (pid {pid})"
                except OSError:
                    continue  # just ended
    return "a process of this host"


def _holds(directory: str, wanted: set[str]) -> bool:
    try:
        names = os.listdir(directory)
    except OSError:
        return False
    for name in names:
        try:
            if os.readlink(f"{directory}/{name}") in wanted:
                return True
        except OSError:
            continue  # closed meanwhile
    return False
