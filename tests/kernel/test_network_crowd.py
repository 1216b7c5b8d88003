"""A hundred real containers come and go on one network, by fifty clients at once: nobody shares anything, nothing
stays, all are drawn."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pyctr.core import containers, netgraph
from pyctr.core.engine import Engine
from pyctr.tui import format as f
from pyctr.tui import rails
from pyctr.tui.sources.networks import Rails
from pyctr.tui.table import Look
from tests.support.host import Host

CLIENTS, EACH = 50, 2
START = """
import sys
from pyctr.core import lifecycle
from pyctr.core.engine import Engine
from pyctr.core.spec import ContainerSpec, Port
for number in range(int(sys.argv[2])):
    spec = ContainerSpec(image="localhost/base:latest", name=f"crowd-{sys.argv[1]}-{number}", network="crowd",
        command=["sleep", "1000"], ports=[Port(container_port=80)])
    lifecycle.run(Engine(), spec)[1].close()
"""
REMOVE = """
import sys
from pyctr.core import lifecycle
from pyctr.core.engine import Engine
for number in range(int(sys.argv[2])):
    lifecycle.remove(Engine(), f"crowd-{sys.argv[1]}-{number}", force=True)
"""


def _at_once(host: Host, code: str) -> None:
    clients = [
        subprocess.Popen([sys.executable, "-c", code, str(number), str(EACH)], env=host.env, stderr=subprocess.PIPE)
        for number in range(CLIENTS)
    ]
    for client in clients:
        _, said = client.communicate(timeout=200)
        assert client.returncode == 0, said.decode()


@pytest.mark.timeout(300)
def test_a_hundred_containers_by_fifty_clients_at_once(host: Host) -> None:
    routes = _routes()
    host.run("network", "create", "crowd")
    _at_once(host, START)
    engine = Engine(host.paths)
    known = containers.all(engine)
    total = CLIENTS * EACH
    attachments = [container.state.network for container in known]
    for what in ("address", "mac", "host_if"):
        assert len({attachment[what] for attachment in attachments}) == total, what
    ports = {port["host_port"] for attachment in attachments for port in attachment["ports"]}
    assert len(ports) == total
    lines = host.run("network", "which").stdout.splitlines()[1:]
    assert len(lines) == total == len({line.split()[2] for line in lines})

    graph = netgraph.graph(engine, known)
    assert len(graph.on("crowd")) == total == len(graph.ports) and all(edge.counters for edge in graph.edges)
    shown = json.loads(host.run("network", "graph", "--json").stdout)
    assert [node["name"] for node in shown["containers"]] == sorted(node.name for node in graph.nodes)
    look = Look(f.Glyphs())
    picture = rails.layout(Rails(graph), 80, look)
    assert len({spot.id for spot in picture.spots}) == total
    later = rails.layout(Rails(netgraph.graph(engine, known)), 80, look)
    assert [(spot.id, spot.x, spot.y) for spot in later.spots] == [(spot.id, spot.x, spot.y) for spot in picture.spots]

    bridge = engine.networks.get("crowd").bridge
    _at_once(host, REMOVE)
    run = host.paths.run
    assert not os.listdir(f"{run}/networks/ids") and not os.listdir(f"{run}/networks/leases/crowd")
    assert not os.listdir(f"{run}/networks/ports")
    assert Path(f"{run}/networks/crowd.names").read_text() == ""
    rules = subprocess.run(["nft", "list", "table", "ip", bridge], capture_output=True, text=True, check=True).stdout
    assert "elements" not in rules, "no port is led anywhere"
    host.run("network", "rm", "crowd")
    assert not Path(f"/sys/class/net/{bridge}").exists()
    links = {attachment["host_if"] for attachment in attachments}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as events:
        events.bind((0, 1))  # RTMGRP_LINK: the kernel takes a namespace down a little after its last process
        events.settimeout(60)
        while links & set(os.listdir("/sys/class/net")):
            events.recv(65536)
    assert not [line for line in _routes() if line not in routes and bridge in line]


def _routes() -> list[str]:
    return subprocess.run(["ip", "-o", "route"], capture_output=True, text=True, check=True).stdout.splitlines()
