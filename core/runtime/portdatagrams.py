"""UDP callers whose datagrams a `portproxy` carries: each has a socket of its own to the container for a while."""

from __future__ import annotations

import _socket
import time

from pyctr.core.runtime.loop import READ
from pyctr.core.runtime.portstreams import AT_ONCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.runtime.portproxy import Proxy, Target

QUIET, UNANSWERED = 120.0, 30.0
"""Seconds after which a caller is forgotten, and one that had no answer: what conntrack gives them."""
_SWEEP = 5.0
_LONGEST = 65535
_KEPT = 2048
"""Bytes of a first word that are kept for the container's other address: who says more at once says it again."""


class Box:
    """A UDP socket: every caller has a socket of its own to the container."""

    def __init__(self, proxy: Proxy, socket: _socket.socket, targets: list[Target]) -> None:
        self.proxy = proxy
        self._socket = socket
        self._targets = targets
        self._callers: dict[tuple[Any, bytes], _Caller] = {}
        proxy.loop.add(socket.fileno(), READ, self._ready)

    def __len__(self) -> int:
        return len(self._callers)

    def _ready(self, _: int) -> None:
        for _ in range(AT_ONCE):
            try:
                data, ancillary, _, sender = self._socket.recvmsg(_LONGEST, 64)
            except OSError:
                return
            asked = next((value for _, kind, value in ancillary if kind == _socket.IPV6_PKTINFO), b"")
            caller = self._callers.get((sender, asked)) or self._welcome(sender, asked)
            if caller is not None:
                caller.pass_on(data)

    def _welcome(self, sender: Any, asked: bytes) -> _Caller | None:
        self.proxy.make_room()
        try:
            caller = _Caller(self, (sender, asked), self._targets)
        except OSError:
            return None  # no memory, or no descriptor: UDP promises nothing
        if not self._callers:
            self.proxy.loop.at(time.monotonic() + _SWEEP, self._sweep)
        self._callers[sender, asked] = caller
        self.proxy.recount()
        return caller

    def drop_quietest(self) -> None:
        """There must be one."""
        min(self._callers.values(), key=lambda caller: caller.heard).close()

    def _sweep(self) -> None:
        now = time.monotonic()
        for caller in list(self._callers.values()):
            if now - caller.heard > (QUIET if caller.answered else UNANSWERED):
                caller.close()
        if self._callers:
            self.proxy.loop.at(now + _SWEEP, self._sweep)

    def answer(self, who: tuple[Any, bytes], data: bytes) -> None:
        """From the address that was asked."""
        sender, asked = who
        ancillary = [(_socket.IPPROTO_IPV6, _socket.IPV6_PKTINFO, asked)] if asked else []
        try:
            self._socket.sendmsg([data], ancillary, 0, sender)
        except OSError:
            pass  # no room, or the caller is gone: UDP promises nothing

    def forget(self, who: tuple[Any, bytes]) -> None:
        del self._callers[who]
        self.proxy.recount()


class _Caller:
    """Who has sent something to a `Box`."""

    def __init__(self, box: Box, who: tuple[Any, bytes], targets: list[Target]) -> None:
        self._box = box
        self._who = who
        self._targets = list(targets)
        self._socket: _socket.socket | None = None
        self._last = b""
        self.answered = False
        self.heard = time.monotonic()
        self._call()

    def _call(self) -> None:
        family, address, port = self._targets.pop(0)
        self._socket = _socket.socket(family, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
        self._box.proxy.loop.add(self._socket.fileno(), READ, self._ready)
        try:
            self._socket.connect((address, port))
        except OSError:
            pass  # sending will say so, too

    def pass_on(self, data: bytes) -> None:
        assert self._socket is not None
        self.heard = time.monotonic()
        self._last = data if self._targets and not self.answered and len(data) <= _KEPT else b""
        try:
            self._socket.send(data)
        except BlockingIOError:
            pass  # UDP promises nothing
        except OSError:
            self._refused()

    def _ready(self, _: int) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(_LONGEST)
        except BlockingIOError:
            return
        except OSError:
            self._refused()
            return
        self.answered = True
        self.heard = time.monotonic()
        self._box.answer(self._who, data)

    def _refused(self) -> None:
        """Nobody listens at that address of the container: perhaps at its other one."""
        if self.answered or not self._targets:
            self.close()
            return
        self._hang_up()
        try:
            self._call()
        except OSError:
            self._box.forget(self._who)
            return
        if self._last:
            self.pass_on(self._last)

    def _hang_up(self) -> None:
        assert self._socket is not None
        self._box.proxy.leave(self._socket)

    def close(self) -> None:
        self._hang_up()
        self._box.forget(self._who)
