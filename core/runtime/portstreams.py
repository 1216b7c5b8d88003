"""TCP connections that a `portproxy` carries: each way ends for itself, and a reset is passed on."""

from __future__ import annotations

import _socket
import errno
import struct

from pyctr.core.runtime.loop import HANGUP, PRIORITY, READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.runtime.portproxy import Proxy, Target

AT_ONCE = 16
"""Callers that are taken in one turn; then others have theirs."""
_RESET = struct.pack("=ii", 1, 0)
"""struct linger: close with a RST."""
_buffer = memoryview(bytearray(1 << 18))
"""What is on its way: a process does one thing at a time."""


class Door:
    """A listening TCP socket."""

    def __init__(self, proxy: Proxy, socket: _socket.socket, targets: list[Target]) -> None:
        self._proxy = proxy
        self._socket = socket
        self._targets = targets
        proxy.loop.add(socket.fileno(), READ, self._ready)

    def hear(self) -> None:
        self._proxy.loop.want(self._socket.fileno(), READ)

    def _ready(self, _: int) -> None:
        for _ in range(AT_ONCE):  # then others have their turn
            if not self._proxy.come():
                # who waits in line would wake us again and again
                self._proxy.loop.want(self._socket.fileno(), 0)
                return
            try:
                fd, _ = self._socket._accept()  # type: ignore[attr-defined]
            except OSError:
                self._proxy.gone()
                return  # nobody any more
            caller = _socket.socket(fileno=fd)
            caller.setblocking(False)
            _Link(self._proxy, caller, self._targets)


class _End:
    """One of a link's two sockets, and what has been read from the other one and not yet been sent here."""

    __slots__ = ("ended", "shut", "socket", "waiting")

    def __init__(self, socket: _socket.socket) -> None:
        self.socket = socket
        self.waiting = b""
        self.ended = False
        """It has said its last word."""
        self.shut = False
        """It has been told the other one's."""


class _Link:
    """One connection, carried both ways; each way ends for itself, and a reset is passed on."""

    def __init__(self, proxy: Proxy, caller: _socket.socket, targets: list[Target]) -> None:
        self._proxy = proxy
        self._targets = list(targets)
        self._caller = _End(caller)
        self._inside: _End | None = None
        self._through = False
        _patient(caller)
        # until somebody answers inside we only notice that the caller goes
        proxy.loop.add(caller.fileno(), PRIORITY, self._of_caller)
        self._call()

    def _call(self) -> None:
        """Connect to the next address of the container."""
        if not self._targets:
            self._close(reset=True)
            return
        family, address, port = self._targets.pop(0)
        try:
            socket = _socket.socket(family, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
        except OSError:
            self._close(reset=True)  # no memory, or no descriptor: this caller's bad luck, not that of all
            return
        self._inside = _End(socket)
        _patient(socket)
        try:
            socket.connect((address, port))
        except BlockingIOError:
            pass
        except OSError:
            self._hang_up()
            return
        self._proxy.loop.add(socket.fileno(), WRITE, self._connected)

    def _hang_up(self) -> None:
        assert self._inside is not None
        self._proxy.leave(self._inside.socket)
        self._inside = None
        self._call()

    def _connected(self, _: int) -> None:
        assert self._inside is not None
        socket = self._inside.socket
        if socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR):
            self._hang_up()
            return
        self._through = True
        self._proxy.loop.remove(socket.fileno())
        self._proxy.loop.add(socket.fileno(), READ, self._of_inside)
        self._proxy.loop.want(self._caller.socket.fileno(), READ)

    def _of_caller(self, events: int) -> None:
        if self._through and self._inside is not None:
            self._ready(self._caller, self._inside, events)
        else:
            self._close(reset=True)  # gone before anybody inside has answered

    def _of_inside(self, events: int) -> None:
        assert self._inside is not None
        self._ready(self._inside, self._caller, events)

    def _ready(self, end: _End, other: _End, events: int) -> None:
        """Carry what can be carried between `end`, which is ready, and the other one."""
        try:
            if events & WRITE and end.waiting:
                end.waiting = end.waiting[end.socket.send(end.waiting) :]
            if not end.ended and not other.waiting and events & ~WRITE:
                count = end.socket.recv_into(_buffer)
                if not count:
                    end.ended = True
                else:
                    sent = _send(other.socket, _buffer[:count])
                    other.waiting = bytes(_buffer[sent:count])
            elif events & HANGUP:
                raise OSError(errno.ECONNRESET, "it is gone")
            for one, from_whom in ((end, other), (other, end)):
                if from_whom.ended and not one.waiting and not one.shut:
                    one.socket.shutdown(_socket.SHUT_WR)
                    one.shut = True
        except BlockingIOError:
            pass
        except OSError:
            self._close(reset=True)
            return
        if end.shut and other.shut:
            self._close(reset=False)
            return
        for one, from_whom in ((end, other), (other, end)):
            if not one.ended and not from_whom.waiting:
                reads = READ
            else:
                # only that it goes; which one that has been told the last word need not say
                reads = 0 if one.shut else PRIORITY
            self._proxy.loop.want(one.socket.fileno(), reads | (WRITE if one.waiting else 0))

    def _close(self, *, reset: bool) -> None:
        for end in (self._caller, self._inside):
            if end is not None:
                if reset:
                    end.socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, _RESET)
                self._proxy.leave(end.socket)
        self._proxy.gone()


def _send(socket: _socket.socket, data: memoryview) -> int:
    try:
        return socket.send(data)
    except BlockingIOError:
        return 0


def _patient(socket: _socket.socket) -> None:
    """Notice a peer that vanished without a word, and hold no small answers back."""
    socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
    socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
