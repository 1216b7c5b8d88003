"""A kernel that has iptables and no nf_tables: the same ports, the same way out, the same walls, by the old programs.

Where this kernel has nf_tables too, it is told to be silent; in a guest without it (module_blacklist=nf_tables) it is.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core import doctor, firewall, iptables, ruleview
from pyctr.core.engine import Engine
from tests.kernel.test_network_leases import record
from tests.support.netlab import HOST, OUTSIDE, Lab


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    if not iptables.usable():
        pytest.skip("needs iptables-legacy: apt install iptables")
    monkeypatch.setattr(firewall, "_spoken", [False])
    lab = Lab(tmp_path)
    for table in ("nat", "mangle"):
        words = ["ip", "netns", "exec", f"{lab.prefix}-host", "iptables-legacy", "-t", table, "-S"]
        if subprocess.run(words, capture_output=True).returncode:
            lab.close()
            pytest.skip(f"this kernel has no table '{table}' of iptables")
    yield lab
    lab.close()


def _rules(lab: Lab) -> list[str]:
    saved = "".join(lab.command("host", f"{program}-legacy-save") for program in ("iptables", "ip6tables"))
    return [line for line in saved.splitlines() if line.startswith("-A")]


def test_everything_works_by_iptables_alone(lab: Lab) -> None:
    lab.command("host", "iptables-legacy", "-P", "FORWARD", "DROP")
    lab.command("host", "ip6tables-legacy", "-t", "nat", "-S")
    before = _rules(lab)
    web = lab.container("web", "8080:80", "127.0.0.1:8081:80", "5300:53/udp")
    client = lab.container("client")
    for port in (80, 81):
        lab.serve("web", port)
    lab.serve_udp("web", 53)
    lab.serve("out", 9000)
    record(lab, web, pid=os.getpid())
    gateway, address = web["gateway"], web["address"].partition("/")[0]

    def everywhere() -> None:
        assert lab.ask("out", HOST, 8080) == OUTSIDE, "the container sees who really calls"
        asked = {
            "localhost": lab.ask("host", "127.0.0.1", 8080),
            "neighbour": lab.ask("client", HOST, 8080),
            "itself": lab.ask("web", HOST, 8080),
            "on localhost only": lab.ask("host", "127.0.0.1", 8081),
            "udp": lab.ask_udp("host", "127.0.0.1", 5300),
        }
        assert set(asked.values()) == {gateway}, asked
        assert lab.ask_udp("out", HOST, 5300) == OUTSIDE
        assert lab.ask("out", HOST, 8081, timeout=1) == "ConnectionRefusedError"
        assert lab.ask("client", OUTSIDE, 9000) == HOST, "what leaves carries the host's address"
        assert lab.ask("client", address, 80) == client["address"].partition("/")[0]

    everywhere()
    lab.ip("out", f"route add {address} via {HOST}")
    assert lab.ask("out", address, 81, timeout=1) == "TimeoutError", "no way around what is published"

    lab.networks.create("backend")
    lab.networks.create("closed", internal=True)
    lab.container("db", "8090:80", network="backend")
    lab.container("vault", network="closed")
    lab.serve("db", 80)
    assert lab.ask("out", HOST, 8090) == OUTSIDE
    assert lab.ask("db", address, 80, timeout=1) == "TimeoutError", "networks are kept apart"
    assert lab.ask("client", lab.networks.get("backend").gateway, 8090).count(".") == 3, "but for published ports"
    lab.ip("vault", f"route add default via {lab.networks.get('closed').gateway}")
    assert lab.ask("vault", OUTSIDE, 9000, timeout=1) == "TimeoutError"
    assert lab.call("host", ruleview.dropped, lab.bridge) > 0

    told = lab.call("host", ruleview.published, lab.bridge)
    assert {(port["host_ip"], port["host_port"], port["protocol"], port["address"]) for port in told} == {
        ("", 8080, "tcp", address),
        ("127.0.0.1", 8081, "tcp", address),
        ("", 5300, "udp", address),
    }
    for words in ("-t nat -F", "-t mangle -F FORWARD", f"-t mangle -F {iptables.chain(lab.bridge)}"):
        lab.command("host", "iptables-legacy", *words.split())
        assert "bridge" in lab.call("host", lambda: lab.networks.repair(dry=True))
        assert "bridge" in lab.call("host", lab.networks.repair)
        assert lab.call("host", lab.networks.repair) == []
        everywhere()

    lab.networks.create("six", ipv6=True)
    six = lab.container("late", "8100:80", network="six")
    lab.serve("late", 80, address="::")
    lab.ip("host", "address add 2001:db8::1/64 dev up0 nodad")
    lab.ip("out", "address add 2001:db8::2/64 dev up0 nodad")
    assert six["address6"] and lab.ask("out", "2001:db8::1", 8100) == "2001:db8::2"

    lab.networks.create("shut", ipv6=True, internal=True)
    shut = lab.container("shut", network="shut")
    lab.serve("shut", 80, address="::")
    lab.serve("host", 9100, address="::")
    assert lab.ask("host", shut["address6"].partition("/")[0], 80) == lab.networks.get("shut").gateway6
    assert lab.ask("shut", lab.networks.get("shut").gateway6, 9100, timeout=1) == "TimeoutError"
    assert lab.ask("late", lab.networks.get("six").gateway6, 9100) == six["address6"].partition("/")[0]

    found = lab.call("host", lambda: list(doctor._firewall(Engine(lab.paths))))
    assert [words for _, words, _ in found] == ["no nf_tables, but iptables"]
    lab.call("host", lab.networks.unpublish, web)
    assert lab.call("host", ruleview.published, lab.bridge) == []
    lab.call("host", lab.networks.forget)
    assert _rules(lab) == before
    words = ["ip", "netns", "exec", f"{lab.prefix}-host", "nft", "list", "ruleset"]
    assert "pyctr" not in subprocess.run(words, capture_output=True, text=True).stdout


def test_what_the_kernel_has_is_found_out_by_asking_it() -> None:
    there = subprocess.run(["nft", "list", "tables"], capture_output=True).returncode == 0
    firewall._spoken.clear()
    assert firewall.spoken() == there
