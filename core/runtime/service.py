"""What clients ask of a shim: over its socket, or over the connection the start came by (the wire is drawn in `sync`).

A connection is a `clients.Client`; attach, exec, a signal or a probe is its first word.
"""

from __future__ import annotations

import _socket
import errno
import marshal
import os
import time

from pyctr.core.runtime import clients, record, start, sync
from pyctr.core.runtime.loop import READ
from pyctr.core.runtime.streams import Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.core.runtime.clients import Client
    from pyctr.core.runtime.shim import Shim
    from pyctr.core.runtime.worker import Reply

_RETRY = 0.5
"""Seconds until connections are accepted again after there was no descriptor left for one."""


class Service:
    """A shim's ear. `left` is called with a client that has gone."""

    def __init__(self, shim: Shim, left: Callable[[Client], None]) -> None:
        self.shim = shim
        self._left = left
        self._listener: _socket.socket | None = None

    def open(self, fd: int) -> None:
        """Serve who connects to a socket of `listen`."""
        self._listener = _socket.socket(fileno=fd)
        self.shim.loop.add(fd, READ, self._accept)

    def descriptor(self) -> int:
        """What `open` was given."""
        return self._listener.fileno() if self._listener is not None else -1

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
        elif kind == sync.NAMES:
            self._name(client, marshal.loads(payload))
        elif kind == sync.DOORS:
            self._open_doors(client, marshal.loads(payload))
        else:
            client.close()

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

    def _name(self, client: Client, request: dict[str, Any]) -> None:
        """Answer for names from now on: the container has joined its first network that has them."""
        shim = self.shim
        if shim.status is not None or shim.pidfd < 0:
            _refuse(client, "IllegalTransition", "the container does not run now")
            return
        if shim.names is None and not shim.name_sockets:
            try:
                _, descriptors = shim.ask(lambda reply: _open_names(shim.pid, request["order"], reply), "name server")
            except start.Failed as failed:
                _refuse(client, *failed.report)
                return
            shim.answer_names(descriptors, request["servers"])
        client.send(sync.DONE)
        client.finish()

    def _open_doors(self, client: Client, attachment: dict[str, Any]) -> None:
        """Other ports from now on: the container's first network is another one."""
        shim = self.shim
        if shim.status is not None or shim.pidfd < 0:
            _refuse(client, "IllegalTransition", "the container does not run now")
            return
        shim.open_doors(None)
        if attachment.get("ports"):
            try:
                value, descriptors = shim.ask(lambda reply: _doors(attachment, reply), "ports")
            except start.Failed as failed:
                _refuse(client, *failed.report)
                return
            shim.files = value["files"] or shim.files
            shim.open_doors(descriptors)
        client.send(sync.DONE)
        client.finish()

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
        shim = self.shim
        if shim.status is not None or shim.pidfd < 0:
            _refuse(client, "IllegalTransition", "the container does not run now")
            return
        try:
            value, descriptors = shim.ask(lambda reply: _execute(shim, request, reply))
        except start.Failed as failed:
            _refuse(client, *failed.report)
            return
        pid = value["pid"]
        fds = [descriptors.pop(0) if open else -1 for open in value["open"]]
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
                # what it left running may still write
                streams.close_input()
                shim.leftovers = [one for one in (*shim.leftovers, streams) if one.open]

        shim.children[pid] = ended


def _execute(shim: Shim, request: dict[str, Any], reply: Reply) -> None:
    """In a worker: one more process. Raises start.Failed, PyctrError, OSError."""
    from pyctr.core.runtime import execute

    manager = shim.manager()
    if manager.frozen():
        raise start.Failed("IllegalTransition", "the container is paused", "unpause it first")
    context = execute.execute(shim.plan(), manager, shim.pidfd, shim.own, request)
    given = tuple(fd for fd in context.streams if fd >= 0)
    reply({"pid": context.pid, "open": [fd >= 0 for fd in context.streams]}, given)


def listen(directory: str) -> int:
    """shim.sock there, by a path that fits whatever the length of the root's."""
    place = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
    try:
        os.unlink("shim.sock", dir_fd=place)
    except FileNotFoundError:
        pass
    listener.bind(f"/proc/self/fd/{place}/shim.sock")
    os.close(place)
    listener.listen(16)
    return listener.detach()


def _refuse(client: Client, kind: str, message: str, hint: str = "") -> None:
    """Answer with an error of errors.py, and end the conversation."""
    client.send(sync.FAILED, marshal.dumps((kind, message, hint)))
    client.finish()


def _open_names(pid: int, order: dict[str, Any], reply: Reply) -> None:
    """In a worker: the sockets of the name server, in the container's namespace. Raises OSError."""
    from pyctr.core import netns
    from pyctr.core.linux import namespaces

    place = namespaces.open_namespace(pid, "network")
    sockets = namespaces.within(place, lambda: netns.name_sockets(order))
    reply({}, tuple(socket.fileno() for socket in sockets))


def _doors(attachment: dict[str, Any], reply: Reply) -> None:
    """In a worker: the sockets of published ports. Raises PyctrError, OSError."""
    from pyctr.core.runtime import doors

    files = doors.make_room(attachment)
    sockets = doors.opened(attachment)
    reply({"files": files}, tuple(socket.fileno() for socket in sockets))
