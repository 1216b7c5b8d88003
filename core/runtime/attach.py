"""The client's side of a running container's shim: attach, exec, signals, and no more restarts."""

from __future__ import annotations

import _socket
import marshal
import os

from pyctr.core import errors
from pyctr.core.runtime import sync
from pyctr.core.runtime.start import raise_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.paths import Paths


class Connection(sync.Channel):
    """A channel to a shim that knows its requests. Blocking; one user at a time."""

    def attach(self) -> dict[str, Any]:
        """Hear stdout and stderr from now on, own stdin: {pid, tty}. Raises IllegalTransition when nothing runs."""
        return self._ask(sync.document(sync.ATTACH, {}))

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
    ) -> dict[str, Any]:
        """Run a further process inside: {pid (as the host sees it), tty}.

        Raises CommandNotFound, CannotInvoke, IllegalTransition, RuntimeFailure.
        """
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
            "winsize": winsize,
        }
        return self._ask(sync.document(sync.EXEC, request))

    def _ask(self, data: bytes, answer: bytes = sync.RUNNING) -> dict[str, Any]:
        try:
            self.send(data)
            while True:
                kind, payload = self.receive()
                if kind == sync.FAILED:
                    raise_failure(marshal.loads(payload))
                if kind == answer:
                    return dict(marshal.loads(payload))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise errors.RuntimeFailure("the container's shim died", hint="'pyctr ps' tells its state") from None

    def result(self) -> tuple[int, bytes, bytes]:
        """Everything until the end: (exit code, stdout, stderr). For callers without a terminal."""
        out = {sync.STDOUT: b"", sync.STDERR: b""}
        while True:
            kind, payload = self.receive()
            if kind in out:
                out[kind] += payload
            elif kind == sync.EXITED:
                return int(marshal.loads(payload)["code"]), out[sync.STDOUT], out[sync.STDERR]

    def stop_restarting(self) -> None:
        """Whatever the policy says, this incarnation is the last. Returns when the shim knows."""
        try:
            self.send(sync.frame(sync.STOP))
            while self.receive()[0] != sync.DONE:
                pass
        except (EOFError, BrokenPipeError, ConnectionResetError):
            pass  # it has ended

    def check_health(self) -> tuple[int, str]:
        """Probe now: (the probe's exit code, the container's health after it). Raises UsageError without a check."""
        found = self._ask(sync.frame(sync.HEALTH), sync.EXITED)
        return int(found["code"]), str(found["status"])

    def kill(self, number: int) -> None:
        """A signal to what this connection is about: the container's first process, or the executed one."""
        self.send(sync.frame(sync.KILL, bytes([number])))

    def resize(self, rows: int, cols: int) -> None:
        self.send(sync.winsize(rows, cols))

    def input(self, data: bytes) -> None:
        """Bytes for stdin; b"" is its end."""
        self.send(sync.frame(sync.STDIN, data))


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
    return Connection(socket)
