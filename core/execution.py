"""Exec, attach and foreground runs: the client's end of a container's stdio.

    terminal or pipes  <──>  Session  <── frames of runtime/sync.py ──>  shim

With a TTY the user's terminal is raw: ctrl-c is a byte for the process inside, and the detach keys are ours. Without
one, signals that reach this client are handed on. Call from the main thread of a process of its own.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports enum
import _socket
import errno
import marshal
import os
import select

from pyctr.core import errors, lifecycle
from pyctr.core.runtime import sync
from pyctr.core.starting import winsize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.core.runtime.attach import Connection
    from pyctr.core.runtime.launch import Launched

DETACH_KEYS = b"\x10\x11"
"""ctrl-p ctrl-q"""
_PROXIED = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM, _signal.SIGUSR1, _signal.SIGUSR2)
_CHUNK = 1 << 16


def foreground(
    engine: Engine,
    container: Container,
    launched: Launched,
    *,
    stdin: bool = False,
    sig_proxy: bool = True,
    detach_keys: bytes = DETACH_KEYS,
) -> int | None:
    """Stay with a container started with `attach` until it ends: its exit code, or None after the detach keys.

    A --rm container is removed before this returns.
    """
    session = Session(
        launched.channel,
        shim=launched.shim_pid,
        tty=container.spec.tty,
        stdin=stdin,
        sig_proxy=sig_proxy,
        detach_keys=detach_keys,
    )
    try:
        end = session.run()
        if end is not None:
            lifecycle.conclude(engine, container, launched)
    finally:
        launched.close()
    return None if end is None else int(end["code"])


def attach(
    engine: Engine,
    ref: Container | str,
    *,
    stdin: bool = True,
    sig_proxy: bool = True,
    detach_keys: bytes = DETACH_KEYS,
) -> int | None:
    """Connect this terminal to a running container: its exit code, or None after the detach keys.

    Raises IllegalTransition when it does not run.
    """
    container = lifecycle.permitted(engine, "attach", ref)
    spec = container.spec
    connection = _connect(container)
    try:
        connection.attach()
        if spec.tty and (size := winsize()):
            connection.resize(*size)
        session = Session(
            connection,
            shim=_shim(container),
            tty=spec.tty,
            stdin=stdin and spec.stdin_open,
            sig_proxy=sig_proxy,
            detach_keys=detach_keys,
        )
        end = session.run()
    finally:
        connection.close()
    return None if end is None else int(end["code"])


def execute(
    engine: Engine,
    ref: Container | str,
    argv: Sequence[str],
    *,
    tty: bool = False,
    stdin: bool = False,
    env: Sequence[str] = (),
    workdir: str = "",
    user: str = "",
    privileged: bool = False,
    detach: bool = False,
    detach_keys: bytes = DETACH_KEYS,
) -> int | None:
    """Run a command in a running container: its exit code; None when detached.

    Raises CommandNotFound, CannotInvoke, IllegalTransition, RuntimeFailure.
    """
    if not argv:
        raise errors.UsageError("no command to execute")
    container = lifecycle.permitted(engine, "exec", ref)
    connection = _connect(container)
    try:
        try:
            connection.execute(
                list(argv),
                env=list(env),
                cwd=workdir,
                user=user,
                tty=tty,
                stdin=stdin and not detach,
                detach=detach,
                privileged=privileged,
                winsize=winsize() if tty else None,
            )
        except errors.RuntimeFailure as error:
            if type(error) is not errors.RuntimeFailure or container.reload().alive:
                raise
            raise errors.IllegalTransition(f"container '{container.name}' ended just now") from error
        container.tell("exec_start", command=" ".join(argv))
        if detach:
            return None
        end = Session(
            connection, shim=_shim(container), tty=tty, stdin=stdin, sig_proxy=True, detach_keys=detach_keys
        ).run()
    finally:
        connection.close()
    if end is None:
        return None
    container.tell("exec_die", exitCode=end["code"])
    return int(end["code"])


def check_health(engine: Engine, ref: Container | str) -> tuple[int, str]:
    """Run the health check now: (the probe's exit code, -1 for none; the health after it).

    Raises IllegalTransition when it does not run, UsageError without a check.
    """
    from pyctr.core.health import probed

    container = lifecycle.permitted(engine, "exec", ref)
    if not probed(container.spec.health):
        raise errors.UsageError(f"container '{container.name}' has no health check", hint="run it with --health-cmd")
    connection = _connect(container)
    try:
        return connection.check_health()
    finally:
        connection.close()


def _connect(container: Container) -> Connection:
    """To its shim. Raises IllegalTransition that says whether the container is what is not there."""
    from pyctr.core.runtime.attach import connect

    try:
        return connect(container.engine.paths, container.id)
    except errors.IllegalTransition:
        name = container.name
        if container.reload().running and not container.shim_alive:
            raise errors.IllegalTransition(
                f"the shim of container '{name}' was killed: it runs on, but nobody can reach it",
                hint=f"'pyctr restart {name}' gives it a new one",
            ) from None
        raise


def _shim(container: Container) -> int:
    process = container.state.process
    return process.shim_pid if process is not None else 0


class Session:
    """One connection to the process `shim` and this process's stdio, until one of them ends."""

    def __init__(
        self,
        channel: sync.Channel,
        *,
        shim: int,
        tty: bool,
        stdin: bool,
        sig_proxy: bool,
        detach_keys: bytes = DETACH_KEYS,
    ) -> None:
        self.channel = channel
        self.shim = shim
        self.tty = tty
        self.stdin = stdin
        self.sig_proxy = sig_proxy and not tty
        self.keys = Keys(detach_keys if tty else b"")
        self._out = bytearray()
        """Not taken by the shim yet: it may wait for us to read, so we never wait for it to take."""

    def run(self) -> dict[str, Any] | None:
        """Copy until the process ends (what X says), or None when the user detached or our output was closed.

        Raises RuntimeFailure and its kind when a process could not be executed, or the shim died.
        """
        saved = None
        wake, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        handled = self._catch(waker)
        try:
            if self.tty and self.stdin and os.isatty(0):
                from pyctr.core.linux import pty

                saved = pty.make_raw(0)
            return self._copy(wake)
        finally:
            if saved is not None:
                from pyctr.core.linux import pty

                pty.restore(0, saved)
            _signal.set_wakeup_fd(-1)
            for number, before in handled:
                _signal.signal(number, before)
            os.close(wake)
            os.close(waker)

    def _catch(self, waker: int) -> list[tuple[int, Any]]:
        numbers = [_signal.SIGWINCH] if self.tty else []
        if self.sig_proxy:
            numbers += _PROXIED
        handled = [(number, _signal.signal(number, lambda *_: None)) for number in numbers]
        if handled:
            _signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        return handled

    def _copy(self, wake: int) -> dict[str, Any] | None:
        poller = select.poll()
        poller.register(self.channel, select.POLLIN)
        poller.register(wake, select.POLLIN)
        behind = typing = False
        try:
            while True:
                if behind != bool(self._out):
                    behind = not behind
                    poller.modify(self.channel, select.POLLIN | (select.POLLOUT if behind else 0))
                if typing != (self.stdin and not behind):
                    typing = not typing
                    if typing:
                        poller.register(0, select.POLLIN)
                    else:
                        poller.unregister(0)
                if self.channel.pending():
                    ready = {self.channel.fileno(): select.POLLIN}
                else:
                    ready = dict(poller.poll())
                if wake in ready:
                    self._signals(os.read(wake, _CHUNK))
                if 0 in ready and not self._input():
                    return None
                if self._out:
                    self._flush()
                if ready.get(self.channel.fileno(), 0) & ~select.POLLOUT:
                    for kind, payload in self.channel.read():
                        if kind == sync.STDOUT:
                            _write(1, payload)
                        elif kind == sync.STDERR:
                            _write(2, payload)
                        elif kind == sync.EXITED:
                            return dict(marshal.loads(payload))
                        elif kind == sync.FAILED:
                            _fail(payload)
        except BrokenPipeError:
            return None  # nobody reads our output any more: the container goes on without us
        except EOFError:
            raise self._cut() from None

    def _cut(self) -> errors.RuntimeFailure:
        """Why the shim is not there any more, for us."""
        if self.shim and os.path.exists(f"/proc/{self.shim}"):
            return errors.RuntimeFailure(
                "this listener fell too far behind and was let go; the container goes on",
                hint="'pyctr logs -f' loses nothing, however slow its reader is",
            )
        return errors.RuntimeFailure(
            "the connection to the container was cut", hint="its shim was killed; 'pyctr ps' tells its state"
        )

    def _signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number == _signal.SIGWINCH:
                if size := winsize():
                    self._send(sync.winsize(*size))
            else:
                self._send(sync.frame(sync.KILL, bytes([number])))

    def _input(self) -> bool:
        """Hand input on; False when it said to detach."""
        try:
            data = os.read(0, _CHUNK)
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EAGAIN):
                raise
            data = b""  # the terminal is gone
        if not data:
            self.stdin = False
            self._send(sync.frame(sync.STDIN))
            return True
        data, detach = self.keys.feed(data)
        if data:
            self._send(sync.frame(sync.STDIN, data))
        return not detach

    def _send(self, frame: bytes) -> None:
        self._out += frame
        self._flush()

    def _flush(self) -> None:
        try:
            while self._out:
                sent = self.channel.socket.send(self._out, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
                del self._out[:sent]
        except BlockingIOError:
            pass  # the poller says when
        except (BrokenPipeError, ConnectionResetError):
            self._out.clear()  # the process ended; the frame that says so is still to be read


class Keys:
    """Finds the detach sequence in typed bytes, also when it comes in pieces. Without a sequence everything passes."""

    def __init__(self, sequence: bytes) -> None:
        self.sequence = sequence
        self.seen = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """(bytes to hand on, whether the sequence was completed). A beginning that came to nothing is handed on."""
        if not self.sequence:
            return data, False
        out = bytearray()
        for byte in data:
            if byte == self.sequence[self.seen]:
                self.seen += 1
                if self.seen == len(self.sequence):
                    self.seen = 0
                    return bytes(out), True
                continue
            out += self.sequence[: self.seen]
            # a byte that breaks the sequence may begin it anew
            self.seen = 1 if byte == self.sequence[0] else 0
            if not self.seen:
                out.append(byte)
        return bytes(out), False


def detach_keys(text: str) -> bytes:
    """Docker's notation, "ctrl-p,ctrl-q" or "ctrl-@,a", as bytes. "" turns detaching off. Raises UsageError."""
    found = bytearray()
    for word in text.split(",") if text else ():
        name = word.lower().removeprefix("ctrl-")
        if word.lower().startswith("ctrl-") and len(name) == 1 and 0x40 <= ord(name.upper()) <= 0x5F:
            found.append(ord(name.upper()) & 0x1F)
        elif len(word) == 1 and word.isascii():
            found.append(ord(word))
        else:
            raise errors.UsageError(f"bad detach key '{word}'", hint="like ctrl-p,ctrl-q")
    return bytes(found)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            # somebody made our terminal non-blocking (it is shared with the shell's other children)
            waiter = select.poll()
            waiter.register(fd, select.POLLOUT)
            waiter.poll()


def _fail(payload: bytes) -> None:
    from pyctr.core.runtime.start import raise_failure

    raise_failure(marshal.loads(payload))
