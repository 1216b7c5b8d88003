"""Bandwidth: what passes a link in a time is bounded by what was asked for, counted at both ends."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyctr.core import errors
from pyctr.core.linux import qdisc
from pyctr.core.spec import Limits
from tests.support.host import Host
from tests.support.netlab import HOST, OUTSIDE, Lab

RATE = 64 << 10
SIZE, COUNT = 1400, 700


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    words = ["ip", "netns", "exec", f"{lab.prefix}-host", "tc", "qdisc", "add", "dev", "lo", "root", "tbf"]
    if subprocess.run([*words, "rate", "1mbit", "burst", "9k", "latency", "9ms"], capture_output=True).returncode:
        lab.close()
        pytest.skip("no sch_tbf in this kernel")
    yield lab
    lab.close()


def _pour(address: str) -> None:
    """Datagrams that nobody reads, as fast as they go, with a queue that takes what the link does not."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        for _ in range(COUNT):
            sender.sendto(bytes(SIZE), (address, 9))


def _received(lab: Lab, space: str, interface: str) -> int:
    for line in lab.command(space, "cat", "/proc/net/dev").splitlines():
        if line.strip().startswith(f"{interface}:"):
            return int(line.partition(":")[2].split()[0])
    raise AssertionError(f"no {interface} in {space}")


def test_what_a_container_receives_and_sends_is_bounded(lab: Lab) -> None:
    slow = lab.container("slow", limits=Limits(rx_bps=RATE, tx_bps=RATE))
    free = lab.container("free")
    passed = {}
    for name, there in (("slow", slow), ("free", free)):
        address, gateway = there["address"].partition("/")[0], there["gateway"]
        for what, ends in (
            ("received", (name, "eth0", "host", address)),
            ("sent", ("host", there["host_if"], name, gateway)),
        ):
            where, interface, source, target = ends
            before, begun = _received(lab, where, interface), time.monotonic()
            lab.call(source, _pour, target)
            count = _received(lab, where, interface) - before
            passed[name, what] = count, time.monotonic() - begun
    for what in ("received", "sent"):
        count, seconds = passed["slow", what]
        # however slow this machine is just now: the bucket, what it is refilled with, and a frame or two of ARP
        assert count <= qdisc.burst(RATE) + RATE * seconds + 4 * SIZE, (what, passed)
        assert count >= SIZE, "it is bounded, not cut off"
        assert passed["free", what][0] >= 0.9 * SIZE * COUNT, (what, passed)
    counted = json.loads(lab.command("host", "tc", "-s", "-j", "qdisc", "show", "dev", slow["host_if"]))
    assert counted[0]["kind"] == "tbf" and counted[0]["options"]["rate"] == RATE and counted[0]["overlimits"], counted


def test_what_a_container_sends_stays_bounded_when_it_lifts_its_own_end(lab: Lab) -> None:
    slow = lab.container("slow", limits=Limits(tx_bps=RATE))
    lab.command("slow", "tc", "qdisc", "delete", "dev", "eth0", "root")  # as anybody with NET_ADMIN may

    def passes() -> tuple[int, float]:
        # what the bridge takes up: the port itself counts what is dropped, too
        before, begun = _received(lab, "host", lab.bridge), time.monotonic()
        lab.call("slow", _pour, slow["gateway"])
        return _received(lab, "host", lab.bridge) - before, time.monotonic() - begun

    def bounded() -> None:
        count, seconds = passes()
        assert SIZE <= count <= qdisc.burst(RATE) + 65536 + RATE * (seconds + 1), (count, seconds)

    bounded()
    lab.command("host", "nft", "delete", "table", "netdev", lab.bridge)
    assert passes()[0] >= 0.9 * SIZE * COUNT, "it was the host's end that bounded it"
    assert lab.call("host", lambda: lab.networks.repair(dry=True)) == ["bridge"]
    assert lab.call("host", lab.networks.repair) == ["bridge"]
    assert lab.call("host", lab.networks.repair) == []
    bounded()
    lab.remove(slow)
    assert slow["host_if"] not in lab.command("host", "nft", "list", "ruleset")


def test_what_leaves_a_container_is_in_its_class_of_the_uplink(lab: Lab) -> None:
    made = "qdisc add dev up0 root handle 1: htb default 20", "class add dev up0 parent 1: classid 1:10 htb rate 1gbit"
    for words in (*made, "class add dev up0 parent 1: classid 1:20 htb rate 1gbit"):
        try:
            lab.command("host", "tc", *words.split())
        except AssertionError as error:
            pytest.skip(f"no sch_htb in this kernel: {error}")

    def packets() -> dict[str, int]:
        """Of each class of the uplink."""
        found = re.findall(
            r"class htb (\S+) .*\n.* (\d+) pkt", lab.command("host", "tc", "-s", "class", "show", "dev", "up0")
        )
        return {name: int(count) for name, count in found}

    lab.networks.create("six", ipv6=True)
    fast = lab.container("fast", network="six", limits=Limits(net_class="1:10"))
    lab.container("usual", network="six")
    lab.serve("out", 9000)
    lab.ip("host", "address add 2001:db8::1/64 dev up0 nodad")
    lab.ip("out", "address add 2001:db8::2/64 dev up0 nodad")
    lab.serve("out", 9001, address="::")

    def classes() -> tuple[bool, bool]:
        """Whether the class counts what each of the two sends."""
        found = []
        for name in ("fast", "usual"):
            before = packets()["1:10"]
            assert lab.ask(name, OUTSIDE, 9000) == HOST and lab.ask(name, "2001:db8::2", 9001) == "2001:db8::1"
            found.append(packets()["1:10"] >= before + 8)
        return found[0], found[1]

    assert classes() == (True, False)
    lab.command("host", "nft", "flush", "ruleset")
    assert lab.call("host", lab.networks.repair) == ["six"]
    assert lab.call("host", lab.networks.repair) == []
    assert classes() == (True, False), "it comes back with the rules"
    lab.remove(fast)
    assert fast["address"].partition("/")[0] not in lab.command("host", "nft", "list", "ruleset")
    with pytest.raises(errors.UsageError, match="has no class on macvlan"):
        lab.call("host", lambda: bool(lab.networks.create("faces", driver="macvlan", **_FACES)))
        lab.attach("face", network="faces", limits=Limits(net_class="6"))


_FACES: dict[str, Any] = {"subnet": "192.0.2.0/24", "options": {"parent": "up0"}}


def test_a_network_bounds_whoever_is_on_it_and_a_container_may_differ(lab: Lab) -> None:
    lab.networks.create("narrow", options={"rx_bps": "1m", "tx_bps": "512k"})
    usual = lab.container("usual", network="narrow")
    other = lab.container("other", network="narrow", limits=Limits(rx_bps=5 << 30))
    assert (usual["rx_bps"], usual["tx_bps"]) == (1 << 20, 512 << 10)
    shown = {
        where: json.loads(lab.command(where[0], "tc", "-j", "qdisc", "show", "dev", where[1]))[0]
        for where in (("host", usual["host_if"]), ("usual", "eth0"), ("host", other["host_if"]), ("other", "eth0"))
    }
    rates = [one["options"]["rate"] for one in shown.values()]
    assert rates == [1 << 20, 512 << 10, 5 << 30, 512 << 10], "more than 32 bits of bytes a second, too"
    for options, hint in (({"rx_bps": "fast"}, "such as 10m"), ({"tx_bps": "1"}, "1024 are the least")):
        with pytest.raises(errors.UsageError) as failure:
            lab.networks.create("bad", options=options)
        assert failure.value.hint == hint
    lab.call("host", lambda: bool(lab.networks.create("faces", driver="macvlan", **_FACES)))
    with pytest.raises(errors.UsageError, match="cannot be limited on macvlan"):
        lab.attach("face", network="faces", limits=Limits(rx_bps=RATE))


def test_limits_of_a_running_container_change_and_stay_over_a_restart(host: Host) -> None:
    host.run("network", "create", "--opt", "tx_bps=2m", "back")
    flags = ("--network-rx-bps", "1m", "--network", "bridge", "--network", "back")
    host.run("run", "-d", "--name", "web", *flags, "base", "sleep", "1000")

    def rates() -> list[int]:
        """Of the host's ends, then of the container's own."""
        pid = host.run("inspect", "-f", "{{.State.Pid}}", "web").stdout.strip()
        links = [line.split()[2] for line in host.run("network", "which", "web").stdout.splitlines()[1:]]
        found = []
        for words in [["tc"]] * 2 + [["nsenter", "-t", pid, "-n", "tc"]] * 2:
            device = [*links, "eth0", "eth1"][len(found)]
            done = subprocess.run([*words, "-j", "qdisc", "show", "dev", device], capture_output=True, check=True)
            found.append(json.loads(done.stdout)[0].get("options", {}).get("rate", 0))
        return found

    def kept() -> list[str]:
        """The bounds of what it sends that the host keeps."""
        listed = subprocess.run(["nft", "list", "ruleset", "netdev"], capture_output=True, text=True, check=True).stdout
        id = host.run("inspect", "-f", "{{.Id}}", "web").stdout[:8]
        return sorted(re.findall(rf"chain veth{id}\S* {{[^}}]*limit rate over (\S+ \S+)", listed))

    assert rates() == [1 << 20, 1 << 20, 0, 2 << 20]
    assert kept() == ["2 mbytes/second"]
    host.run("update", "--network-rx-bps", "3m", "--network-tx-bps", "4m", "web")
    assert rates() == [3 << 20, 3 << 20, 4 << 20, 4 << 20]
    host.run("restart", "-t", "0", "web")
    assert rates() == [3 << 20, 3 << 20, 4 << 20, 4 << 20]
    assert kept() == ["4 mbytes/second"] * 2
    config = json.loads(host.run("inspect", "web").stdout)[0]["HostConfig"]
    assert (config["NetworkRxBps"], config["NetworkTxBps"]) == (3 << 20, 4 << 20)
    host.run("update", "--network-rx-bps", "0", "--network-tx-bps", "0", "web")
    assert rates() == [0, 0, 0, 2 << 20], "the network's own bound holds again"
    assert kept() == ["2 mbytes/second"]
    host.run("stop", "-t", "0", "web")
    host.run("network", "disconnect", "back", "web")
    host.run("start", "web")
    assert kept() == [], "nothing of an earlier link bounds this one"
    host.run("update", "--network-class", "1:2a", "web")
    bridge = host.paths.bridge
    listed = subprocess.run(["nft", "list", "map", "ip", bridge, "classes"], capture_output=True, text=True, check=True)
    assert ": 1:2a" in listed.stdout
    host.run("update", "--network-class", "0", "web")
    listed = subprocess.run(["nft", "list", "map", "ip", bridge, "classes"], capture_output=True, text=True, check=True)
    assert "elements" not in listed.stdout
    host.run("network", "create", "late")
    host.run("update", "--network-rx-bps", "5m", "web")
    host.run("network", "connect", "late", "web")
    link = host.run("network", "which", "web").stdout.splitlines()[2].split()[2]
    done = subprocess.run(["tc", "qdisc", "show", "dev", link], capture_output=True, text=True, check=True)
    assert "tbf" in done.stdout, "who joins later is bounded, too"
    for words, message in (
        (("run", "--network-rx-bps", "10", "base", "true"), "10 bytes per second are too few"),
        (("run", "--network", "none", "--network-tx-bps", "1m", "base", "true"), "has no link to limit"),
        (("run", "--network", "host", "--network-class", "1:10", "base", "true"), "has no link to class"),
        (("run", "--network-class", "1:xyz", "base", "true"), "'1:xyz' is not a traffic class"),
    ):
        done = host.run(*words, check=False)
        assert done.returncode == 125 and message in done.stderr
