"""The sockets of the name server at 127.0.0.11, made by init in its network namespace and handed to the shim; see
`nameserver`. Init is there already and has raised loopback: the shim would have to go there and back, and to take the
kernel's one lock of all networks (rtnl) once more."""

from __future__ import annotations

import _socket

from pyctr.core.linux import netlink
from pyctr.core.runtime import operation, sync
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.runtime.context import Context

ADDRESS = "127.0.0.11"


class OpenNames(Operation):
    """UDP and TCP sockets, and the rules that lead port 53 to them: before any program can ask."""

    step = operation.NETWORK

    order: dict[str, Any]
    """As `core.namerules` makes it."""

    def describe(self) -> str:
        return f"name server at {ADDRESS}"

    def brief(self) -> str:
        return f"dns {ADDRESS}"

    def execute(self, context: Context) -> None:
        assert context.packets is not None
        sockets = opened(self.order)
        context.packets.send(sync.NAMES, b"", (sockets[0].fileno(), sockets[1].fileno()))
        for socket in sockets:
            socket.close()


def opened(order: dict[str, Any]) -> list[_socket.socket]:
    """[UDP, TCP] in this namespace: on the order's port with 53 led there, or on 53 where the kernel cannot.

    Loopback is up: before, 127.0.0.11 is nobody's, and a socket bound there with IP_FREEBIND answers from 127.0.0.1.
    """
    try:
        with netlink.Netlink(netlink.NETLINK_NETFILTER) as rules:
            messages = [netlink.Message(*words) for words in order["rules"]]
            rules.send(messages, wrap=order["wrap"])
    except OSError:
        return _bound(53)
    return _bound(order["port"])


def _bound(port: int) -> list[_socket.socket]:
    """The namespace is new: no port is taken there."""
    sockets = []
    for kind in (_socket.SOCK_DGRAM, _socket.SOCK_STREAM):
        socket = _socket.socket(_socket.AF_INET, kind | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
        sockets.append(socket)
        socket.bind((ADDRESS, port))
    sockets[1].listen(64)
    return sockets
