"""What clients ask of a shim: over its socket, or over the connection the start came by (the wire is drawn in `sync`).

A connection is a `clients.Client`; attach, exec, a signal or a probe is its first word.
"""

from __future__ import annotations

import _socket
import errno
import marshal
import os
import time

from pyctr.core import errors
from pyctr.core.runtime import clients, init, record, start, sync
from pyctr.core.runtime.loop import READ
from pyctr.core.runtime.streams import Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.core.runtime.clients import Client
    from pyctr.core.runtime.shim import Shim

_RETRY = 0.5
"""Seconds until connections are accepted again after there was no descriptor left for one."""


class Service:
    """A shim's ear. `left` is called with a client that has gone."""

    def __init__(self, shim: Shim, left: Callable[[Client], None]) -> None:
        self.shim = shim
        self._left = left
        self._listener: _socket.socket | None = None

    def open(self, directory: str) -> None:
        """Listen on shim.sock, by a path that fits whatever the length of the root's."""
        if self._listener is not None:
            return
        place = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
        try:
            os.unlink("shim.sock", dir_fd=place)
        except FileNotFoundError:
            pass
        listener.bind(f"/proc/self/fd/{place}/shim.sock")
        os.close(place)
        listener.listen(16)
        self._listener = listener
        self.shim.loop.add(listener.fileno(), READ, self._accept)

    def close(self) -> None:
        """No further connections."""
        if self._listener is not None:
            self.shim.loop.remove(self._listener.fileno())
            self._listener.close()
            self._listener = None

    def _accept(self, events: int) -> None:
        assert self._listener is not None
        try:
            fd, _ = self._listener._accept()  # type: ignore[attr-defined]
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
                # who waits in line would wake us again and again
                self.shim.loop.want(self._listener.fileno(), 0)
                self.shim.loop.at(time.monotonic() + _RETRY, self._accept_again)
                return
            raise
        socket = _socket.socket(fileno=fd)
        if not sync.trusted(socket):
            socket.close()
            return
        self.shim.clients.append(clients.Client(self.shim.loop, socket, self.request, self._left))

    def _accept_again(self) -> None:
        if self._listener is not None:
            self.shim.loop.want(self._listener.fileno(), READ)

    def request(self, client: Client, kind: bytes, payload: bytes) -> None:
        """One frame of a client."""
        if kind == sync.STDIN:
            if client.streams is not None and not client.streams.input(payload):
                client.listen(False)
        elif kind == sync.WINSIZE:
            if client.streams is not None:
                client.streams.resize(*sync.parse_winsize(payload))
        elif kind == sync.KILL:
            self._kill(client, payload[0])
        elif kind == sync.CLEAN:
            client.cleans = True
        elif kind == sync.STOP:
            self.shim.no_restart = True
            client.send(sync.DONE)
        elif kind == sync.ATTACH:
            self._attach(client)
        elif kind == sync.EXEC:
            self._exec(client, marshal.loads(payload))
        elif kind == sync.HEALTH:
            self._check_health(client)
        elif kind == sync.GUARD:
            if self.guard():
                client.send(sync.DONE)
            client.finish()
        else:
            client.close()

    def guard(self) -> bool:
        """Watch over the firewall for everybody on this host's networks, unless another shim does; see `ruleguard`."""
        import fcntl

        shim = self.shim
        attachment, paths = shim.network or shim.wishes.get("network") or {}, shim.wishes.get("paths")
        if shim.rules is not None or not paths or attachment.get("mode") != "bridge" or "driver" in attachment:
            return False
        try:
            lock = os.open(f"{paths['run']}/networks/guard", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            from pyctr.core.runtime.ruleguard import RuleGuard

            shim.rules = RuleGuard(shim, lock, paths["bridge"][:9])
        except OSError:
            os.close(lock)
        return shim.rules is not None

    def _check_health(self, client: Client) -> None:
        """One probe now: its code and what the status is then."""

        def answer(code: int | None, status: str) -> None:
            if code is None:
                _refuse(client, "IllegalTransition", "the container ended")
            else:
                client.send(sync.EXITED, marshal.dumps({"code": code, "status": status}))
                client.finish()

        if self.shim.health is None:
            _refuse(client, "UsageError", "the container has no health check", "--health-cmd")
        else:
            self.shim.health.ask(answer)

    def _kill(self, client: Client, number: int) -> None:
        shim = self.shim
        try:
            if client.pid:
                if client.pid in shim.children:
                    os.kill(client.pid, number)
            elif shim.status is None and shim.pidfd >= 0:
                from pyctr.core.linux import namespaces

                namespaces.pidfd_send_signal(shim.pidfd, number)
        except ProcessLookupError:
            pass  # it was quicker
        client.send(sync.DONE)

    def _attach(self, client: Client) -> None:
        shim = self.shim
        if shim.streams is None or shim.status is not None:
            _refuse(client, "IllegalTransition", "the container does not run now")
            return
        client.send(sync.RUNNING, marshal.dumps({"pid": shim.pid, "tty": shim.terminal}))
        shim.listen(client, shim.streams)

    def _exec(self, client: Client, request: dict[str, Any]) -> None:
        from pyctr.core.runtime import execute

        shim = self.shim
        try:
            if shim.status is not None or shim.manager is None or shim.pidfd < 0:
                raise start.Failed("IllegalTransition", "the container does not run now", "")
            if shim.manager.frozen():
                raise start.Failed("IllegalTransition", "the container is paused", "unpause it first")
            plan = shim.plan()
            try:
                context = execute.execute(plan, shim.manager, shim.pidfd, shim.own, request)
            except (errors.PyctrError, OSError) as error:
                raise start.Failed(*init.describe(error, "exec")) from None
        except start.Failed as failed:
            _refuse(client, *failed.report)
            return
        fds, context.streams = context.streams, [-1, -1, -1]
        pid = context.pid
        os.close(context.pidfd)
        start.close(context)
        streams = Streams(shim.loop, fds, terminal=bool(request.get("tty")))
        client.pid = pid
        # an exec's output is the client's own stdout: it may slow its process down, which is not the container's
        client.foreground = True
        client.send(sync.RUNNING, marshal.dumps({"pid": pid, "tty": bool(request.get("tty"))}))
        if client.open and not request.get("detach"):
            shim.listen(client, streams)

        def ended(code: int) -> None:
            streams.drain()
            client.send(sync.EXITED, marshal.dumps(record.exit_of(code)))
            streams.leave(client)
            client.streams = None
            client.finish()
            if request.get("tty"):
                streams.close()
            else:
                # what it left running may still write: read on, for nobody
                streams.close_input()

        shim.children[pid] = ended


def _refuse(client: Client, kind: str, message: str, hint: str = "") -> None:
    """Answer with an error of errors.py, and end the conversation."""
    client.send(sync.FAILED, marshal.dumps((kind, message, hint)))
    client.finish()
