"""Whether a port of this host is free, and which process listens on it, in words for an error message."""

from __future__ import annotations

import _socket
import errno
import os

from pyctr.core import errors


def check(host_ip: str, number: int, protocol: str, proc: str = "/proc") -> None:
    """Raise Conflict when a process of this host listens on a port, UsageError when `host_ip` is not ours.

    Binding is the question; /proc, which may have 100,000 lines, only says who.
    """
    kind = _socket.SOCK_DGRAM if protocol == "udp" else _socket.SOCK_STREAM
    try:
        family = _socket.AF_INET6 if ":" in host_ip else _socket.AF_INET
        probe = _socket.socket(family, kind | _socket.SOCK_CLOEXEC, 132 if protocol == "sctp" else 0)
    except OSError as error:
        if error.errno == errno.EPROTONOSUPPORT:
            return  # without sctp in this kernel nobody here listens on it
        raise
    try:
        if protocol != "udp":
            probe.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        probe.bind((host_ip or "0.0.0.0", number))
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise errors.UsageError(
                f"'{host_ip}' is not an address of this host", hint="'ip address' lists them"
            ) from None
        if error.errno != errno.EADDRINUSE:
            raise
        raise errors.Conflict(
            f"port {number}/{protocol} is taken by {owner(number, protocol, proc)}",
            hint="choose another host port",
        ) from None
    finally:
        probe.close()


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
