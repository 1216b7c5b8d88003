"""One connection of a client to the shim."""

from __future__ import annotations

import _socket

from pyctr.core.runtime import sync
from pyctr.core.runtime.loop import HANGUP, READ, WRITE, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyctr.core.runtime.streams import Streams

_STALL = 1 << 18
"""Bytes a foreground client may lag behind before the container has to wait for it."""
_DROP = 4 << 20
"""Bytes any other listener may lag behind before it is cut off: a hung viewer holds nobody up."""


class Client:
    """Frames in, frames out, never blocking."""

    def __init__(
        self,
        loop: Loop,
        socket: _socket.socket,
        handle: Callable[[Client, bytes, bytes], None],
        closed: Callable[[Client], None],
        *,
        foreground: bool = False,
    ) -> None:
        self.loop = loop
        self.socket = socket
        self.fd = socket.fileno()
        self.foreground = foreground
        self.streams: Streams | None = None
        """What STDIN and WINSIZE of this client go to, and what it hears."""
        self.pid = 0
        """Whom KILL means; 0 is the container's first process."""
        self.cleans = False
        self._handle = handle
        self._closed = closed
        self._parser = sync.Parser()
        self._out: list[bytes] = []
        self._waiting = 0
        self._listening = True
        self._ends = False
        socket.setblocking(False)
        loop.add(self.fd, READ, self._ready)

    @property
    def open(self) -> bool:
        return self.fd >= 0

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if self.open and events & (READ | HANGUP) and (self._listening or events & HANGUP):
            self._read()

    def _read(self) -> None:
        try:
            data = self.socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        try:
            for kind, payload in self._parser.feed(data):
                self._handle(self, kind, payload)
                if not self.open:
                    return
        except (ValueError, EOFError, TypeError, KeyError):
            self.close()  # speaks something else

    def listen(self, on: bool) -> None:
        """Whether to read what it sends."""
        self._listening = on
        self._interest()

    def _interest(self) -> None:
        if self.open:
            self.loop.want(self.fd, (READ if self._listening else 0) | (WRITE if self._out else 0))

    def send(self, kind: bytes, payload: bytes = b"") -> None:
        """A frame, now or when it can be taken."""
        if not self.open:
            return
        data = sync.frame(kind, payload)
        if not self._out:
            try:
                sent = self.socket.send(data, _socket.MSG_NOSIGNAL)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.close()
                return
            if sent == len(data):
                return
            data = data[sent:]
        self._out.append(data)
        self._waiting += len(data)
        if self.foreground:
            if self._waiting > _STALL and self.streams is not None:
                self.streams.stall(self)
        elif self._waiting > _DROP:
            self.close()
            return
        self._interest()

    def _flush(self) -> None:
        while self._out:
            try:
                sent = self.socket.send(self._out[0], _socket.MSG_NOSIGNAL)
            except BlockingIOError:
                break
            except OSError:
                self.close()
                return
            self._waiting -= sent
            if sent == len(self._out[0]):
                del self._out[0]
            else:
                self._out[0] = self._out[0][sent:]
        if self._waiting <= _STALL // 2 and self.streams is not None:
            self.streams.go_on(self)
        self._interest()
        if self._ends and not self._out:
            self.close()

    def finish(self) -> None:
        """Close as soon as everything was taken."""
        self._ends = True
        if not self._out:
            self.close()

    @property
    def behind(self) -> bool:
        return self.open and bool(self._out)

    def close(self) -> None:
        if not self.open:
            return
        self.loop.remove(self.fd)
        self.socket.close()
        self.fd = -1
        self._out = []
        if self.streams is not None:
            self.streams.leave(self)
            self.streams = None
        self._closed(self)
