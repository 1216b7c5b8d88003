"""Real TCP through what the network code makes, in a laboratory of namespaces."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core import firewall
from tests.support.netlab import HOST, OUTSIDE, Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.close()


def _no_firewall(lab: Lab) -> None:
    pass


def _iptables(variant: str) -> None:
    if not shutil.which(variant):
        pytest.skip(f"{variant} is not installed")


def _drop_by_nft(lab: Lab) -> None:
    _iptables("iptables-nft")
    lab.command("host", "iptables-nft", "-P", "FORWARD", "DROP")


def _drop_by_legacy(lab: Lab) -> None:
    _iptables("iptables-legacy")
    lab.command("host", "iptables-legacy", "-P", "FORWARD", "DROP")


def _bridge_filtering(on: bool) -> str:
    return f"echo {int(on)} > /proc/sys/net/bridge/bridge-nf-call-iptables"


@pytest.mark.parametrize("filtered", [False, True], ids=["routed", "br_netfilter"])
@pytest.mark.parametrize("policy", [_no_firewall, _drop_by_nft, _drop_by_legacy])
def test_a_published_port_is_reached_from_everywhere(lab: Lab, policy: object, filtered: bool) -> None:
    if filtered and not Path("/proc/sys/net/bridge").is_dir():
        pytest.skip("no br_netfilter in this kernel")
    if Path("/proc/sys/net/bridge").is_dir():
        lab.command("host", "sh", "-c", _bridge_filtering(filtered))
    policy(lab)  # type: ignore[operator]
    web = lab.container("web", "8080:80")
    lab.container("client")
    lab.serve("web", 80)
    gateway = web["gateway"]
    asked = {
        "outside": lab.ask("out", HOST, 8080),
        "localhost": lab.ask("host", "127.0.0.1", 8080),
        "own address": lab.ask("host", HOST, 8080),
        "neighbour": lab.ask("client", HOST, 8080),
        "itself": lab.ask("web", HOST, 8080),
    }
    assert asked["outside"] == OUTSIDE, "the container sees who really calls"
    assert asked["localhost"] == asked["neighbour"] == asked["itself"] == gateway, asked
    assert asked["own address"] in (HOST, gateway), asked


@pytest.mark.parametrize("policy", [_no_firewall, _drop_by_nft, _drop_by_legacy])
def test_what_leaves_a_container_carries_the_hosts_address(lab: Lab, policy: object) -> None:
    policy(lab)  # type: ignore[operator]
    lab.container("client")
    lab.serve("out", 9000)
    assert lab.ask("client", OUTSIDE, 9000) == HOST


def test_neighbours_see_each_others_own_addresses(lab: Lab) -> None:
    web = lab.container("web")
    client = lab.container("client")
    lab.serve("web", 80)
    assert lab.ask("client", web["address"].split("/")[0], 80) == client["address"].split("/")[0]


def test_a_port_on_localhost_is_closed_to_the_outside(lab: Lab) -> None:
    lab.container("web", "127.0.0.1:8080:80")
    lab.serve("web", 80)
    assert lab.ask("out", HOST, 8080, timeout=1) == "ConnectionRefusedError"
    assert lab.ask("host", "127.0.0.1", 8080).count(".") == 3


def test_an_unpublished_port_is_not_reached_by_a_route_around(lab: Lab) -> None:
    web = lab.container("web", "8080:80")
    lab.ip("out", f"route add {web['address'].split('/')[0]} via {HOST}")
    lab.serve("web", 80)
    lab.serve("web", 81)
    assert lab.ask("out", HOST, 8080) == OUTSIDE
    assert lab.ask("out", web["address"].split("/")[0], 81, timeout=1) == "TimeoutError"


def test_networks_are_kept_apart(lab: Lab) -> None:
    lab.networks.create("backend")
    web = lab.container("web")
    lab.container("db", network="backend")
    lab.serve("web", 80)
    lab.serve("out", 9000)
    assert lab.ask("db", web["address"].split("/")[0], 80, timeout=1) == "TimeoutError"
    assert lab.ask("db", OUTSIDE, 9000) == HOST


def test_an_internal_network_has_no_way_out(lab: Lab) -> None:
    lab.networks.create("closed", internal=True)
    one = lab.container("one", network="closed")
    lab.container("two", network="closed")
    lab.serve("out", 9000)
    lab.serve("one", 80)
    lab.ip("two", f"route add default via {lab.networks.get('closed').gateway}")
    assert lab.ask("two", OUTSIDE, 9000, timeout=1) == "TimeoutError"
    assert lab.ask("two", one["address"].split("/")[0], 80).count(".") == 3


def test_published_ports_do_not_open_the_hosts_loopback_to_containers(lab: Lab) -> None:
    web = lab.container("web", "8080:80")
    # a container with NET_ADMIN that sends packets for 127.0.0.1 to its gateway
    lab.ip("web", "link set lo down")
    lab.command("web", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet")
    for local in ("127.0.0.0/8", "127.0.0.1"):
        lab.ip("web", f"route flush table local {local}")
    lab.ip("web", f"route add 127.0.0.1 via {web['gateway']} src {web['address'].split('/')[0]}")

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"knock", ("127.0.0.1", 7000))

    def heard() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", 7000))
            receiver.settimeout(1)
            lab.call("web", send)
            try:
                return receiver.recv(10) == b"knock"
            except TimeoutError:
                return False

    assert not lab.call("host", heard)
    guard = f"nft flush chain ip {lab.bridge} guard" if firewall.spoken() else "iptables-legacy -t mangle -F PREROUTING"
    lab.command("host", *guard.split())
    assert lab.call("host", heard), "the way is open without the guard, so it was the guard that closed it"


def test_the_links_mtu_is_the_uplinks(lab: Lab) -> None:
    lab.ip("host", "link set up0 mtu 1400")
    web = lab.container("web")
    assert web["mtu"] == 1400
    assert " mtu 1400 " in lab.ip("web", "link show eth0")
    assert " mtu 1400 " in lab.ip("host", f"link show {lab.bridge}")
