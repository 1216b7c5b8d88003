"""The client's side of a start: spawn a shim, hand it config.json, wishes and the lock, hear how it went.

posix_spawn, because the caller may have threads. The shim's interpreter starts while the client still parses and
resolves: `prespawn` as early as possible, `start` when it is known what to start. The shim makes the plan of it: it has
the operations loaded, and a client that is one run of an interpreter would load them for this alone.
"""

from __future__ import annotations

import _socket
import marshal
import os
import sys
import time

from pyctr.core import errors
from pyctr.core.runtime import sync
from pyctr.core.runtime.readonly import root, stub

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.core.paths import Paths

_SOCKET_FD = 3
_CODE = (
    "import sys;sys.path.insert(0,{root!r});from pyctr.core import bytecode;bytecode.use('shim');"
    "from pyctr.core.runtime.spawned import main;main(*sys.argv[1:])"
)


class Spawn:
    """A shim, started and waiting for a plan; `pid` is 0 when it is a launcher's child, not ours."""

    def __init__(self, pid: int, socket: _socket.socket) -> None:
        self.pid = pid
        self.channel: sync.Channel | None = sync.Channel(socket)

    def cancel(self) -> None:
        """It ends by itself when the socket closes; reap it, so that no zombie stays in a long-lived client."""
        if self.channel is not None:
            self.channel.close()
            self.channel = None
            _reap(self.pid)


class Launched:
    """A container that runs; with `attach` its stdio is on `channel`."""

    def __init__(self, facts: dict[str, Any], trace: list[tuple[str, str, int, int]], channel: sync.Channel) -> None:
        self.pid: int = facts["pid"]
        self.start_time: int = facts["start_time"]
        self.shim_pid: int = facts["shim_pid"]
        self.shim_start_time: int = facts["shim_start_time"]
        self.trace = trace
        """(step, words, microseconds after the call of `start`, duration in microseconds)."""
        self.channel = channel

    @property
    def socket(self) -> _socket.socket:
        return self.channel.socket

    def take_cleanup(self) -> None:
        """This client removes the container (or gives its ports back) itself; the shim need not."""
        try:
            self.channel.send(sync.frame(sync.CLEAN))
        except OSError:
            pass  # the shim has ended: nothing left to tell

    def close(self) -> None:
        """Let the container go on without us."""
        self.channel.close()


_children: list[int] = []
"""Shims spawned by this process: a client that lives on reaps the ended ones at its next start."""


def prespawn(paths: Paths | None = None) -> Spawn:
    """A shim now, before the plan is known: from a launcher if one is there, else a new interpreter."""
    for child in _children[:]:
        _reap(child, os.WNOHANG)
    where = root()
    run, key = "", ""
    if paths is not None and os.environ.get("PYCTR_LAUNCHER") != "0":
        from pyctr.core.runtime import launcher

        run, key = paths.run, launcher.key(where)
        if key and (socket := launcher.connect(run, key)) is not None:
            return Spawn(0, socket)
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC, 0)
    executable = getattr(sys, "_base_executable", "") or sys.executable
    words = [
        executable,
        "-I",
        "-S",
        *(["-B"] if sys.dont_write_bytecode else []),
        "-X",
        "utf8",
        "-c",
        _CODE.format(root=where),
        run,
        key,
    ]
    fd = theirs.fileno()
    program = stub()
    try:
        pid = os.posix_spawn(
            f"/proc/self/fd/{program}" if program >= 0 else executable,
            words,
            {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            file_actions=[
                # the socket first: it may itself be one of 0 to 2 in a client that was started without them
                (os.POSIX_SPAWN_DUP2, fd, _SOCKET_FD),
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDWR, 0),
                (os.POSIX_SPAWN_DUP2, 0, 1),
                (os.POSIX_SPAWN_DUP2, 0, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=range(1, 32),
        )
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
        if program >= 0:
            os.close(program)
    _children.append(pid)
    return Spawn(pid, ours)


def start(
    config: dict[str, Any],
    wishes: dict[str, Any],
    *,
    lock_fd: int,
    spawn: Spawn | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> Launched:
    """Carry out the plan of `config` and `wishes` (plan.build). Returns when the command runs and is on record.

    `lock_fd` is the container's lock, held; the shim keeps it until its record is written. `meanwhile` is called while
    the shim works: on a second processor it costs nothing. Raises UsageError, CommandNotFound, CannotInvoke,
    RuntimeFailure and others of errors.py after everything was undone.
    """
    begin = time.monotonic_ns() // 1000
    from pyctr.core.paths import Paths

    known = wishes.get("paths")
    order = sync.document(sync.PLAN, (config, wishes))
    spawn = spawn or prespawn(Paths(**known) if known else None)
    try:
        return _start(order, lock_fd, spawn, begin, meanwhile)
    except _Vanished:
        _bury(wishes)
        if spawn.pid:
            raise errors.RuntimeFailure(
                "the shim died during the start", hint="out of memory (see 'dmesg'), or of open files ('ulimit -n')?"
            ) from None
    # a launcher may end, or be killed, between our connect and its fork
    try:
        return _start(order, lock_fd, prespawn(), begin, None)
    except _Vanished:
        _bury(wishes)
        raise errors.RuntimeFailure(
            "the shim died during the start", hint="out of memory (see 'dmesg'), or of open files ('ulimit -n')?"
        ) from None


class _Vanished(Exception):
    """The shim is gone without a word."""


def _start(
    order: bytes,
    lock_fd: int,
    spawn: Spawn,
    begin: int,
    meanwhile: Callable[[], None] | None,
) -> Launched:
    channel, spawn.channel = spawn.channel, None
    assert channel is not None
    trace: list[tuple[str, str, int, int]] = []
    report: tuple[str, str, str] | None = None
    try:
        channel.send(order, (lock_fd,) if lock_fd >= 0 else ())
        if meanwhile is not None:
            meanwhile()
        while True:
            kind, payload = channel.receive()
            if kind == sync.TRACE:
                step, words, started, took = marshal.loads(payload)
                trace.append((step, words, started - begin, took))
            elif kind == sync.RUNNING:
                return Launched(marshal.loads(payload), trace, channel)
            elif kind == sync.FAILED:
                report = marshal.loads(payload)
                break
    except (EOFError, OSError):
        pass  # the shim died; below
    except BaseException:
        channel.close()
        raise
    channel.close()
    _reap(spawn.pid)
    if report is None:
        raise _Vanished
    from pyctr.core.runtime.start import raise_failure

    raise_failure(report)
    raise AssertionError("unreachable")


def _reap(pid: int, flags: int = 0) -> None:
    if pid not in _children:
        return
    try:
        done, _ = os.waitpid(pid, flags)
    except ChildProcessError:
        done = pid  # reaped by somebody else in this process
    if done:
        _children.remove(pid)


def _bury(wishes: dict[str, Any]) -> None:
    """What a killed shim or its worker left: init dies with the shim, unless it was just through execve."""
    from pyctr.core.runtime.incarnation import remove_directory
    from pyctr.core.runtime.ops_cgroup import manager

    remove_directory(wishes.get("run") or "")
    group = manager(wishes["group"], wishes.get("cgroup_root") or "/sys/fs/cgroup")
    try:
        if group.exists():
            group.kill()
            group.remove()
    except (OSError, errors.PyctrError):
        pass  # the next pyctr finds it
