"""Overlay, macvlan and ipvlan networks between namespaces that play hosts."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyctr.core import errors, netns, networks, ring
from pyctr.core.networks import Networks
from pyctr.core.paths import Paths
from tests.support.host import Host
from tests.support.netlab import HOST, OUTSIDE, Lab
from tests.support.netplace import Place


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.close()


def _container(lab: Lab, there: Networks, space: str, name: str, network: str) -> dict[str, Any]:
    """A container of the other host."""
    id = secrets.token_hex(32)
    os.makedirs(there.paths.container(id))
    attachment: dict[str, Any] = lab.call(space, lambda: there.attach(id, name, lab.spec(network=network)))
    lab.space(name)
    fd = os.open(f"/run/netns/{lab.prefix}-{name}", os.O_RDONLY)
    try:
        lab.call(space, lambda: netns.host_side(attachment, netns=fd))
    finally:
        os.close(fd)
    lab.call(name, netns.inside, attachment)
    return attachment


def _address(attachment: dict[str, Any]) -> str:
    return str(attachment["address"]).partition("/")[0]


def test_an_overlay_joins_containers_of_two_hosts(lab: Lab, tmp_path: Path) -> None:
    other = Networks(Paths(root=f"{tmp_path}/r2", run=f"{tmp_path}/v2", bridge=f"{lab.bridge[:7]}o"))
    os.makedirs(other.paths.containers)
    for space, here, local, peer, third in (
        ("host", lab.networks, HOST, OUTSIDE, 1),
        ("out", other, OUTSIDE, HOST, 2),
    ):
        lab.call(
            space,
            lambda here=here, local=local, peer=peer, third=third: here.create(
                "wide",
                driver="overlay",
                subnet="10.90.0.0/16",
                ip_range=f"10.90.{third}.0/24",
                options={"vni": "42", "peers": peer, "local": local},
            ),
        )
    one = lab.container("one", network="wide")
    two = _container(lab, other, "out", "two", "wide")
    assert (_address(one), _address(two)) == ("10.90.1.2", "10.90.2.2"), "each host gives its own range"
    assert (one["gateway"], two["gateway"]) == ("10.90.1.1", "10.90.2.1"), "two hosts with one address would clash"
    assert one["mtu"] == 1450, "what VXLAN adds still fits the uplink"
    lab.serve("two", 80)
    assert lab.ask("one", _address(two), 80) == _address(one), "no address is translated between them"
    lab.serve("one", 80)
    assert lab.ask("two", _address(one), 80) == _address(two)
    link = lab.ip("host", "-d link show type vxlan")
    assert "vxlan id 42" in link and "dstport 4789" in link
    for space, here in (("host", lab.networks), ("out", other)):
        lab.call(space, networks.remove_all, here.paths)
        assert not lab.ip(space, "-br link show type vxlan") + lab.ip(space, "-br link show type bridge")


def test_macvlan_containers_are_the_parents_neighbours(lab: Lab) -> None:
    lab.call(
        "host",
        lambda: lab.networks.create(
            "lan",
            driver="macvlan",
            subnet="198.51.100.0/24",
            gateway=OUTSIDE,
            ip_range="198.51.100.64/28",
            options={"parent": "up0"},
        ),
    )
    rules = lab.command("host", "nft", "list", "ruleset")
    one = lab.container("one", network="lan")
    two = lab.container("two", network="lan")
    lab.serve("out", 9000)
    lab.serve("one", 80)
    assert lab.ask("one", OUTSIDE, 9000) == _address(one), "no NAT"
    assert lab.ask("out", _address(one), 80) == OUTSIDE
    assert lab.ask("two", _address(one), 80) == _address(two)
    assert one["mac"] in lab.ip("one", "link show eth0")
    assert lab.command("host", "nft", "list", "ruleset") == rules, "and no firewall"
    with pytest.raises(errors.UsageError, match="ports cannot be published on macvlan network 'lan'"):
        lab.attach("three", "8080:80", network="lan")
    for attachment in (one, two):
        lab.remove(attachment)
    lab.call("host", lab.networks.remove, "lan")
    assert "up0" in lab.ip("host", "-br link"), "the parent is not ours"


def test_ipvlan_containers_have_the_parents_mac(lab: Lab) -> None:
    lab.call(
        "host",
        lambda: lab.networks.create(
            "lan", driver="ipvlan", subnet="198.51.100.0/24", gateway=OUTSIDE, options={"parent": "up0"}
        ),
    )
    try:
        one = lab.container("one", network="lan", ip="198.51.100.77")
    except errors.Unsupported as error:
        assert "this kernel makes no ipvlan links" in str(error) and "modprobe ipvlan" in error.hint
        pytest.skip(str(error))
    lab.serve("out", 9000)
    assert lab.ask("one", OUTSIDE, 9000) == _address(one)


def test_the_graph_names_what_carries_a_network_and_counts_on_every_edge(host: Host) -> None:
    place = Place(host)
    try:
        for words in (
            "link add par0 type veth peer name par1",
            "link add up0 type veth peer name up1",
            "address add 198.51.100.1/24 dev up0",
            "link set up0 up",
            "link set up1 up",
            "link set par0 up",
            "link set par1 up",
            "route add default via 198.51.100.2",
        ):
            place.command("ip", *words.split())
        place.pyctr(*("network", "create", "-d", "macvlan", "-o", "parent=par0", "--subnet", "192.0.2.0/24", "lan"))
        overlay = ("-d", "overlay", "--subnet", "10.90.0.0/16", "--ip-range", "10.90.1.0/24", "-o", "dev=up0")
        place.pyctr("network", "create", *overlay, "-o", "vni=42", "-o", "peers=198.51.100.2", "wide")
        for name in ("lan", "wide"):
            place.pyctr("run", "-d", "--name", f"on-{name}", "--network", name, "base", "sleep", "1000")
        asking = ("busybox", "ping", "-c", "1", "-w", "1", "192.0.2.99")
        place.pyctr("exec", "on-lan", *asking, check=False)  # nobody answers, but it was asked who has the address
        shown = json.loads(place.pyctr("network", "graph", "--json").stdout)
        links = {one["name"]: one["links"][0] for one in shown["containers"]}
        assert links["on-lan"]["host_interface"] == "" and links["on-lan"]["counters"]["tx_packets"] > 0
        assert links["on-wide"]["counters"] is not None
        ways = {one["name"]: one["way"] for one in shown["networks"]}
        assert ways["lan"] == "macvlan on par0" and ways["wide"] == "vxlan 42 to 198.51.100.2 through up0"
        assert "par0" in {one["name"] for one in shown["interfaces"]}, "a parent without an address is one, too"
        dot = place.pyctr("network", "graph", "--dot").stdout
        assert '"nic par0" -- "network lan" [label="macvlan"]' in dot
        assert '"nic up0" -- "network wide" [label="NAT"]' in dot and '"nic up0" -- "network lan"' not in dot
        # a macvlan has no end on the host, but its container's numbers are everywhere
        sent = place.pyctr("stats", "--no-stream", "--format", "{{.NetIO}}", "on-lan").stdout.rpartition("/")[2].strip()
        assert sent[0] in "123456789", sent
        [id] = place.pyctr("ps", "-q", "--no-trunc", "-f", "name=on-lan").stdout.split()
        deadline = time.monotonic() + 60
        while not any(one.sample.net and one.sample.net["all"][1] for one in _recorded(host, id)):
            assert time.monotonic() < deadline, "it is in no record"
            time.sleep(0.2)
    finally:
        place.close()


def _recorded(host: Host, id: str) -> list[ring.Reading]:
    try:
        return ring.read(host.paths.container(id, "history"))
    except FileNotFoundError:
        return []  # nobody has begun yet


def test_what_a_driver_needs_is_asked_for_and_nothing_stays_of_a_refusal(lab: Lab) -> None:
    good = {"subnet": "10.91.0.0/24", "ip_range": "10.91.0.0/25"}
    for fields, said in (
        ({"driver": "weave"}, "no network driver 'weave'"),
        ({"driver": "macvlan", **good}, "needs a parent interface"),
        ({"driver": "macvlan", "options": {"parent": "nosuch0"}, **good}, "'nosuch0', which is not there"),
        ({"driver": "macvlan", "options": {"parent": "up0"}}, "needs the subnet of its parent 'up0'"),
        ({"driver": "macvlan", "options": {"parent": "up0", "macvlan_mode": "x"}, **good}, "'x' is not a macvlan_mode"),
        ({"driver": "overlay", "options": {"vni": "42"}, **good}, "needs 'peers'"),
        ({"driver": "overlay", "options": {"peers": HOST}, **good}, "needs 'vni'"),
        ({"driver": "overlay", "options": {"vni": "0", "peers": HOST}, **good}, "'0' is not a valid vni"),
        ({"driver": "overlay", "options": {"vni": "1", "peers": "web"}, **good}, "'web' is not an IPv4 address"),
        ({"driver": "overlay", "options": {"vni": "1", "peers": HOST}}, "a subnet and a range of this host's own"),
        ({"driver": "bridge", "options": {"vni": "1"}}, "'vni' is not an option of driver 'bridge'"),
    ):
        with pytest.raises(errors.PyctrError, match=said):
            lab.call("host", lambda fields=fields: lab.networks.create("x", **fields))
    assert lab.networks.list() == []
    lab.call(
        "host",
        lambda: lab.networks.create(
            "x", driver="overlay", options={"vni": "1", "peers": HOST, "dev": "nosuch0"}, **good
        ),
    )
    with pytest.raises(errors.NetworkError, match="no interface 'nosuch0'"):
        lab.attach("web", network="x")
    assert lab.networks.get("x").bridge not in lab.ip("host", "-br link")
