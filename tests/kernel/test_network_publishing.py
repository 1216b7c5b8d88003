"""Published ports of every protocol with real packets, ranges, and what the flags of a container's network come to."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core import errors
from tests.support.host import Host
from tests.support.netlab import HOST, OUTSIDE, Lab

SCTP = 132


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.close()


def test_udp_is_reached_from_everywhere_and_the_answer_comes_from_where_it_was_asked(lab: Lab) -> None:
    web = lab.container("web", "5300:53/udp", "127.0.0.1:5301:54/udp")
    lab.container("client")
    for port in (53, 54):
        lab.serve_udp("web", port)
    gateway = web["gateway"]
    assert lab.ask_udp("out", HOST, 5300) == OUTSIDE, "the container sees who really calls"
    asked = {
        "localhost": lab.ask_udp("host", "127.0.0.1", 5300),
        "neighbour": lab.ask_udp("client", HOST, 5300),
        "itself": lab.ask_udp("web", HOST, 5300),
        "on localhost only": lab.ask_udp("host", "127.0.0.1", 5301),
    }
    assert set(asked.values()) == {gateway}, asked
    assert lab.ask_udp("out", HOST, 5301, timeout=1) in ("ConnectionRefusedError", "TimeoutError")
    assert lab.ask("out", HOST, 5300, timeout=1) == "ConnectionRefusedError", "UDP was published, TCP was not"


def test_a_range_of_ports_is_as_many_single_ones(lab: Lab) -> None:
    lab.container("web", "7000-7002:70-72", "0:80")
    for port in (70, 71, 72):
        lab.serve("web", port)
    assert [lab.ask("out", HOST, port) for port in (7000, 7001, 7002)] == [OUTSIDE] * 3
    assert lab.ask("out", HOST, 7003, timeout=1) == "ConnectionRefusedError"
    with pytest.raises(errors.Conflict, match="port 7001/tcp is taken by container 'web'"):
        lab.attach("late", "7001:9")


def test_a_range_of_the_host_gives_the_first_free_port(lab: Lab) -> None:
    one = lab.container("one", "7100-7102:80")
    two = lab.attach("two", "7100-7102:80", "7101:81")
    assert [port["host_port"] for port in one["ports"] + two["ports"]] == [7100, 7102, 7101], (
        "7101 is asked for by name"
    )
    lab.serve("one", 80)
    assert lab.ask("out", HOST, 7100) == OUTSIDE
    with pytest.raises(errors.Conflict, match="no port from 7100 to 7102 is free: port 7102/tcp is taken by"):
        lab.attach("three", "7100-7102:80")
    lab.remove(one)
    again = lab.attach("two", "7100-7102:80", "7101:81", id=two["id"])
    assert [port["host_port"] for port in again["ports"]] == [7102, 7101], "what a container had it keeps"


def test_sctp_associations_are_made_through_a_published_port(lab: Lab) -> None:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, SCTP).close()
    except OSError as error:
        pytest.skip(f"no SCTP sockets in this kernel: {error.strerror}")
    web = lab.container("web", "9899:36412/sctp")
    lab.container("client")
    ready, told = os.pipe()

    def answer(count: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, SCTP) as listener:
            listener.bind(("0.0.0.0", 36412))
            listener.listen(8)
            listener.settimeout(60)
            os.write(told, b"1")
            for _ in range(count):
                connection, peer = listener.accept()
                with connection:
                    connection.sendall(peer[0].encode())

    def ask(address: str) -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, SCTP) as asking:
            asking.settimeout(60)
            asking.connect((address, 9899))
            return asking.recv(2048).decode()

    answering = lab.begin("web", answer, 3)
    assert os.read(ready, 1) == b"1"
    assert lab.call("out", ask, HOST) == OUTSIDE, "the container sees who really calls"
    assert lab.call("host", ask, "127.0.0.1") == lab.call("client", ask, HOST) == web["gateway"]
    lab.finish(answering)
    os.close(ready)
    os.close(told)


def _crc32c(data: bytes) -> int:
    """RFC 9260, appendix A."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def _init(source: int, destination: int) -> bytes:
    """An SCTP packet with an INIT chunk: what opens an association (RFC 9260, 3.3.2)."""
    chunk = struct.pack(">BBHIIHHI", 1, 0, 20, 0x1234, 65536, 1, 1, 1)
    head = struct.pack(">HHI", source, destination, 0)
    return head + struct.pack("<I", _crc32c(head + bytes(4) + chunk)) + chunk


def test_sctp_is_led_to_its_container(lab: Lab) -> None:
    """The first packet of an association, as this kernel's conntrack knows SCTP; its sockets it may not have."""
    lab.container("web", "9899:36412/sctp")
    ready, told = os.pipe()

    def hear() -> tuple[str, int, int]:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, SCTP) as raw:
            raw.settimeout(20)
            os.write(told, b"1")
            packet, peer = raw.recvfrom(2048)
            source, destination = struct.unpack_from(">HH", packet, 4 * (packet[0] & 15))
            return peer[0], source, destination

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, SCTP) as raw:
            raw.sendto(_init(4000, 9899), (HOST, 0))

    hearing = lab.begin("web", hear)
    assert os.read(ready, 1) == b"1"
    lab.call("out", send)
    assert lab.finish(hearing) == (OUTSIDE, 4000, 36412)
    os.close(ready)
    os.close(told)


def test_what_cannot_be_published_is_refused_by_name(lab: Lab) -> None:
    with pytest.raises(errors.UsageError, match="network 'bridge' has no IPv6 addresses") as failure:
        lab.attach("six", "[fd99::7]:8080:80/sctp")
    assert failure.value.hint == "network create --ipv6 makes one that has"


def test_the_flags_of_a_containers_network(host: Host) -> None:
    host.run("network", "create", "--ipv6", "--subnet", "10.213.7.0/24", "--subnet", "fd77:1::/64", "front")
    host.run(
        *("run", "-d", "--name", "web", "--network", "front", "--ip", "10.213.7.9", "--ip6", "fd77:1::9"),
        *("--mac-address", "02:99:0a:0b:0c:0d", "--network-alias", "www", "--add-host", "printer:192.0.2.9"),
        *("--add-host", "gate:host-gateway", "--dns-opt", "ndots:3", "--dns-search", "example.org", "base"),
        *("sleep", "1000"),
    )
    shown = host.run(
        "exec", "web", "busybox", "sh", "-c", "ip address show eth0; cat /etc/hosts; cat /etc/resolv.conf"
    ).stdout
    assert "inet 10.213.7.9/24" in shown and "inet6 fd77:1::9/64" in shown and "02:99:0a:0b:0c:0d" in shown
    assert "192.0.2.9\tprinter" in shown and "10.213.7.1\tgate" in shown, shown
    assert "search example.org" in shown and "options ndots:3" in shown.replace("options ndots:0 ", "options "), shown
    there = host.run("run", "--rm", "--network", "front", "base", "busybox", "nslookup", "www", check=False).stdout
    assert "10.213.7.9" in there and "fd77:1::9" in there
    settings = json.loads(host.run("inspect", "web").stdout)[0]["NetworkSettings"]["Networks"]["front"]
    assert settings["MacAddress"] == "02:99:0a:0b:0c:0d" and settings["GlobalIPv6Address"] == "fd77:1::9"
    refused = host.run("run", "-p", "[::1]:8080:80/sctp", "base", "true", check=False)
    assert refused.returncode == 125 and "an SCTP port cannot be published on '::1'" in refused.stderr
