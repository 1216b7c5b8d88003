"""The sockets of the name server at 127.0.0.11, made in the container's network namespace; see `nameserver`."""

from __future__ import annotations

import _socket
import os

from pyctr.core.linux import namespaces, netlink, rtmessages
from pyctr.core.runtime import operation
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.runtime.context import Context

ADDRESS = "127.0.0.11"


class OpenNames(Operation):
    """UDP and TCP sockets, and the rules that lead port 53 to them; before init has its link, so before any program
    can ask."""

    step = operation.NETWORK
    inside = False

    order: dict[str, Any]
    """As `core.namerules` makes it."""

    def describe(self) -> str:
        return f"name server at {ADDRESS}"

    def brief(self) -> str:
        return f"dns {ADDRESS}"

    def execute(self, context: Context) -> None:
        there = namespaces.open_namespace(context.pid, "network")
        try:
            context.names = namespaces.within(there, self._open)
        finally:
            os.close(there)

    def _open(self) -> list[_socket.socket]:
        """[UDP, TCP] in this namespace: on the order's port with 53 led there, or on 53 where the kernel cannot."""
        with netlink.Netlink() as control:
            # before it is up, 127.0.0.11 is nobody's: a socket bound there with IP_FREEBIND answers from 127.0.0.1
            control.send([rtmessages.up(1, "lo")])
        try:
            with netlink.Netlink(netlink.NETLINK_NETFILTER) as rules:
                messages = [netlink.Message(*words) for words in self.order["rules"]]
                rules.send(messages, wrap=self.order["wrap"])
        except OSError:
            return _bound(53)
        return _bound(self.order["port"])


def _bound(port: int) -> list[_socket.socket]:
    """The namespace is new: no port is taken there."""
    sockets = []
    for kind in (_socket.SOCK_DGRAM, _socket.SOCK_STREAM):
        socket = _socket.socket(_socket.AF_INET, kind | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
        sockets.append(socket)
        socket.bind((ADDRESS, port))
    sockets[1].listen(64)
    return sockets
