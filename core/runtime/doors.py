"""Published ports to which the kernel leads nobody: `[::1]` of the host, and IPv6 addresses of the host for a container
that has none of its own.

    caller ── [::1]:8080 ═══ a socket of the container's shim, which sleeps ── fork ──> `portproxy` ── 10.78.0.7:80
                             until somebody knocks, and again a while after             unprivileged, goes by itself
                             the last caller has left

A worker of the start opens the sockets while init works, so a port is served before the start is answered. They are the
shim's like those of the name server: they go with it, and an end closes them before it is on record. A proxy that was
killed takes its callers with it, and the next one who knocks has another.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports enum
import _socket
import errno
import os
import time

from pyctr.core import errors, hostports
from pyctr.core.linux import process
from pyctr.core.runtime.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from pyctr.core.runtime.shim import Shim

    Key = tuple[str, int, str]
    """(address, port, protocol) of a socket."""

KINDS = {"tcp": _socket.SOCK_STREAM, "udp": _socket.SOCK_DGRAM}
_BACKLOG = 128
_RETRY = 1.0
"""Seconds until anybody is heard again after a proxy could not be made, or did not end well."""


def wanted(attachment: dict[str, Any]) -> dict[Key, int]:
    """What has to be listened on, and the container's port behind it."""
    found: dict[Key, int] = {}
    if attachment.get("mode") != "bridge":
        return found
    everywhere: dict[Key, int] = {}
    for port in attachment.get("ports") or ():
        address, protocol = port.get("host_ip") or "", port.get("protocol") or "tcp"
        if protocol not in KINDS or port.get("only4") or (address and ":" not in address):
            continue
        _, door = hostports.ways6(address, bool(attachment.get("address6")))
        if door is not None:
            (found if address else everywhere)[door, port["host_port"], protocol] = port["container_port"]
    found = {**everywhere, **found}
    return {key: inside for key, inside in found.items() if key[0] == "::" or ("::", *key[1:]) not in found}


def make_room(attachment: dict[str, Any]) -> int:
    """In a worker: let us and the shim have each of `wanted`, and a copy of it for `rest`, as if they did not count.
    The limit on descriptors as it was before, for what is made inside; 0 if there is room enough. Raises OSError."""
    soft, hard = process.getrlimit("RLIMIT_NOFILE")
    count = len(wanted(attachment))
    if 4 * count <= soft:
        return 0
    most = min(soft + 2 * count, hard)
    for pid in (0, os.getppid()):
        process.setrlimit("RLIMIT_NOFILE", most, hard, pid)
    return soft


def opened(attachment: dict[str, Any]) -> list[_socket.socket]:
    """A socket for each of `wanted`; without `::1` on this host none for it. Raises Conflict, OSError."""
    asked = {port.get("host_ip") for port in attachment.get("ports") or ()}
    sockets: list[_socket.socket] = []
    for address, number, protocol in wanted(attachment):
        try:
            sockets.append(listen(address, number, protocol))
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) and address == "::1" and not asked & {address}:
                continue
            for socket in sockets:
                socket.close()
            if error.errno == errno.EADDRINUSE:
                raise errors.Conflict(
                    f"port {number}/{protocol} of '{address}' is taken by {hostports.owner(number, protocol)}",
                    hint="choose another host port",
                ) from None
            raise OSError(error.errno, f"listening on [{address}]:{number}: {error.strerror}") from None
    return sockets


def listen(address: str, number: int, protocol: str) -> _socket.socket:
    """A socket that hears who calls an IPv6 address. Raises OSError."""
    kind = KINDS[protocol] | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
    socket = _socket.socket(_socket.AF_INET6, kind)
    try:
        socket.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
        if protocol == "tcp":
            socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        else:
            # an answer comes from the address that was asked
            socket.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_RECVPKTINFO, 1)
        socket.bind((address, number))
        if protocol == "tcp":
            socket.listen(_BACKLOG)
    except BaseException:
        socket.close()
        raise
    return socket


class Doors:
    """The sockets of a container that runs, and who answers there."""

    def __init__(self, shim: Shim, descriptors: list[int]) -> None:
        self._shim = shim
        self._fds = descriptors
        self._proxy = 0
        self._hear()

    def descriptors(self) -> list[int]:
        """Those that it was made with."""
        return self._fds

    def _hear(self) -> None:
        for fd in self._fds:
            self._shim.loop.add(fd, READ, self._knocked)

    def _knocked(self, _: int) -> None:
        for fd in self._fds:
            self._shim.loop.remove(fd)
        shim = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            self._shim.loop.at(time.monotonic() + _RETRY, self._hear)  # no memory for a process
            return
        if pid == 0:
            self._serve(shim)
        self._proxy = pid
        self._shim.children[pid] = self._left

    def _serve(self, shim: int) -> NoReturn:
        code = 1
        try:
            from pyctr.core.runtime import portproxy

            wishes = self._shim.plan().wishes
            portproxy.serve(self._fds, f"{wishes['paths']['run']}/networks/ids/{wishes['id']}", shim)
            code = 0
        finally:
            os._exit(code)

    def _left(self, code: int) -> None:
        self._proxy = 0
        if code in (0, -_signal.SIGKILL):
            self._hear()
        else:
            self._shim.loop.at(time.monotonic() + _RETRY, self._hear)

    def forget(self) -> None:
        """In a fork of the shim: it has none of them, and room for its own."""
        for fd in self._fds:
            os.close(fd)
        self._fds = []

    def close(self) -> None:
        """Nobody is heard any more, and who talks is cut off."""
        self._shim.loop.at(None, self._hear)
        for fd in self._fds:
            self._shim.loop.remove(fd)
            os.close(fd)
        self._fds = []
        if self._proxy and self._proxy in self._shim.children:
            del self._shim.children[self._proxy]
            os.kill(self._proxy, _signal.SIGKILL)
            os.waitpid(self._proxy, 0)  # its copies are closed then: the next start finds the ports free
