"""Netlink messages as bytes, without a kernel."""

from __future__ import annotations

import struct
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyctr.core import firewall, netns
from pyctr.core.linux import netlink, rtmessages
from pyctr.core.linux import nftables as nf
from pyctr.core.runtime import spawned


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 0x3FFF), st.binary(max_size=70)), unique_by=lambda pair: pair[0]))
def test_attributes_are_read_back_as_written(pairs: list[tuple[int, bytes]]) -> None:
    data = b"".join(netlink.attribute(kind, payload) for kind, payload in pairs)
    assert len(data) % 4 == 0
    assert netlink.attributes(data) == dict(pairs)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_garbage_attributes_end_the_reading(data: bytes) -> None:
    netlink.attributes(data)


def test_a_veth_names_both_ends_and_where_the_other_one_goes() -> None:
    message = rtmessages.veth(
        "veth0", "eth0", pid=4711, bridge=7, mtu=1400, peer_mac=rtmessages.mac("02:70:0a:58:00:07")
    )
    outer = netlink.attributes(message.body, 16)
    assert outer[netlink.IFLA_IFNAME] == b"veth0\0"
    assert struct.unpack("=I", outer[netlink.IFLA_MASTER]) == (7,)
    information = netlink.attributes(outer[netlink.IFLA_LINKINFO])
    assert information[netlink.IFLA_INFO_KIND] == b"veth\0"
    peer = netlink.attributes(information[netlink.IFLA_INFO_DATA])[netlink.VETH_INFO_PEER]
    flags = struct.unpack_from("=BxHiII", peer)[3]
    assert flags & netlink.IFF_UP == 0, "veth_open() of an end without its partner fails"
    inner = netlink.attributes(peer, 16)
    assert inner[netlink.IFLA_IFNAME] == b"eth0\0"
    assert struct.unpack("=I", inner[netlink.IFLA_NET_NS_PID]) == (4711,)
    assert inner[netlink.IFLA_ADDRESS].hex() == "02700a580007"
    assert struct.unpack("=I", inner[netlink.IFLA_MTU]) == struct.unpack("=I", outer[netlink.IFLA_MTU]) == (1400,)


@pytest.mark.parametrize(
    ("address", "broadcast"), [("10.88.0.7/16", "0a58ffff"), ("10.0.0.1/29", "0a000007"), ("10.0.0.1/31", None)]
)
def test_an_address_has_its_networks_broadcast(address: str, broadcast: str | None) -> None:
    values = netlink.attributes(rtmessages.address(2, address).body, 8)
    assert values[2] == values[1]
    assert (values[4].hex() if 4 in values else None) == broadcast


def test_interface_names_are_compared_whole() -> None:
    assert nf.ifname("pt1") != nf.ifname("pt10")[:16]
    assert len(nf.ifname("pyctr0")) == 16


def test_port_keys_put_every_part_into_a_register_of_its_own() -> None:
    assert nf.port_key(6, 8080).hex() == "06000000" + "1f900000"
    assert nf.port_key(17, 53, "127.0.0.1").hex() == "7f000001" + "11000000" + "00350000"
    assert nf.port_value("10.88.0.7", 80).hex() == "0a580007" + "00500000"


def test_a_batch_is_nothing_without_messages() -> None:
    batch = nf.Batch()
    batch.add_ports("t", "ports", [])
    batch.delete_ports("t", "ports", [])
    assert batch.messages == []


def test_every_address_and_no_address_mean_the_same_map() -> None:
    def port(host_ip: str, address: str = "10.88.0.7", **more: bool) -> tuple[str, dict[str, object]]:
        return address, {"host_ip": host_ip, "host_port": 80, "container_port": 80, "protocol": "tcp", **more}

    assert firewall.split(2, [port("")]) == firewall.split(2, [port("0.0.0.0")])
    assert list(firewall.split(2, [port("192.0.2.1")])) == ["ports_ip"]
    six = "fd00::7"
    assert list(firewall.split(10, [port("", six)])) == list(firewall.split(10, [port("::", six)])) == ["ports"]
    assert firewall.split(2, [port("::")]) == {}, "every IPv6 address is no IPv4 one"
    assert firewall.split(10, [port("", six, only4=True)]) == {}, "0.0.0.0 was asked for"


@settings(deadline=None)
@given(st.text("0123456789abcdef", min_size=12, max_size=64))
def test_a_links_name_fits_and_tells_its_owner(id: str) -> None:
    name = netns.host_if(id)
    assert len(name) <= 14, "one more for the suffix of a second incarnation"
    assert netns.owner(name) == netns.owner(name + "g") == id[:8]


@pytest.mark.parametrize("name", ["eth0", "veth0", "veth3f2a", "docker0", "veth3f2a91bcgg", "lo"])
def test_other_peoples_links_have_no_owner(name: str) -> None:
    assert netns.owner(name) == ""


def test_the_container_side_imports_what_the_shim_may_import() -> None:
    code = """
import sys
sys.path.insert(0, ".")
import __future__, _socket, errno, os, struct
before = set(sys.modules)
from pyctr.core import firewall, netns
print(*(name for name in set(sys.modules) - before if not name.startswith("pyctr")))
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"_ctypes", *spawned.ALLOWED.split()}
