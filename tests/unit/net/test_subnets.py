"""Subnets, leases of addresses, and names that follow from them."""

from __future__ import annotations

import ipaddress
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyctr.core import errors, subnets
from pyctr.core.leases import Book
from pyctr.core.networkset import Network
from pyctr.core.paths import Paths

networks = st.builds(
    lambda value, length: ipaddress.ip_network((value & ~((1 << (32 - length)) - 1), length)),
    st.integers(0, 2**32 - 1),
    st.integers(1, 30),
)


@settings(deadline=None)
@given(networks)
def test_a_subnet_is_read_as_the_standard_library_reads_it(network: ipaddress.IPv4Network) -> None:
    assert subnets.parse_subnet(str(network)) == (int(network.network_address), network.num_addresses)


@settings(deadline=None)
@given(networks, networks)
def test_overlap_is_what_the_standard_library_calls_overlap(
    one: ipaddress.IPv4Network, other: ipaddress.IPv4Network
) -> None:
    assert subnets.overlap(str(one), str(other)) is one.overlaps(other)


@pytest.mark.parametrize("text", ["", "10.0.0.0", "10.0.0/8", "10.0.0.0/33", "10.0.0.0/31", "a.b.c.d/8", "::1/64"])
def test_what_is_no_subnet_is_refused(text: str) -> None:
    with pytest.raises(errors.UsageError, match="is not an IPv4 subnet"):
        subnets.parse_subnet(text)


@settings(deadline=None)
@given(st.from_regex(r"[a-z][a-z0-9]{0,14}", fullmatch=True), st.sampled_from(["bridge", "backend"]))
def test_every_bridge_has_candidates_that_are_private_and_apart(bridge: str, name: str) -> None:
    some = [ipaddress.ip_network(text) for text in itertools.islice(subnets.candidates(bridge, name), 40)]
    assert len(some) == 40
    assert all(network.subnet_of(ipaddress.ip_network("10.0.0.0/8")) for network in some)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(some, 2))
    assert some[0] == ipaddress.ip_network(next(subnets.candidates(bridge, name))), "the same at every call"


def test_the_default_bridge_prefers_its_place() -> None:
    assert next(subnets.candidates("pyctr0", "bridge")) == "10.78.0.0/16"
    assert next(subnets.candidates("pyctr0", "backend")) == "10.79.0.0/24"
    podmans = ipaddress.ip_network("10.88.0.0/15")  # its default network, and the first of those that users make
    first = [ipaddress.ip_network(next(subnets.candidates("pyctr0", name))) for name in ("bridge", "backend")]
    assert not any(ours.overlaps(podmans) for ours in first)
    assert next(subnets.candidates("pt1", "bridge")) != next(subnets.candidates("pt2", "bridge"))


@settings(deadline=None)
@given(st.text(min_size=1, max_size=64))
def test_bridges_of_networks_have_names_the_kernel_takes(name: str) -> None:
    assert len(subnets.bridge_name("pyctr0", name)) <= 15


def test_a_mac_follows_from_its_address() -> None:
    assert subnets.mac_of("10.88.0.7") == "02:70:0a:58:00:07"


@settings(deadline=None, max_examples=40)
@given(st.lists(st.one_of(st.just("take"), st.integers(0, 12)), max_size=60))
def test_no_address_is_ever_held_twice(actions: list[str | int]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as base:
        book = Book(Paths(root=f"{base}/r", run=f"{base}/v", bridge="pt"), lambda lease: None)
        network = Network(name="n", bridge="pt", subnet="10.9.0.0/28", gateway="10.9.0.1")
        held: dict[str, dict[str, object]] = {}
        numbers = itertools.count()
        with book.lock():
            for action in actions:
                if isinstance(action, int):
                    if held:
                        book.drop(held.pop(list(held)[action % len(held)]))
                    continue
                id = f"{next(numbers):064x}"
                if len(held) == 13:  # 16 less network, broadcast, gateway
                    with pytest.raises(errors.NetworkError, match="no free address"):
                        book.address(network, id, "", None)
                    continue
                address = book.address(network, id, "", None)
                assert address not in {str(lease["address"]).split("/")[0] for lease in held.values()}
                assert ipaddress.ip_address(address) in list(ipaddress.ip_network(network.subnet).hosts())[1:]
                lease = {"id": id, "network": "n", "address": f"{address}/28", "names": [id[-4:]], "ports": []}
                book.write(lease)
                held[id] = lease
            assert {lease["id"] for lease in book.leases("n")} == set(held) == {id for id, _, _ in book.names("n")}
