"""The client's side of a running container's shim: attach, exec, signals, and no more restarts."""

from __future__ import annotations

import _socket
import marshal
import os
import select

from pyctr.core import errors
from pyctr.core.runtime import sync
from pyctr.core.runtime.start import raise_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.core.paths import Paths

DETACHED = -1
"""What `relay` returns when the user went away and the process stayed."""
_CHUNK = 1 << 16


class Connection:
    """A connection to a shim. Blocking; one user at a time."""

    def __init__(self, channel: sync.Channel) -> None:
        self.channel = channel
        self.facts: dict[str, Any] = {}
        """After `attach` and `execute`: pid (as the host sees it), tty."""

    def fileno(self) -> int:
        return self.channel.fileno()

    def attach(self) -> None:
        """Hear stdout and stderr from now on, own stdin. Raises IllegalTransition when nothing runs."""
        self._ask(sync.document(sync.ATTACH, {}))

    def execute(
        self,
        args: list[str],
        *,
        env: list[str] | None = None,
        cwd: str = "",
        user: str = "",
        groups: list[int] | None = None,
        tty: bool = False,
        stdin: bool = False,
        detach: bool = False,
        privileged: bool = False,
        caps: list[str] | None = None,
        winsize: tuple[int, int] | None = None,
    ) -> None:
        """Run a further process inside. Raises CommandNotFound, CannotInvoke, IllegalTransition, RuntimeFailure."""
        request = {
            "args": args,
            "env": env or [],
            "cwd": cwd,
            "user": user,
            "groups": groups or [],
            "tty": tty,
            "stdin": stdin,
            "detach": detach,
            "privileged": privileged,
            "caps": caps,
            "winsize": list(winsize) if winsize else None,
        }
        self._ask(sync.document(sync.EXEC, request))

    def _ask(self, data: bytes) -> None:
        self.channel.send(data)
        try:
            kind, payload = self.channel.receive()
        except EOFError:
            raise errors.RuntimeFailure("the container's shim died", hint="'pyctr logs' has what came before") from None
        if kind == sync.FAILED:
            raise_failure(marshal.loads(payload))
        if kind == sync.RUNNING:
            self.facts = marshal.loads(payload)

    def stop_restarting(self) -> None:
        """Whatever the policy says, this incarnation is the last."""
        self._simple(sync.frame(sync.STOP))

    def kill(self, number: int) -> None:
        """A signal to what this connection is about: the container's first process, or the executed one."""
        self.channel.send(sync.frame(sync.KILL, bytes([number])))

    def resize(self, rows: int, cols: int) -> None:
        self.channel.send(sync.winsize(rows, cols))

    def input(self, data: bytes) -> None:
        """Bytes for stdin; b"" is its end."""
        self.channel.send(sync.frame(sync.STDIN, data))

    def _simple(self, data: bytes) -> None:
        try:
            self.channel.send(data)
            while self.channel.receive()[0] != sync.DONE:
                pass
        except (EOFError, OSError):
            pass  # it has ended: there is nothing it could restart or signal

    def close(self) -> None:
        self.channel.close()


def connect(paths: Paths, id: str) -> Connection:
    """To the shim of a container. Raises IllegalTransition when there is none."""
    return connect_directory(paths.runtime(id))


def connect_directory(directory: str) -> Connection:
    """Likewise, by the container's volatile directory."""
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        # by descriptor: sun_path has 108 bytes, a root may be deeper (unix(7))
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            socket.connect(f"/proc/self/fd/{fd}/shim.sock")
        finally:
            os.close(fd)
    except (FileNotFoundError, ConnectionRefusedError):
        socket.close()
        raise errors.IllegalTransition("the container does not run", hint="start it first") from None
    except BaseException:
        socket.close()
        raise
    return Connection(sync.Channel(socket))


def detach_keys(text: str) -> bytes:
    """ "ctrl-p,ctrl-q" as the bytes a terminal sends; "" for none. Raises UsageError."""
    found = bytearray()
    for word in filter(None, text.split(",")):
        if len(word) == 1:
            found += word.encode()
        elif word.startswith("ctrl-") and len(word) == 6 and "@" <= word[5].upper() <= "_":
            found.append(ord(word[5].upper()) & 0x1F)
        else:
            raise errors.UsageError(f"bad detach key '{word}'", hint="letters or ctrl-LETTER, like ctrl-p,ctrl-q")
    return bytes(found)


class _Keys:
    """Finds the detach sequence in what is typed; a begun one is held back until it is complete or broken."""

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self._seen = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """(what to pass on, whether the sequence is complete)."""
        sequence = self._sequence
        if not sequence:
            return data, False
        out = bytearray()
        for byte in data:
            if byte == sequence[self._seen]:
                self._seen += 1
                if self._seen == len(sequence):
                    return bytes(out), True
                continue
            out += sequence[: self._seen]
            self._seen = 1 if byte == sequence[0] else 0
            if not self._seen:
                out.append(byte)
        return bytes(out), False


def relay(
    channel: sync.Channel,
    *,
    stdin: int = 0,
    stdout: int = 1,
    stderr: int = 2,
    keys: bytes = b"",
    wake: int = -1,
    woken: Callable[[], None] | None = None,
    ended: Callable[[dict[str, Any]], None] | None = None,
) -> int:
    """Copy between descriptors and a connection until the process ends; its exit code, or DETACHED.

    A descriptor of -1 is left out: stdin is not read then, output is dropped. `woken` is called when `wake` (a
    self-pipe for SIGWINCH and signals to forward) is readable; it empties the pipe. `ended` gets the whole exit. The
    terminal's mode is the caller's business. Raises RuntimeFailure when the shim died before the process.
    """
    poller = select.poll()
    poller.register(channel.fileno(), select.POLLIN)
    if stdin >= 0:
        poller.register(stdin, select.POLLIN)
    if wake >= 0:
        poller.register(wake, select.POLLIN)
    finder = _Keys(keys)
    outputs = {sync.STDOUT: stdout, sync.STDERR: stderr}
    while True:
        ready = [(channel.fileno(), select.POLLIN)] if channel.pending() else poller.poll()
        for fd, _ in ready:
            if fd == wake and woken is not None:
                woken()
            elif fd == stdin:
                data = _read(stdin)
                if not data:
                    poller.unregister(stdin)
                    _send(channel, sync.frame(sync.STDIN))
                    continue
                data, detached = finder.feed(data)
                if data:
                    _send(channel, sync.frame(sync.STDIN, data))
                if detached:
                    return DETACHED
            elif fd == channel.fileno():
                try:
                    frames = channel.read()
                except EOFError:
                    raise errors.RuntimeFailure(
                        "the container's shim died", hint="the container may still run: 'pyctr ps'"
                    ) from None
                for kind, payload in frames:
                    if kind in outputs:
                        if (output := outputs[kind]) >= 0 and not _write(output, payload):
                            outputs[kind] = -1
                    elif kind == sync.EXITED:
                        exit = marshal.loads(payload)
                        if ended is not None:
                            ended(exit)
                        return int(exit["code"])


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, _CHUNK)
    except BlockingIOError:
        return b""
    except OSError:
        return b""  # EIO: our terminal is gone


def _send(channel: sync.Channel, data: bytes) -> None:
    try:
        channel.send(data)
    except OSError:
        pass  # it has ended; what it said before that is still to be read


def _write(fd: int, data: bytes) -> bool:
    view = memoryview(data)
    try:
        while view:
            try:
                view = view[os.write(fd, view) :]
            except BlockingIOError:
                select.select([], [fd], [])
    except OSError:
        return False  # our reader went away (head -1); the container goes on
    return True
