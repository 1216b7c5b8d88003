"""IPv6 on user-defined networks: addresses, the way out, published ports, what is kept apart, what is put back."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core import errors, networks
from tests.support.netlab import Lab

HOST6, OUTSIDE6 = "fd99::1", "fd99::2"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    for name, address in (("host", HOST6), ("out", OUTSIDE6)):
        lab.ip(name, f"-6 address add {address}/64 dev up0 nodad")
    lab.ip("host", f"-6 route add default via {OUTSIDE6}")
    yield lab
    lab.close()


def _six(attachment: dict[str, object]) -> str:
    return str(attachment["address6"]).partition("/")[0]


def test_ipv6_flows_where_it_may(lab: Lab) -> None:
    chain = "add chain ip6 filter FORWARD { type filter hook forward priority 0; policy drop; }"
    lab.command("host", "nft", f"add table ip6 filter; {chain}")  # as ip6tables makes it, which may be missing
    lab.networks.create("six", ipv6=True)
    lab.networks.create("own", subnet6="fd77::/64")
    lab.networks.create("closed", ipv6=True, internal=True)
    web = lab.container("web", "8080:80", "[fd99::1]:8081:81", network="six")
    client = lab.container("client", network="six")
    lab.container("stranger", network="own")
    lab.container("shut", network="closed")
    for port in (80, 81):
        lab.serve("web", port, "::")
    lab.serve("out", 9000, "::")

    assert lab.ask("client", _six(web), 80) == _six(client), "neighbours see each other"
    assert lab.ask("client", OUTSIDE6, 9000) == HOST6, "what leaves carries the host's address"
    assert lab.ask("out", HOST6, 8080) == OUTSIDE6, "a published port, and who really calls"
    assert lab.ask("out", HOST6, 8081) == OUTSIDE6, "published on one IPv6 address"
    assert lab.ask("host", HOST6, 8080) == lab.networks.get("six").gateway6 or lab.ask("host", HOST6, 8080) == HOST6
    assert lab.ask("host", "::1", 8080) == "ConnectionRefusedError", (
        "the kernel leads nobody from there: it is for a process"
    )
    assert lab.ask("client", HOST6, 8080) == lab.networks.get("six").gateway6, "hairpin"
    assert lab.ask("stranger", _six(web), 80, timeout=1) == "TimeoutError", "networks are kept apart"
    lab.ip("out", f"-6 route add {_six(web)} via {HOST6}")
    assert lab.ask("out", _six(web), 82, timeout=1) == "TimeoutError", "no way around what is not published"
    lab.ip("shut", f"-6 route add default via {lab.networks.get('closed').gateway6}")
    assert lab.ask("shut", OUTSIDE6, 9000, timeout=1) == "TimeoutError", "an internal network has no way out"

    again = lab.attach("web", "8080:80", network="six", id=str(web["id"]))
    assert again["address6"] == web["address6"], "kept over a restart"
    names = Path(lab.paths.run, "networks", "six.names").read_text()
    assert f",{_six(client)} client" in names
    lab.call("host", networks.remove_all, lab.paths)
    assert "table ip6" not in lab.command("host", "nft", "list", "ruleset").replace("table ip6 filter", "")
    assert "pyctr" not in lab.command("host", "nft", "list", "ruleset")
    forwarding = lab.command("host", "cat", "/proc/sys/net/ipv6/conf/all/forwarding", "/proc/sys/net/ipv4/ip_forward")
    assert forwarding.split()[0] == "0"
    assert lab.command("host", "cat", "/proc/sys/net/ipv6/conf/up0/accept_ra").strip() in ("0", "1")


def test_wished_ipv6_addresses_and_bad_ones(lab: Lab) -> None:
    lab.call("host", lambda: lab.networks.create("own", subnet6="fd77::/64", gateway6="fd77::ff"))
    one = lab.attach("one", network="own", ip6="fd77::5")
    assert (_six(one), one["gateway6"]) == ("fd77::5", "fd77::ff")
    with pytest.raises(errors.Conflict, match="address 'fd77::5' is taken by container 'one'"):
        lab.attach("two", network="own", ip6="fd77::5")
    for wish in ("fd77::ff", "fd78::1"):
        with pytest.raises(errors.UsageError, match=f"address '{wish}' cannot be given"):
            lab.attach("two", network="own", ip6=wish)
    with pytest.raises(errors.UsageError, match="has no IPv6 addresses"):
        lab.attach("two", ip6="fd77::6")
    for fields, said in (
        ({"subnet6": "fd77::/32"}, "overlaps 'fd77::/64' of network 'own'"),
        ({"subnet6": "fd80::/127"}, "'fd80::/127' is not an IPv6 subnet"),
        ({"subnet6": "fd80::/64", "gateway6": "fd81::1"}, "gateway 'fd81::1' is not in 'fd80::/64'"),
    ):
        with pytest.raises(errors.PyctrError, match=said):
            lab.call("host", lambda fields=fields: lab.networks.create("x", **fields))
    lab.remove(one)
    assert list(Path(lab.paths.run, "networks", "leases6", "own").iterdir()) == []


def test_ipv6_addresses_come_from_the_range_and_never_are_the_reserved_ones(lab: Lab) -> None:
    given = {"subnet6": "fd78::/64", "ip_range6": "fd78::100/126", "reserved": {"printer": "fd78::101"}}
    lab.call("host", lambda: lab.networks.create("part", **given))
    got = [_six(lab.attach(f"c{number}", network="part")) for number in range(3)]
    assert sorted(got) == ["fd78::100", "fd78::102", "fd78::103"]
    with pytest.raises(errors.NetworkError, match="no free address in 'fd78::/64'"):
        lab.attach("late", network="part")
    assert _six(lab.attach("own", network="part", ip6="fd78::7")) == "fd78::7", "what is wished may be outside"
    with pytest.raises(errors.UsageError, match="address 'fd78::101' cannot be given"):
        lab.attach("other", network="part", ip6="fd78::101")
    lab.ip("host", "-6 address add fd7a::1/64 dev up0 nodad")
    lab.ip("host", f"-6 route add fd7b::/48 via {OUTSIDE6}")
    for fields, said in (
        ({"subnet6": "fd7a::/64"}, "overlaps 'fd7a::/64' of interface 'up0'"),
        ({"subnet6": "fd7b:0:0:7::/64"}, "overlaps 'fd7b::/48' of interface 'up0'"),
        ({"subnet6": "fd79::/64", "ip_range6": "fd80::/80"}, "range 'fd80::/80' is not in 'fd79::/64'"),
        ({"subnet6": "fd79::/64", "reserved": {"a": "fd80::1"}}, "address 'fd80::1' is not in 'fd79::/64'"),
        ({"reserved": {"a": "fd80::1"}}, "'fd80::1' needs an IPv6 subnet"),
    ):
        with pytest.raises(errors.PyctrError, match=said):
            lab.call("host", lambda fields=fields: lab.networks.create("x", **fields))
    # the prefix that follows from the name is taken
    chosen = lab.call("host", lambda: lab.networks.create("auto", ipv6=True).subnet6)
    lab.call("host", lambda: lab.networks.remove("auto"))
    lab.ip("host", f"-6 route add {chosen} via {OUTSIDE6}")
    other = lab.call("host", lambda: lab.networks.create("auto", ipv6=True).subnet6)
    assert other != chosen and other.startswith("fd")


def _advertise(interface: str = "eth0") -> None:
    """What a router says to all its neighbours (RFC 4861, 4.2): I am the way out, for half an hour."""
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        index = socket.if_nametoindex(interface)
        raw.bind(("fe80::bad", 0, 0, index))
        raw.sendto(struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0), ("ff02::1", 0, 0, index))


def test_nobody_on_a_bridge_becomes_a_router_by_saying_so(lab: Lab) -> None:
    for name in ("liar", "neighbour", "gullible"):
        lab.container(name)
    lab.command("gullible", "sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/eth0/accept_ra")
    lab.command("host", "sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/all/forwarding")
    lab.ip("host", "-6 route delete default")
    lab.ip("liar", "-6 address add fe80::bad/64 dev eth0 nodad")

    def ways() -> dict[str, bool]:
        routes = {name: lab.ip(name, "-6 route show default") for name in ("host", "neighbour", "gullible")}
        return {name: "fe80::bad" in said for name, said in routes.items()}

    deadline = time.monotonic() + 60
    while not ways()["gullible"]:
        assert time.monotonic() < deadline, "the advertisement is none: who believes them does not believe it"
        lab.call("liar", _advertise)
    assert ways() == {"host": False, "neighbour": False, "gullible": True}


def test_an_uplink_of_any_kind_that_lives_on_advertisements_keeps_them(lab: Lab) -> None:
    """Such as the veth or macvlan of a host that is itself a container."""
    lab.command("host", "sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/all/forwarding")
    lab.ip("host", "-6 route delete default")
    lab.ip("host", "link add other type veth peer name other1")
    for link in ("other", "other1"):
        lab.ip("host", f"link set {link} up")
    lab.ip("out", "-6 address add fe80::bad/64 dev up0 nodad")
    deadline = time.monotonic() + 60
    while "fe80::bad" not in lab.ip("host", "-6 route show default"):
        assert time.monotonic() < deadline, "the advertisement is not believed"
        lab.call("out", _advertise, "up0")

    def believed() -> dict[str, str]:
        names = ("up0", "other")
        said = lab.command("host", "cat", *(f"/proc/sys/net/ipv6/conf/{name}/accept_ra" for name in names)).split()
        return dict(zip(names, said, strict=True))

    assert believed() == {"up0": "1", "other": "1"}
    lab.call("host", lambda: lab.networks.create("six", ipv6=True))
    web = lab.container("web", network="six")
    assert lab.command("host", "cat", "/proc/sys/net/ipv6/conf/all/forwarding").strip() == "1"
    assert believed() == {"up0": "2", "other": "1"}, "who lives on them, and nobody else"
    assert "fe80::bad" in lab.ip("host", "-6 route show default")
    lab.remove(web)
    lab.call("host", networks.remove_all, lab.paths)
    assert believed() == {"up0": "1", "other": "1"}
