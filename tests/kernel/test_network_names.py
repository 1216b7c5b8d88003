"""The name server at 127.0.0.11, asked by bind's dig from a container's network and by getaddrinfo inside it."""

from __future__ import annotations

import json
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator

import pytest

from tests.support.host import Host

pytestmark = pytest.mark.skipif(not shutil.which("dig"), reason="dig is not installed (bind9-dnsutils)")
GETENT = tuple(
    word for path in ("/usr/bin/getent", "/lib64", "/lib/x86_64-linux-gnu") for word in ("-v", f"{path}:{path}:ro")
)
"""The C library's getaddrinfo, and the libraries that it needs."""


class Upstream:
    """A name server of the world on an address of the host's loopback; what it says depends on the name."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.asked: list[tuple[str, str]] = []
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((address, 53))
        self.tcp = socket.create_server((address, 53))
        for serve in (self._datagrams, self._connections):
            threading.Thread(target=serve, daemon=True).start()

    def _answer(self, query: bytes, over: str) -> bytes:
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        name = ".".join(labels)
        self.asked.append((over, name))
        question = query[12 : at + 5]
        count = 100 if name == "large.example" else 1
        flags = 0x8180
        if name == "missing.example":
            flags, count = 0x8183, 0
        if count == 100 and over == "udp":
            flags, count = 0x8380, 0
        records = b"".join(
            struct.pack(">HHHIH4B", 0xC00C, 1, 1, 60, 4, 192, 0, 2, number % 250) for number in range(1, count + 1)
        )
        return query[:2] + struct.pack(">HHHHH", flags, 1, count, 0, 0) + question + records

    def _datagrams(self) -> None:
        while True:
            try:
                query, sender = self.udp.recvfrom(4096)
            except OSError:
                return
            if not query:
                return
            self.udp.sendto(self._answer(query, "udp"), sender)

    def _connections(self) -> None:
        while True:
            try:
                connection, _ = self.tcp.accept()
            except OSError:
                return
            with connection:
                query = connection.recv(4096)
                answer = self._answer(query[2:], "tcp")
                connection.sendall(struct.pack(">H", len(answer)) + answer)

    def close(self) -> None:
        # shutdown wakes the threads, close alone does not
        for each in (self.udp, self.tcp):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # UDP is not connected, and wakes nevertheless
            each.close()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    found = Upstream("127.91.53.1")
    yield found
    found.close()


def _pid(host: Host, name: str) -> str:
    return host.run("inspect", "-f", "{{.State.Pid}}", name).stdout.strip()


def _address(host: Host, name: str, network: str) -> str:
    networks = json.loads(host.run("inspect", "-f", "{{json .NetworkSettings.Networks}}", name).stdout)
    return str(networks[network]["IPAddress"])


def _dig(host: Host, container: str, *words: str) -> str:
    command = ["nsenter", "-t", _pid(host, container), "-n", "dig", "@127.0.0.11", "+time=8", "+tries=1", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout


def test_names_of_containers_are_answered_as_they_come_and_go(host: Host) -> None:
    host.run("network", "create", "front")
    host.run("network", "create", "back")
    for name in ("web1", "web2"):
        host.run("run", "-d", "--name", name, "--network", "front", "--network-alias", "web", "base", "sleep", "1000")
    host.run("run", "-d", "--name", "client", "--network", "front", *GETENT, "base", "sleep", "1000")
    host.run("run", "-d", "--name", "db", "--network", "back", "base", "sleep", "1000")
    one, two = (_address(host, name, "front") for name in ("web1", "web2"))

    assert host.run("exec", "client", "cat", "/etc/resolv.conf").stdout.splitlines()[-2:] == [
        "nameserver 127.0.0.11",
        "options ndots:0",
    ]
    assert _dig(host, "client", "+short", "web1").split() == [one]
    assert _dig(host, "client", "+short", "WEB1.front").split() == [one]
    assert sorted(_dig(host, "client", "+short", "web").split()) == sorted([one, two])
    assert sorted(_dig(host, "client", "+short", "+tcp", "web").split()) == sorted([one, two])
    first: set[str] = set()
    for _ in range(60):
        if len(first := first | {_dig(host, "client", "+short", "web").split()[0]}) == 2:
            break
    assert first == {one, two}, "each of them is the first one in its turn"
    assert _dig(host, "client", "+short", "-x", one).split() == ["web1.front."]
    empty = _dig(host, "client", "web1", "AAAA")
    assert "status: NOERROR" in empty and "ANSWER: 0" in empty, "no IPv6 address is an answer, and a quick one"
    inside = host.run("exec", "client", "getent", "ahostsv4", "web").stdout
    assert {line.split()[0] for line in inside.splitlines()} == {one, two}
    assert host.run("exec", "client", "getent", "hosts", "db", check=False).returncode, "another network's names"

    host.run("network", "connect", "back", "client")
    there = _address(host, "db", "back")
    assert _dig(host, "client", "+short", "db").split() == _dig(host, "client", "+short", "db.back").split() == [there]
    assert _dig(host, "client", "+short", "web1").split() == [one], "who is on two networks knows both"
    assert _dig(host, "db", "+short", "client").split() == [_address(host, "client", "back")], "and each its part"
    assert _dig(host, "db", "+short", "web1").split() == []
    host.run("network", "disconnect", "back", "client")
    assert _dig(host, "client", "+short", "db").split() == []

    host.run("network", "connect", "--alias", "store", "front", "db")
    here = _address(host, "db", "front")
    assert _dig(host, "client", "+short", "db").split() == _dig(host, "client", "+short", "store").split() == [here]
    assert _dig(host, "db", "+short", "web1").split() == [one], "who joins knows the names at once"
    host.run("network", "disconnect", "front", "db")
    host.run("rm", "-f", "web2")
    assert _dig(host, "client", "+short", "db").split() == []
    assert _dig(host, "client", "+short", "web").split() == [one]
    host.run("rename", "web1", "first")
    assert _dig(host, "client", "+short", "first").split() == [one]
    host.run("restart", "-t", "0", "client")
    assert _dig(host, "client", "+short", "first").split() == [one]


def test_other_names_are_asked_of_the_servers_outside(host: Host, upstream: Upstream) -> None:
    host.run("network", "create", "front")
    host.run(
        *("run", "-d", "--name", "client", "--network", "front", "--dns", "127.91.53.9", "--dns", upstream.address),
        *("--dns-search", "example", "--dns-opt", "attempts:1", *GETENT, "base", "sleep", "1000"),
    )
    # nobody listens on the first server
    assert _dig(host, "client", "+short", "www.example").split() == ["192.0.2.1"]
    assert ("udp", "www.example") in upstream.asked
    assert "status: NXDOMAIN" in _dig(host, "client", "missing.example")
    assert len(_dig(host, "client", "+short", "large.example").split()) == 100, "a truncated answer is asked for by TCP"
    assert ("tcp", "large.example") in upstream.asked
    resolv = host.run("exec", "client", "cat", "/etc/resolv.conf").stdout
    assert resolv == "search example\nnameserver 127.0.0.11\noptions attempts:1 ndots:0\n"
    assert host.run("exec", "client", "getent", "ahostsv4", "www").stdout.split()[0] == "192.0.2.1", "the search domain"
    assert not [name for _, name in upstream.asked if name in ("client", "front")]


def test_a_silent_server_outside_never_delays_names_of_containers(host: Host, upstream: Upstream) -> None:
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.91.53.7", 53))
    with silent:
        host.run("network", "create", "front")
        host.run("run", "-d", "--name", "client", "--network", "front", "--dns", "127.91.53.7", "base", "sleep", "1000")
        pid = _pid(host, "client")
        waiting = [
            subprocess.Popen(
                ["nsenter", "-t", pid, "-n", "dig", "@127.0.0.11", "+time=30", "+tries=1", f"n{number}.example"],
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(5)
        ]
        silent.settimeout(20)
        for _ in waiting:
            silent.recv(512)
        assert _dig(host, "client", "+short", "client").split() == [_address(host, "client", "front")]
        assert all(each.poll() is None for each in waiting), "answered while the others still wait"
        for each in waiting:
            assert "status: SERVFAIL" in each.communicate(timeout=40)[0], "and those are told in the end"
        # a silent server is asked last from now on
        host.run(
            *("run", "-d", "--name", "second", "--network", "front", "--dns", "127.91.53.7"),
            *("--dns", upstream.address, "base", "sleep", "1000"),
        )
        assert _dig(host, "second", "+short", "www.example").split() == ["192.0.2.1"]
        silent.setblocking(False)
        while True:
            try:
                silent.recv(512)
            except BlockingIOError:
                break
        assert _dig(host, "second", "+short", "www.example").split() == ["192.0.2.1"]
        with pytest.raises(BlockingIOError):
            silent.recv(512)


def test_a_container_has_port_53_for_itself_and_an_internal_network_asks_nobody(host: Host, upstream: Upstream) -> None:
    host.run("network", "create", "--internal", "--ipv6", "closed")
    host.run(
        *("run", "-d", "--name", "own", "--network", "closed", "--dns", upstream.address, "base", "sleep", "1000"),
    )
    code = "import socket; s = socket.socket(2, 2); s.bind(('0.0.0.0', 53)); t = socket.create_server(('', 53))"
    done = subprocess.run(["nsenter", "-t", _pid(host, "own"), "-n", "python3", "-c", code], timeout=20)
    assert done.returncode == 0
    assert _dig(host, "own", "+short", "own").split() == [_address(host, "own", "closed")]
    networks = json.loads(host.run("inspect", "-f", "{{json .NetworkSettings.Networks}}", "own").stdout)
    six = networks["closed"]["GlobalIPv6Address"]
    assert six.startswith("fd") and _dig(host, "own", "+short", "own", "AAAA").split() == [six]
    assert _dig(host, "own", "+short", "-x", six).split()[0].endswith(".closed.")
    assert "status: SERVFAIL" in _dig(host, "own", "www.example")
    assert upstream.asked == []


def test_nonsense_is_survived(host: Host) -> None:
    host.run("network", "create", "front")
    host.run("run", "-d", "--name", "client", "--network", "front", "base", "sleep", "1000")
    code = """
import os, socket
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.connect(("127.0.0.11", 53))
for length in range(0, 400, 3):
    udp.send(os.urandom(length))
udp.send(b"\\0\\1\\1\\0\\0\\1" + bytes(6) + b"\\xc0\\x0c\\0\\1\\0\\1")
tcp = [socket.create_connection(("127.0.0.11", 53)) for _ in range(20)]
for each in tcp[:10]:
    each.send(b"\\xff\\xff" + os.urandom(50))
"""
    subprocess.run(["nsenter", "-t", _pid(host, "client"), "-n", "python3", "-c", code], check=True, timeout=60)
    assert _dig(host, "client", "+short", "client").split() == [_address(host, "client", "front")]
