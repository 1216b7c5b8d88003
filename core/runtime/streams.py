"""What one process inside writes and reads: to the log, to whoever listens, from whoever types."""

from __future__ import annotations

import fcntl
import os

from pyctr.core.runtime import sync
from pyctr.core.runtime.loop import READ, WRITE, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyctr.core.logs import LogWriter
    from pyctr.core.runtime.clients import Client

_CHUNK = 1 << 16
_INPUT_BOUND = 1 << 18
"""Unread stdin we keep; beyond it the one who types is not read any more."""
_ROOM = 1 << 16
"""More than a terminal keeps for its reader (N_TTY_BUF_SIZE and the port's buffer)."""
_NAMES = {1: "stdout", 2: "stderr"}
_KINDS = {1: sync.STDOUT, 2: sync.STDERR}


class Streams:
    """The shim's ends of stdin, stdout and stderr; with a terminal, of its master.

    The container is read as fast as the log takes it. Only a client that is the container's own stdout (a foreground
    `run`) slows it down, as a pipe would; other listeners are bounded and lose the connection.
    """

    def __init__(self, loop: Loop, fds: list[int], *, terminal: bool, log: LogWriter | None = None) -> None:
        self.loop = loop
        self.terminal = terminal
        self.log = log
        self.audience: list[Client] = []
        self._lost = 0
        self._input = bytearray()
        self._input_ends = False
        self._stalled: list[Client] = []
        self._paused = False
        self._in = fds[0]
        """Where input goes: a pipe, or the master."""
        self._out: dict[int, int] = {}
        """Descriptor -> 1 or 2."""
        if terminal:
            if self._in >= 0:
                self._out[self._in] = 1
                loop.add(self._in, READ, self._terminal)
            return
        if self._in >= 0:
            # no interest yet: a closed reader would be reported for ever
            loop.add(self._in, WRITE, self._flush_input)
            loop.want(self._in, 0)
        for number in (1, 2):
            if fds[number] >= 0:
                self._out[fds[number]] = number
                loop.add(fds[number], READ, self._reader(fds[number]))

    @property
    def open(self) -> bool:
        """Whether anything may still come out."""
        return bool(self._out)

    @property
    def quiet(self) -> bool:
        """Whether nothing is kept here that is not in a descriptor."""
        return not (self._input or self._lost or self._stalled or self.audience)

    def descriptors(self) -> list[int]:
        """Those that it was made with, -1 for what has been closed since."""
        if self.terminal:
            return [self._in, -1, -1]
        numbers = {number: fd for fd, number in self._out.items()}
        return [self._in, numbers.get(1, -1), numbers.get(2, -1)]

    def _reader(self, fd: int) -> Callable[[int], None]:
        def readable(events: int) -> None:
            self._readable(fd)

        return readable

    def _terminal(self, events: int) -> None:
        if events & WRITE:
            self._flush_input(events)
        if events & ~WRITE:
            self._readable(self._in)

    def _readable(self, fd: int) -> int:
        """Pass on one read's worth; its bytes, 0 when there is nothing now or ever."""
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""  # EIO: the last one closed the terminal's slave
        if not data:
            self._close(fd)
            return 0
        number = self._out[fd]
        if self.log is not None:
            self._write_log(_NAMES[number], data)
        for client in self.audience[:]:
            client.send(_KINDS[number], data)
        return len(data)

    def _write_log(self, stream: str, data: bytes) -> None:
        assert self.log is not None
        try:
            if self._lost:
                self.log.write(
                    "stderr", f"pyctr: {self._lost} bytes of output lost, the log could not be written\n".encode()
                )
                self._lost = 0
            self.log.write(stream, data)
        except OSError:
            self._lost += len(data)  # disk full: the container goes on, the gap will be marked

    def drain(self) -> None:
        """Everything the process left behind when it ended."""
        for fd in list(self._out):
            # what it wrote is in the pipe now; others who hold the other end may go on for ever
            left = _ROOM if self.terminal else fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
            while left > 0 and (count := self._readable(fd)):
                left -= count

    def stall(self, client: Client) -> None:
        """This listener cannot keep up, wait for it."""
        if client not in self._stalled:
            self._stalled.append(client)
            self._interest()

    def go_on(self, client: Client) -> None:
        if client in self._stalled:
            self._stalled.remove(client)
            self._interest()

    def leave(self, client: Client) -> None:
        if client in self.audience:
            self.audience.remove(client)
        self.go_on(client)

    def _interest(self) -> None:
        for fd in self._out:
            events = 0 if self._stalled else READ
            if self.terminal and self._input:
                events |= WRITE
            self.loop.want(fd, events)

    def input(self, data: bytes) -> bool:
        """Bytes for stdin, b"" for its end. False when enough is waiting for now: see `hungry`."""
        if self._in < 0:
            return True
        if not data:
            self._input_ends = not self.terminal
        self._input += data
        self._flush_input(0)
        return self.hungry

    @property
    def hungry(self) -> bool:
        return len(self._input) < _INPUT_BOUND

    def _flush_input(self, events: int) -> None:
        full = not self.hungry
        while self._input:
            try:
                written = os.write(self._in, self._input[:_CHUNK])
            except BlockingIOError:
                break
            except OSError:
                # nobody reads stdin any more
                self._input.clear()
                self._input_ends = True
                break
            del self._input[:written]
        if self.terminal:
            self._interest()
        elif not self._input and self._input_ends:
            self.close_input()
        else:
            self.loop.want(self._in, WRITE if self._input else 0)
        if full and self.hungry:
            for client in self.audience:
                client.listen(True)

    def close_input(self) -> None:
        if self._in >= 0 and not self.terminal:
            self.loop.remove(self._in)
            os.close(self._in)
            self._in = -1

    def resize(self, rows: int, cols: int) -> None:
        if self.terminal and self._in >= 0:
            from pyctr.core.linux import pty

            pty.set_winsize(self._in, rows, cols)

    def _close(self, fd: int) -> None:
        self.loop.remove(fd)
        os.close(fd)
        del self._out[fd]
        if self.terminal:
            self._in = -1

    def close(self) -> None:
        for fd in list(self._out):
            self._close(fd)
        self.close_input()
        if self.log is not None:
            self.log.close()
            self.log = None
        self.audience = []
