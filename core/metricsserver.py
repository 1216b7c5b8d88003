"""`pyctr metrics --listen`: one page over HTTP/1.1 on a unix socket or a port, for whoever scrapes.

One thread and poll(2). At most `CLIENTS` at a time, each with `PATIENCE` seconds for its request and as many for taking
the answer, `REQUEST` bytes of request, one request per connection. A page is made once per `FRESH` seconds, however
many ask. Nothing is read from a request but its first line and its Accept header.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import select
import socket
import stat
import time

from pyctr.core.errors import Conflict, UsageError, from_oserror

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Page = Callable[[bool], tuple[str, str]]

CLIENTS = 16
REQUEST = 8192
PATIENCE = 5.0
FRESH = 0.5
"""Seconds."""


def listen(place: str, *, anywhere: bool = False) -> socket.socket:
    """A socket for `unix:PATH` or `HOST:PORT`, listening. Only of this machine unless `anywhere`.

    Raises UsageError for what is no such place, Conflict for one that is taken, PyctrError.
    """
    kind, _, path = place.partition(":")
    if kind == "unix":
        return _unix(path)
    host, colon, port = place.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isdecimal() or int(port) > 65535 or not host:
        raise UsageError(f"--listen: '{place}' is no place", hint="unix:PATH or 127.0.0.1:PORT")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise from_oserror(error, f"listening on '{place}'") from None
    # by what it resolves to: a name says nothing
    if not anywhere and not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
        hint = "who may see the names and loads of all containers? --anywhere if everybody"
        raise UsageError(f"--listen: '{host}' is not of this machine alone", hint=hint)
    server = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(address)
        server.listen(CLIENTS)
    except OSError as error:
        server.close()
        if error.errno == errno.EADDRINUSE:
            raise Conflict(f"somebody listens on '{place}' already", hint="choose another port") from None
        raise from_oserror(error, f"listening on '{place}'") from None
    return server


def _unix(path: str) -> socket.socket:
    """Mode 0600. A socket that nobody answers on any more is replaced."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        if not path or len(os.fsencode(path)) > 107:
            raise UsageError(f"--listen: '{path}' is no path for a socket", hint="1 to 107 bytes, unix(7)")
        try:
            there = os.lstat(path)
        except FileNotFoundError:
            pass
        else:
            if not stat.S_ISSOCK(there.st_mode):
                raise Conflict(f"'{path}' is no socket", hint="choose another path")
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                if not probe.connect_ex(path):
                    raise Conflict(f"somebody listens on '{path}' already", hint="choose another path")
            os.unlink(path)
        before = os.umask(0o177)
        try:
            server.bind(path)
        finally:
            os.umask(before)
        server.listen(CLIENTS)
    except OSError as error:
        server.close()
        raise from_oserror(error, f"listening on '{path}'") from None
    except BaseException:
        server.close()
        raise
    return server


class _Client:
    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.request = b""
        self.answer = memoryview(b"")
        self.deadline = time.monotonic() + PATIENCE


class Server:
    """`serve` until the descriptor `stop` becomes readable."""

    def __init__(self, server: socket.socket, page: Page) -> None:
        """`page(openmetrics) -> (content type, text)`; what it raises is a 500, and told to `serve`'s caller never."""
        self._server = server
        self._page = page
        self._clients: dict[int, _Client] = {}
        self._pages: dict[bool, tuple[float, bytes]] = {}
        server.setblocking(False)

    def serve(self, stop: int) -> None:
        """Raises nothing of what clients do."""
        try:
            while True:
                poll = select.poll()
                poll.register(stop, select.POLLIN)
                if len(self._clients) < CLIENTS:
                    poll.register(self._server, select.POLLIN)
                for fd, client in self._clients.items():
                    poll.register(fd, select.POLLOUT if client.answer else select.POLLIN)
                now = time.monotonic()
                wait = min((client.deadline - now for client in self._clients.values()), default=None)
                for fd, _ in poll.poll(None if wait is None else max(0.0, wait) * 1000):
                    if fd == stop:
                        return
                    if fd == self._server.fileno():
                        self._accept()
                    else:
                        self._turn(fd)
                now = time.monotonic()
                for fd in [fd for fd, client in self._clients.items() if client.deadline <= now]:
                    self._drop(fd)
        finally:
            for fd in list(self._clients):
                self._drop(fd)
            self._server.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._server.accept()
        except OSError:
            return  # it went already, or there are no descriptors left for the moment
        connection.setblocking(False)
        self._clients[connection.fileno()] = _Client(connection)

    def _drop(self, fd: int) -> None:
        self._clients.pop(fd).connection.close()

    def _turn(self, fd: int) -> None:
        client = self._clients[fd]
        try:
            if client.answer:
                client.answer = client.answer[client.connection.send(client.answer) :]
                if not client.answer:
                    self._drop(fd)
                return
            piece = client.connection.recv(REQUEST)
        except BlockingIOError:
            return
        except OSError:
            self._drop(fd)
            return
        client.request += piece
        if not piece:
            self._drop(fd)
        elif b"\r\n\r\n" in client.request or b"\n\n" in client.request:
            client.answer = memoryview(self._answer(client.request))
            client.deadline = time.monotonic() + PATIENCE
        elif len(client.request) >= REQUEST:
            client.answer = memoryview(_response("431 Request Header Fields Too Large", "text/plain", b"too large\n"))

    def _answer(self, request: bytes) -> bytes:
        first, *rest = request.splitlines() or [b""]
        words = first.split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _response("400 Bad Request", "text/plain", b"this is no request\n")
        method, target = words[0], words[1].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _response("405 Method Not Allowed", "text/plain", b"GET /metrics\n")
        if target not in (b"/metrics", b"/"):
            return _response("404 Not Found", "text/plain", b"GET /metrics\n")
        accept = b" ".join(line for line in rest if line.lower().startswith(b"accept:"))
        try:
            return self._fresh(b"openmetrics" in accept, head=method == b"HEAD")
        except Exception as problem:  # one page that cannot be made must not end the next ones
            return _response("500 Internal Server Error", "text/plain", f"{problem}\n".encode(errors="replace"))

    def _fresh(self, openmetrics: bool, *, head: bool) -> bytes:
        made, answer = self._pages.get(openmetrics, (-FRESH, b""))
        if time.monotonic() - made >= FRESH:
            kind, text = self._page(openmetrics)
            answer = _response("200 OK", kind, text.encode())
            self._pages[openmetrics] = (time.monotonic(), answer)
        return answer[: answer.index(b"\r\n\r\n") + 4] if head else answer


def _response(status: str, kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body
