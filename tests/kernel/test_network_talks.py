"""Who talks to whom: real connections between containers, with the host and through a published port."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pyctr.core.linux import namespaces
from tests.support.host import Host
from tests.support.netplace import Place

T = TypeVar("T")


@pytest.fixture
def place(host: Host) -> Iterator[Place]:
    place = Place(host)
    yield place
    place.close()


def _within(path: str, make: Callable[[], T]) -> T:
    fd = os.open(path, os.O_RDONLY)
    try:
        return namespaces.within(fd, make)
    finally:
        os.close(fd)


def _call(path: str, address: str, port: int, server: socket.socket, there: int, back: int) -> list[socket.socket]:
    """A connection that stays, over which so many bytes went."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    caller = _within(path, lambda: socket.socket(family))
    caller.settimeout(20)
    caller.connect((address, port))
    called, _ = server.accept()
    called.settimeout(20)
    for sender, receiver, count in ((caller, called, there), (called, caller, back)):
        sender.sendall(bytes(count))
        while count:
            count -= len(receiver.recv(count))
    return [caller, called]


def test_open_connections_and_flows_of_the_past_are_told_by_name(place: Place) -> None:
    place.command("sysctl", "-qw", "net.netfilter.nf_conntrack_acct=1", check=False)
    place.pyctr("network", "create", "--ipv6", "front")
    pids = {}
    for name, flags in (("web", ("-p", "8080:80")), ("client", ())):
        place.pyctr("run", "-d", "--name", name, "--network", "front", *flags, "base", "sleep", "1000")
        pids[name] = place.pyctr("inspect", "-f", "{{.State.Pid}}", name).stdout.strip()
    space = {name: f"/proc/{pid}/ns/net" for name, pid in pids.items()} | {"host": f"/run/netns/{place.name}"}
    network = json.loads(place.pyctr("inspect", "web").stdout)[0]["NetworkSettings"]["Networks"]["front"]
    web, web6, gateway = network["IPAddress"], network["GlobalIPv6Address"], network["Gateway"]

    def serve() -> socket.socket:
        return socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True)

    open_now: list[socket.socket] = []
    with _within(space["web"], serve) as server:
        server.settimeout(20)
        open_now += _call(space["client"], web, 80, server, 3000, 70)
        open_now += _call(space["client"], web6, 80, server, 4000, 50)
        open_now += _call(space["host"], "127.0.0.1", 8080, server, 900, 20)
        with _within(space["host"], lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as names:
            names.bind((gateway, 5353))
            with _within(space["client"], lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as asking:
                asking.sendto(b"?", (gateway, 5353))
                names.settimeout(20)
                names.recv(10)
        shown = json.loads(place.pyctr("network", "graph", "--talks", "--json").stdout)
        text = place.pyctr("network", "graph", "--talks").stdout
        dot = place.pyctr("network", "graph", "--talks", "--dot").stdout
        svg = place.pyctr("network", "graph", "--talks", "--svg").stdout
    for end in open_now:
        end.close()
    talks: dict[tuple[str, str, int, str], dict[str, Any]] = {
        (talk["source"], talk["target"], talk["port"], talk["protocol"]): talk for talk in shown["talks"]
    }
    inside = talks["client", "web", 80, "tcp"]
    assert inside["connections"] == 2 and inside["sent"] >= 7000 and inside["received"] >= 120, "both families"
    outside = talks["host", "web", 80, "tcp"]
    assert outside["connections"] == 1 and outside["sent"] >= 900 and outside["received"] >= 20
    asked = talks["client", "host", 5353, "udp"]
    counting = Path("/proc/sys/net/netfilter/nf_conntrack_acct").exists()
    assert asked["connections"] == 1 and (not counting or asked["sent"] == 29), "a datagram with its headers"
    assert next(iter(talks)) == ("client", "web", 80, "tcp"), "who moves most comes first"
    assert (
        f"talk client -> web:80/tcp  2 connections, {inside['sent']} bytes there, {inside['received']} back\n" in text
    )
    assert 'dir="forward"' in dot and "client → web:80/tcp" in svg
    assert "talks" not in json.loads(place.pyctr("network", "graph", "--json").stdout)
