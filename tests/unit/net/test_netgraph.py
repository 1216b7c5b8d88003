"""The graph of a recorded host, read by the real code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pyctr.core import netgraph, netpicture
from pyctr.core.containers import Container
from pyctr.core.engine import Engine
from pyctr.core.networkset import Network
from pyctr.core.paths import Paths
from pyctr.core.spec import ContainerSpec
from pyctr.core.state import State

DEV = """Inter-| Receive | Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo: 500 5 0 0 0 0 0 0 500 5 0 0 0 0 0 0
 eth0: {eth0} 90 1 2 0 0 0 0 8000 80 0 3 0 0 0 0
 wlan0: 7 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0
pyctr0: 300 3 0 0 0 0 0 0 700 7 0 0 0 0 0 0
vethaaaaaaaa: 300 3 0 4 0 0 0 0 {web} 7 0 0 0 0 0 0
vethbbbbbbbb: 1 1 0 0 0 0 0 0 2 2 0 0 0 0 0 0
vethbbbbbbbbg: 10 1 0 0 0 0 0 0 20 2 0 0 0 0 0 0
"""
# 192.0.2.0/24 and the default via .1 on eth0, 10.0.0.0/8 on wlan0, as a little-endian machine writes them
ROUTE = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t0100000A\t0003\t0\t0\t600\t00000000\t0\t0\t0
eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
wlan0\t0000000A\t00000000\t0001\t0\t0\t600\t000000FF\t0\t0\t0
"""
TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
        |-- 192.0.2.10
           /32 host LOCAL
        |-- 192.0.2.0
           /24 link UNICAST
           |-- 10.1.2.3
              /32 host LOCAL
"""


@pytest.fixture
def host(tmp_path: Path) -> Engine:
    (tmp_path / "proc/1/net").mkdir(parents=True)
    (tmp_path / "r/networks").mkdir(parents=True)
    (tmp_path / "proc/1/net/route").write_text(ROUTE)
    (tmp_path / "proc/1/net/fib_trie").write_text(TRIE)
    counters(tmp_path)
    for network in (
        Network(name="bridge", bridge="pyctr0", subnet="10.88.0.0/16", gateway="10.88.0.1"),
        Network(name="backend", bridge="pyctr0-12345", subnet="10.89.0.0/24", gateway="10.89.0.1", internal=True),
    ):
        (tmp_path / f"r/networks/{network.name}.json").write_text(json.dumps(network.to_dict()))
    return Engine(Paths(root=f"{tmp_path}/r", run=f"{tmp_path}/v", proc=f"{tmp_path}/proc"))


def counters(base: Path, eth0: int = 9000, web: int = 700) -> None:
    (base / "proc/1/net/dev").write_text(DEV.format(eth0=eth0, web=web))


def container(engine: Engine, letter: str, name: str, network: str = "bridge", **attachment: Any) -> Container:
    spec = ContainerSpec(image="x", network=network)
    return Container(engine, State(id=letter * 64, name=name, created_at=0, spec=spec.to_dict(), network=attachment))


def everybody(engine: Engine) -> list[Container]:
    port = {"host_ip": "", "host_port": 8080, "container_port": 80, "protocol": "tcp"}
    return [
        container(engine, "a", "web", network="bridge", address="10.88.0.2/16", mac="m", ports=[port]),
        container(engine, "b", "db", address="10.88.0.3/16", ports=[]),
        container(engine, "c", "old", address="10.88.0.4/16", ports=[port]),
        container(engine, "d", "side", network="container:web"),
        container(engine, "e", "raw", network="host"),
    ]


STATUSES = {"a" * 64: "running", "b" * 64: "paused", "c" * 64: "stopped", "d" * 64: "running", "e" * 64: "running"}


def test_containers_hang_on_their_networks_with_their_own_counters(host: Engine) -> None:
    graph = netgraph.graph(host, everybody(host), STATUSES, clock=lambda: 1.0)
    assert [(edge.address, node.name) for edge, node in graph.on("bridge")] == [
        ("10.88.0.3/16", "db"), ("10.88.0.4/16", "old"), ("10.88.0.2/16", "web"),
    ]  # fmt: skip
    edges = {edge.id[0]: edge for edge in graph.edges}
    assert edges["a"].counters == netgraph.Counters(700, 300, 7, 3, 0, 4), "what the host's end sends, web receives"
    assert edges["b"].host_if == "vethbbbbbbbbg", "of two incarnations the newer"
    assert edges["c"].counters is None
    assert [rail.name for rail in graph.networks] == ["bridge", "backend"]
    assert [rail.there for rail in graph.networks] == [True, False]


def test_only_what_runs_publishes_ports(host: Engine) -> None:
    graph = netgraph.graph(host, everybody(host), STATUSES)
    assert [str(port) for port in graph.ports] == [":8080→web:80"]


def test_the_uplink_is_where_the_best_default_route_goes(host: Engine) -> None:
    graph = netgraph.graph(host, [], {})
    assert graph.uplink is not None
    assert graph.uplink[:4] == ("eth0", ("192.0.2.10/24",), "192.0.2.1", True)
    assert graph.uplink.counters == netgraph.Counters(9000, 8000, 90, 80, 1, 5)
    assert [(nic.name, nic.addresses, nic.gateway) for nic in graph.nics[1:]] == [
        ("wlan0", ("10.1.2.3/8",), "10.0.0.1")
    ]


def test_bridges_of_others_are_told_from_interfaces(host: Engine, tmp_path: Path) -> None:
    (tmp_path / "sys/class/net/wlan0/bridge").mkdir(parents=True)
    host.paths = host.paths.replace(sys=f"{tmp_path}/sys")
    graph = netgraph.graph(host, [], {})
    assert [(nic.name, nic.bridge) for nic in graph.nics] == [("eth0", False), ("wlan0", True)]
    assert "interface wlan0  10.1.2.3/8  a bridge of others\n" in netpicture.text(graph)


def test_shared_and_absent_networks_are_told(host: Engine) -> None:
    nodes = {node.name: node for node in netgraph.graph(host, everybody(host), STATUSES).nodes}
    assert (nodes["side"].mode, nodes["side"].shares) == ("container", "a" * 64)
    assert (nodes["raw"].mode, nodes["raw"].shares) == ("host", "")


def test_flows_are_differences_per_second_and_survive_a_new_link(host: Engine, tmp_path: Path) -> None:
    before = netgraph.graph(host, everybody(host), STATUSES, clock=lambda: 10.0)
    counters(tmp_path, eth0=29000, web=100)
    after = netgraph.graph(host, everybody(host), STATUSES, clock=lambda: 12.0)
    flows = netgraph.flows(before, after)
    assert flows["nic", "eth0"].rx_bytes == 10000.0
    assert ("edge", "a" * 64) not in flows, "its counter went back: another link"
    assert flows["edge", "b" * 64] == netgraph.Flow(0, 0, 0, 0)
    assert netgraph.flows(after, after) == {}


def test_a_host_without_any_network_has_an_empty_graph(tmp_path: Path) -> None:
    engine = Engine(Paths(root=f"{tmp_path}/r", run=f"{tmp_path}/v", proc=f"{tmp_path}/proc"))
    assert netgraph.graph(engine, [])[1:] == ((), (), (), (), ())
