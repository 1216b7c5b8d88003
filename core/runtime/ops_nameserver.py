"""The sockets of the name server at 127.0.0.11, made in the container's network namespace; see `nameserver`."""

from __future__ import annotations

import _socket
import os

from pyctr.core.linux import namespaces, netlink, rtmessages
from pyctr.core.runtime import operation
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.runtime.context import Context

ADDRESS = "127.0.0.11"
_TABLE = "pyctr-dns"


class OpenNames(Operation):
    """UDP and TCP sockets, and the rules that lead port 53 to them; before init has its link, so before any program
    can ask."""

    step = operation.NETWORK
    inside = False

    def describe(self) -> str:
        return f"name server at {ADDRESS}"

    def brief(self) -> str:
        return f"dns {ADDRESS}"

    def execute(self, context: Context) -> None:
        there = namespaces.open_namespace(context.pid, "network")
        try:
            context.names = namespaces.within(there, open_sockets)
        finally:
            os.close(there)


def open_sockets() -> list[_socket.socket]:
    """[UDP, TCP] in this namespace: on ports of their own with port 53 led there, or on 53 where the kernel cannot."""
    with netlink.Netlink() as control:
        # before it is up, 127.0.0.11 is nobody's: a socket bound there with IP_FREEBIND answers from 127.0.0.1
        control.send([rtmessages.up(1, "lo")])
    sockets = _bound(0)
    try:
        _lead([socket.getsockname()[1] for socket in sockets])
    except OSError:
        for socket in sockets:
            socket.close()
        sockets = _bound(53)
    return sockets


def _bound(port: int) -> list[_socket.socket]:
    sockets = []
    for kind in (_socket.SOCK_DGRAM, _socket.SOCK_STREAM):
        socket = _socket.socket(_socket.AF_INET, kind | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
        sockets.append(socket)
        socket.bind((ADDRESS, port))
    sockets[1].listen(64)
    return sockets


def _lead(ports: list[int]) -> None:
    from pyctr.core.linux import nftables as nf

    raw = _socket.inet_aton(ADDRESS)
    batch = nf.Batch()
    batch.table(_TABLE)
    batch.chain(_TABLE, "output", hook=nf.OUTPUT, priority=-100, kind="nat")
    for protocol, port in zip((17, 6), ports, strict=True):
        batch.rule(
            _TABLE,
            "output",
            nf.daddr() + nf.cmp(raw),
            nf.meta(nf.L4PROTO) + nf.cmp(bytes([protocol])),
            nf.dport() + nf.cmp((53).to_bytes(2, "big")),
            nf.load(raw, nf.R0) + nf.load(port.to_bytes(2, "big"), nf.R0 + 1) + nf.dnat(nf.R0, nf.R0 + 1),
        )
    with nf.Nft() as socket:
        batch.send(socket)
