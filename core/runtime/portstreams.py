"""TCP connections that a `portproxy` carries: each way ends for itself, and a reset is passed on.

caller ── kernel ──(peek, send)──> kernel ── container      what has been sent on is dropped behind us, what has
                                                            not been stays in the kernel and slows its sender down
"""

from __future__ import annotations

import _socket
import errno
import struct
import time

from pyctr.core.runtime.loop import EDGE, ERROR, HANGUP, READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.runtime.portproxy import Proxy, Target

AT_ONCE = 16
"""Callers, or datagrams, that are taken in one turn; then others have theirs."""
_PAUSE = 0.5
"""Seconds in which nobody is taken when there is no descriptor or no memory for it: who waits in line would wake us
again and again."""
_RESET = struct.pack("=ii", 1, 0)
"""struct linger: close with a RST."""
_buffer = memoryview(bytearray(1 << 18))
"""What is on its way: a process does one thing at a time, and keeps nothing of it."""
_UNSENT = 1 << 16
"""Bytes that wait in the kernel for a receiver that is slow (TCP_NOTSENT_LOWAT): it would keep 4 MB of each caller, in
no container's account. More is not faster, also with four times as much in our buffer."""
_ORPHANED = 120_000
"""Milliseconds in which the one has to take something once the other is gone for good: the kernel does not keep last
words for ever either (tcp_orphan_retries in tcp(7)), but knows ours for a connection that is in use."""


class Door:
    """A listening TCP socket."""

    def __init__(self, proxy: Proxy, socket: _socket.socket, targets: list[Target]) -> None:
        self._proxy = proxy
        self._socket = socket
        self._targets = targets
        proxy.loop.add(socket.fileno(), READ, self._ready)

    def hear(self) -> None:
        """Whoever waits in line."""
        self._proxy.loop.want(self._socket.fileno(), READ)

    def _ready(self, _: int) -> None:
        for _ in range(AT_ONCE):  # then others have their turn
            if self._proxy.full():
                # who waits in line would wake us again and again
                self._proxy.loop.want(self._socket.fileno(), 0)
                return
            try:
                fd, _ = self._socket._accept()  # type: ignore[attr-defined]
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._proxy.loop.want(self._socket.fileno(), 0)
                    self._proxy.loop.at(time.monotonic() + _PAUSE, self.hear)
                return  # nobody any more, or somebody who has left
            self._proxy.linked()
            caller = _socket.socket(fileno=fd)
            caller.setblocking(False)
            _Link(self._proxy, caller, self._targets)


class _End:
    """One of a link's two sockets."""

    __slots__ = ("ended", "full", "shut", "socket")

    def __init__(self, socket: _socket.socket) -> None:
        self.socket = socket
        self.full = False
        """It has not taken all that the other one has said."""
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
        proxy.loop.add(caller.fileno(), HANGUP, self._of_caller)
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
            if events & WRITE and end.full:
                _carry(other, end)
            if not end.ended and not other.full and events & ~WRITE:
                _carry(end, other)
            elif events & HANGUP:
                if events & ERROR or not end.shut:
                    raise OSError(errno.ECONNRESET, "it is gone")
                other.socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_USER_TIMEOUT, _ORPHANED)
        except OSError:
            self._close(reset=True)
            return
        if end.shut and other.shut:
            self._close(reset=False)
            return
        for one, from_whom in ((end, other), (other, end)):
            if not one.ended and not from_whom.full:
                reads = READ
            else:
                # only that it goes; which is true for ever of one that said its last word and has been told the other's
                reads = HANGUP | EDGE if one.shut else HANGUP
            self._proxy.loop.want(one.socket.fileno(), reads | (WRITE if one.full else 0))

    def _close(self, *, reset: bool) -> None:
        for end in (self._caller, self._inside):
            if end is not None:
                if reset:
                    end.socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, _RESET)
                self._proxy.leave(end.socket)
        self._proxy.unlinked()


def _carry(giver: _End, taker: _End) -> None:
    """One piece, or that there is no more. Raises OSError."""
    try:
        count = giver.socket.recv_into(_buffer, 0, _socket.MSG_PEEK)
    except BlockingIOError:
        return
    if not count:
        giver.ended = True
        taker.full = False
        taker.socket.shutdown(_socket.SHUT_WR)
        taker.shut = True
        return
    try:
        sent = taker.socket.send(_buffer[:count])
    except BlockingIOError:
        sent = 0
    taker.full = sent < count
    if sent:
        # TCP copies nothing then, see tcp(7)
        giver.socket.recv_into(_buffer, sent, _socket.MSG_TRUNC)


def _patient(socket: _socket.socket) -> None:
    """Notice a peer that vanished without a word, hold no small answers back, and little of what is too much.

    An urgent byte is one like others: out of line and alone it makes a socket ready that has nothing to peek at.
    """
    socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
    socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_OOBINLINE, 1)
    socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NOTSENT_LOWAT, _UNSENT)
