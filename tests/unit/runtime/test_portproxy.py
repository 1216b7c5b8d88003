"""What strangers can do to the process that carries bytes for a container, and to its other callers."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import socket
import struct
import termios
import time
import tracemalloc
from collections.abc import Iterator

import pytest

from pyctr.core.runtime import doors, portproxy, portstreams
from pyctr.core.runtime.loop import Loop

QUIET = 0.05
"""Seconds in which a proxy that has anything to do does something."""
PATIENCE = 60
PIECE = bytes(1 << 16)


class Scene:
    """A proxy that goes step by step, and the server that its callers mean."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.proxy = portproxy.Proxy(Loop())
        self._sockets = [self.server]
        self.port = self.listen(socket.SOCK_STREAM, self.server)

    def listen(self, kind: int, server: socket.socket) -> int:
        """One more door to a server; its port."""
        door = doors.listen("::1", 0, "tcp" if kind == socket.SOCK_STREAM else "udp")
        self._sockets += [door, server]
        self.proxy.open(door, [(socket.AF_INET, *server.getsockname())])
        return int(door.getsockname()[1])

    def settle(self, most: int = 1000) -> None:
        """Until there is nothing to do any more."""
        for _ in range(most):
            if not self.proxy.turn(time.monotonic() + QUIET):
                return
        raise AssertionError("it never rests")

    def call(self) -> socket.socket:
        caller = socket.create_connection(("::1", self.port), timeout=PATIENCE)
        self._sockets.append(caller)
        return caller

    def answer(self) -> socket.socket:
        self.server.settimeout(PATIENCE)
        inside, _ = self.server.accept()
        inside.settimeout(PATIENCE)
        self._sockets.append(inside)
        return inside

    def connect(self) -> tuple[socket.socket, socket.socket]:
        caller = self.call()
        self.settle()
        return caller, self.answer()

    def fill(self, sender: socket.socket) -> int:
        """Say more than anybody takes; how much was taken."""
        sender.setblocking(False)
        said = 0
        while True:
            try:
                said += sender.send(PIECE)
            except BlockingIOError:
                before = said
                self.settle()
                try:
                    said += sender.send(PIECE)
                except BlockingIOError:
                    return before

    def take(self, receiver: socket.socket, count: int) -> bytes:
        """So much from a receiver, with the proxy at work."""
        receiver.setblocking(False)
        data = b""
        deadline = time.monotonic() + PATIENCE
        while len(data) < count and time.monotonic() < deadline:
            try:
                piece = receiver.recv(count - len(data))
            except BlockingIOError:
                self.proxy.turn(time.monotonic() + QUIET)
                continue
            assert piece, "it has ended"
            data += piece
        return data

    def close(self) -> None:
        for one in self._sockets:
            one.close()


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.close()


def _reset(one: socket.socket) -> None:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
    one.close()


def _unheard(one: socket.socket) -> int:
    """Bytes that the kernel of the other side has not taken yet (SIOCOUTQ in tcp(7))."""
    return int.from_bytes(fcntl.ioctl(one, termios.TIOCOUTQ, bytes(4)), "little")


def test_urgent_bytes_before_a_server_that_does_not_read_keep_nobody_busy(scene: Scene) -> None:
    caller, _ = scene.connect()
    caller.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            caller.send(PIECE)
            caller.send(b"!", socket.MSG_OOB)
            scene.settle()
    scene.settle()


def test_an_urgent_byte_before_anybody_has_answered_is_no_reason_to_hang_up(scene: Scene) -> None:
    caller = scene.call()
    caller.send(b"!", socket.MSG_OOB)
    scene.settle()
    caller.sendall(b"hello")
    assert scene.take(scene.answer(), 6) == b"!hello"


def test_what_a_server_does_not_read_is_not_kept_by_the_proxy(scene: Scene) -> None:
    pairs = [scene.connect() for _ in range(8)]
    for caller, _ in pairs:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
    tracemalloc.start()
    try:
        said = [scene.fill(caller) for caller, _ in pairs]
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1 << 18
    assert max(said) < 1 << 21, "nor is much of it kept by the kernel"
    for (_, inside), count in zip(pairs, said, strict=True):
        assert len(scene.take(inside, count)) == count, "and it comes when the server reads"


def test_every_byte_comes_once_and_then_the_last_word(scene: Scene) -> None:
    caller, inside = scene.connect()
    for one, other in ((caller, inside), (inside, caller)):
        data = os.urandom(1 << 22)
        one.setblocking(False)
        said, heard = 0, b""
        while said < len(data):
            try:
                said += one.send(data[said:])
            except BlockingIOError:
                scene.settle()
                heard += scene.take(other, 300_000)
        one.shutdown(socket.SHUT_WR)
        heard += scene.take(other, len(data) - len(heard))
        assert heard == data
        scene.settle()
        assert other.recv(1) == b""


@pytest.mark.parametrize("shut", [False, True], ids=["both ways", "the server has said its last word"])
def test_a_caller_that_is_gone_makes_room_though_the_server_does_not_read(scene: Scene, shut: bool) -> None:
    scene.proxy.room = 1
    caller, inside = scene.connect()
    if shut:
        inside.shutdown(socket.SHUT_WR)
        scene.settle()
    scene.fill(caller)
    _reset(caller)
    scene.settle()
    assert scene.connect()


def test_a_server_has_only_so_long_for_the_last_words_of_who_is_gone(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portstreams, "_ORPHANED", 300)
    scene.proxy.room = 1
    caller, inside = scene.connect()
    inside.shutdown(socket.SHUT_WR)
    scene.settle()
    scene.fill(caller)
    caller.shutdown(socket.SHUT_WR)
    while _unheard(caller):
        scene.take(inside, len(PIECE))
    waits = scene.call()
    scene.server.setblocking(False)
    deadline = time.monotonic() + PATIENCE
    while True:
        assert time.monotonic() < deadline, "it lasts for ever"
        scene.proxy.turn(time.monotonic() + QUIET)
        with contextlib.suppress(BlockingIOError):
            scene.server.accept()[0].close()
            break
    waits.close()


def _asks(scene: Scene, port: int, count: int) -> list[socket.socket]:
    """UDP callers of a port that have said a word each."""
    callers = [socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in range(count)]
    for caller in callers:
        caller.connect(("::1", port))
        caller.send(b"?")
        scene.settle()
    return callers


def _hears(server: socket.socket) -> tuple[str, int]:
    """From whom the last of the datagrams came that are there."""
    server.setblocking(False)
    peer = ("", 0)
    with contextlib.suppress(BlockingIOError):
        while True:
            peer = server.recvfrom(16)[1]
    return peer


def test_udp_callers_take_no_room_from_connections_or_from_those_of_other_ports(scene: Scene) -> None:
    scene.proxy.room = 3
    servers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for server in servers:
        server.bind(("127.0.0.1", 0))
    quiet, loud = (scene.listen(socket.SOCK_DGRAM, server) for server in servers)
    [caller] = _asks(scene, quiet, 1)
    before = _hears(servers[0])
    crowd = _asks(scene, loud, 8)
    assert _hears(servers[1])[1], "the last of them is served"
    caller.send(b"?")
    scene.settle()
    assert _hears(servers[0]) == before, "it has its place still, though nobody was quiet for longer"
    assert scene.connect()
    for one in (caller, *crowd):
        one.close()


def test_a_door_waits_a_moment_when_there_is_no_descriptor(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portproxy, "LINGER", 0.5)
    scene.proxy.recount()
    scene.call()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        scene.settle()
        while not scene.proxy.over:
            assert scene.proxy.turn(time.monotonic() + PATIENCE), "who waits in line is no caller"
        assert scene.proxy.loop.heard < 10
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    scene.settle()
    assert scene.answer(), "and then it is somebody's turn"
