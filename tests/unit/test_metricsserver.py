"""The page over HTTP: bounded whatever clients do, and gone cleanly."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core import metricsserver
from pyctr.core.errors import Conflict, PyctrError, UsageError
from pyctr.core.metricsserver import Server, listen


class Running:
    """A server in a thread, and how often its page was made."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.made = 0
        self.problem: Exception | None = None
        self.body = "page\n"
        self._stop, self.end = os.pipe()
        self.thread = threading.Thread(target=Server(listen(f"unix:{path}"), self.page).serve, args=(self._stop,))
        self.thread.start()

    def page(self, openmetrics: bool) -> tuple[str, str]:
        self.made += 1
        if self.problem is not None:
            raise self.problem
        return "text/x-new" if openmetrics else "text/x-old", self.body

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(30)
        client.connect(self.path)
        return client

    def ask(self, request: bytes) -> bytes:
        with self.connect() as client:
            client.sendall(request)
            return everything(client)

    def stop(self) -> None:
        os.write(self.end, b"x")
        self.thread.join(30)
        assert not self.thread.is_alive()
        os.close(self._stop)
        os.close(self.end)


def everything(client: socket.socket) -> bytes:
    out = b""
    try:
        while piece := client.recv(65536):
            out += piece
    except ConnectionResetError:
        pass  # it left while we still talked
    return out


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(metricsserver, "PATIENCE", 1.0)
    running = Running(str(tmp_path / "s"))
    yield running
    running.stop()


def test_a_scraper_gets_the_format_it_reads(server: Running) -> None:
    new = server.ask(b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0\r\n\r\n")
    old = server.ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert new.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/x-new\r\n") and new.endswith(b"\r\n\r\npage\n")
    assert b"text/x-old" in old
    head = server.ask(b"HEAD /metrics HTTP/1.1\r\n\r\n")
    assert b"Content-Length: 5\r\n" in head and head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /etc/passwd HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 9000, b"431"),
    ],
)
def test_other_requests_are_refused(server: Running, request_: bytes, status: bytes) -> None:
    assert server.ask(request_).startswith(b"HTTP/1.1 " + status)
    assert not server.made


def test_slow_and_silent_clients_hold_nobody_up(server: Running) -> None:
    server.body = "x" * (4 << 20)
    idle = [server.connect() for _ in range(metricsserver.CLIENTS)]
    idle[0].sendall(b"GET /metr")
    idle[1].sendall(b"GET /metrics HTTP/1.1\r\n\r\n")  # and never reads its four megabytes
    answer = server.ask(b"GET /metrics HTTP/1.1\r\n\r\n")
    assert answer.endswith(b"x" * 100), "the one after them waits for their patience, not for them"
    for client in idle[2:]:
        assert everything(client) == b"", "who says nothing is shown the door"
    for client in idle:
        client.close()


def test_a_page_is_made_once_for_many(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metricsserver, "FRESH", 1000.0)
    for _ in range(5):
        assert b"200 OK" in server.ask(b"GET / HTTP/1.0\r\n\r\n")
    assert server.made == 1


def test_a_page_that_cannot_be_made_ends_nothing(server: Running) -> None:
    server.problem = OSError(5, "input/output error")
    assert b"500 Internal" in server.ask(b"GET / HTTP/1.0\r\n\r\n")
    server.problem = None
    assert b"200 OK" in server.ask(b"GET / HTTP/1.0\r\n\r\n")


def test_a_socket_is_ours_alone_and_never_taken_from_others(server: Running, tmp_path: Path) -> None:
    assert stat.S_IMODE(os.stat(server.path).st_mode) == 0o600
    with pytest.raises(Conflict, match="already"):
        listen(f"unix:{server.path}")
    (tmp_path / "file").write_text("precious")
    with pytest.raises(Conflict, match="no socket"):
        listen(f"unix:{tmp_path}/file")
    assert (tmp_path / "file").read_text() == "precious"
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(tmp_path / "left"))
    left.close()
    listen(f"unix:{tmp_path}/left").close()


@pytest.mark.parametrize("place", ["0.0.0.0:0", "[::]:0", "192.0.2.1:9000"])
def test_only_this_machine_unless_told_otherwise(place: str) -> None:
    with pytest.raises(UsageError, match="not of this machine alone"):
        listen(place)
    if place == "0.0.0.0:0":
        listen(place, anywhere=True).close()


@pytest.mark.parametrize(
    "place", ["nowhere", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", ":80", "unix:", "unix:/no/x"]
)
def test_what_is_no_place_is_said(place: str) -> None:
    with pytest.raises(PyctrError) as caught:
        listen(place)
    assert "\n" not in str(caught.value)


def test_loopback_is(tmp_path: Path) -> None:
    with listen("127.0.0.1:0") as server:
        port = server.getsockname()[1]
        with pytest.raises(Conflict, match="already"):
            listen(f"127.0.0.1:{port}")
