"""Exec, attach and foreground runs: a container's stdio on this process's terminal or pipes.

With a TTY the user's terminal is raw: ctrl-c is a byte for the process inside, and the detach keys are ours. Without
one, signals that reach this client are handed on. Call from the main thread of a process of its own. The frames and
the copying are `runtime.attach`'s.
"""

from __future__ import annotations

import _signal
import os

from pyctr.core import errors, lifecycle
from pyctr.core.runtime import attach as wire
from pyctr.core.runtime import sync

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.core.runtime.launch import Launched

DETACH_KEYS = b"\x10\x11"
"""ctrl-p ctrl-q"""
detach_keys = wire.detach_keys
_PROXIED = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM, _signal.SIGUSR1, _signal.SIGUSR2)


def foreground(
    engine: Engine,
    container: Container,
    launched: Launched,
    *,
    stdin: bool = False,
    sig_proxy: bool = True,
    keys: bytes = DETACH_KEYS,
) -> int | None:
    """Stay with a container started with `attach` until it ends: its exit code, or None after the detach keys.

    A --rm container is removed before this returns. Raises RuntimeFailure when its shim was killed.
    """
    code = _relay(launched.channel, tty=container.spec.tty, stdin=stdin, sig_proxy=sig_proxy, keys=keys)
    if code == wire.DETACHED:
        launched.close()
        return None
    # from here on it is ours, and if we are killed the mark tells the next pyctr
    lifecycle.conclude(engine, container, launched)
    return code


def attach(
    engine: Engine,
    ref: Container | str,
    *,
    stdin: bool = True,
    sig_proxy: bool = True,
    keys: bytes = DETACH_KEYS,
) -> int | None:
    """Connect this process to a running container: its exit code, or None after the detach keys.

    Raises IllegalTransition when it does not run.
    """
    container = lifecycle.permitted(engine, "attach", ref)
    spec = container.spec
    connection = wire.connect(engine.paths, container.id)
    try:
        connection.attach()
        if spec.tty and (size := winsize()):
            connection.resize(*size)
        code = _relay(connection.channel, tty=spec.tty, stdin=stdin and spec.stdin_open, sig_proxy=sig_proxy, keys=keys)
    finally:
        connection.close()
    return None if code == wire.DETACHED else code


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
    keys: bytes = DETACH_KEYS,
) -> int | None:
    """Run a command in a running container: its exit code; None when detached.

    Raises CommandNotFound, CannotInvoke, IllegalTransition, RuntimeFailure.
    """
    if not argv:
        raise errors.UsageError("no command to execute")
    container = lifecycle.permitted(engine, "exec", ref)
    connection = wire.connect(engine.paths, container.id)
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
        engine.events.record("exec_start", container.id, container.name, command=" ".join(argv))
        if detach:
            return None
        code = _relay(connection.channel, tty=tty, stdin=stdin, sig_proxy=True, keys=keys)
        if code != wire.DETACHED:
            engine.events.record("exec_die", container.id, container.name, exit_code=code)
    finally:
        connection.close()
    return None if code == wire.DETACHED else code


def winsize() -> tuple[int, int] | None:
    """(rows, columns) of this process's terminal; None without one."""
    for fd in (0, 1, 2):
        try:
            columns, rows = os.get_terminal_size(fd)
        except OSError:
            continue
        if rows and columns:
            return rows, columns
    return None


def _relay(channel: sync.Channel, *, tty: bool, stdin: bool, sig_proxy: bool, keys: bytes) -> int:
    """Copy until the end or a detaching, with the terminal raw and signals taken; both are given back."""
    from pyctr.core.linux import pty

    wake, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    saved: list[Any] | None = None
    handled: list[tuple[int, Any]] = []

    def woken() -> None:
        for number in os.read(wake, 512):
            if number != _signal.SIGWINCH:
                _send(channel, sync.frame(sync.KILL, bytes([number])))
            elif size := winsize():
                _send(channel, sync.winsize(*size))

    try:
        numbers = [_signal.SIGWINCH] if tty else [*_PROXIED] if sig_proxy else []
        handled = [(number, _signal.signal(number, lambda *_: None)) for number in numbers]
        if handled:
            _signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        if tty and stdin and os.isatty(0):
            saved = pty.make_raw(0)
        return wire.relay(
            channel, stdin=0 if stdin else -1, keys=keys if tty and stdin else b"", wake=wake, woken=woken
        )
    finally:
        if saved is not None:
            pty.restore(0, saved)
        if handled:
            _signal.set_wakeup_fd(-1)
        for number, before in handled:
            _signal.signal(number, before)
        os.close(wake)
        os.close(waker)


def _send(channel: sync.Channel, data: bytes) -> None:
    try:
        channel.send(data)
    except OSError:
        pass  # the process has ended: what it said before that is still to be read
