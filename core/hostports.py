"""Whether a port of this host is free, and which process listens on it, in words for an error message."""

from __future__ import annotations

import _socket
import errno
import os

from pyctr.core import errors

FIT = "an address of this host that is neither link-local nor an IPv4 one in the form of IPv6"


def canonical(host_ip: str) -> str:
    """An address that ports are published on, in the one way the kernel writes it; "" for all of them."""
    if ":" in host_ip:
        return _socket.inet_ntop(_socket.AF_INET6, _socket.inet_pton(_socket.AF_INET6, host_ip))
    return "" if host_ip in ("0.0.0.0", "*") else host_ip


def fit(host_ip: str) -> bool:
    """Whether an IPv6 address may be one to publish ports on: a link-local one (RFC 4291, 2.5.6) is an interface's, an
    IPv4-mapped one (2.5.5.2) is none of IPv6."""
    packed = _socket.inet_pton(_socket.AF_INET6, host_ip)
    link_local = packed[0] == 0xFE and packed[1] & 0xC0 == 0x80
    return not link_local and packed[:12] != bytes(10) + b"\xff\xff"


def ways6(host_ip: str, six: bool) -> tuple[str | None, str | None]:
    """Where callers over IPv6 reach a port that is published on `host_ip`, which is "" or of IPv6: (the address that
    the kernel leads to a container with an IPv6 address, `six`; the one where a process has to hear them). "" are all
    addresses, None is none."""
    if host_ip in ("", "::"):
        return ("", "::1") if six else (None, host_ip or "::1")
    return (None, host_ip) if host_ip == "::1" or not six else (host_ip, None)


def check(host_ip: str, number: int, protocol: str, proc: str = "/proc", *, only4: bool = False) -> None:
    """Raise Conflict when a process of this host listens on a port, UsageError when `host_ip` is not ours. "" are all
    addresses, of IPv4 only or `::1`, too.

    Binding is the question; /proc, which may have 100,000 lines, only says who.
    """
    try:
        _bind(host_ip or "0.0.0.0", number, protocol)
        if not host_ip and not only4 and protocol != "sctp":
            try:
                _bind("::1", number, protocol)
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):  # a host without IPv6
                    raise
    except OSError as error:
        if error.errno == errno.EPROTONOSUPPORT:
            return  # without sctp in this kernel nobody here listens on it
        if error.errno == errno.EADDRNOTAVAIL:
            raise errors.UsageError(
                f"'{host_ip}' is not an address of this host", hint="'ip address' lists them"
            ) from None
        if host_ip and error.errno in (errno.EINVAL, errno.EAFNOSUPPORT):
            raise errors.UsageError(
                f"no port can be published on '{host_ip}': {os.strerror(error.errno).lower()}", hint=FIT
            ) from None
        if error.errno != errno.EADDRINUSE:
            raise
        raise errors.Conflict(
            f"port {number}/{protocol} is taken by {owner(number, protocol, proc)}",
            hint="choose another host port",
        ) from None


def _bind(address: str, number: int, protocol: str) -> None:
    kind = _socket.SOCK_DGRAM if protocol == "udp" else _socket.SOCK_STREAM
    family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
    probe = _socket.socket(family, kind | _socket.SOCK_CLOEXEC, 132 if protocol == "sctp" else 0)
    try:
        if protocol != "udp":
            probe.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        if family == _socket.AF_INET6:
            probe.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
        probe.bind((address, number))
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
