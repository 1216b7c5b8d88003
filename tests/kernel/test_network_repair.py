"""Firewall rules that others take out while containers run, on a host that is a network namespace of its own."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.host import Host
from tests.support.netplace import Place


@pytest.fixture
def place(host: Host) -> Iterator[Place]:
    place = Place(host)
    yield place
    place.close()


@pytest.mark.timeout(240)
def test_what_others_take_out_of_the_firewall_comes_back_while_containers_run(place: Place, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("hello")
    place.pyctr(
        *("run", "-d", "--name", "web", "-p", "8080:80", "-v", f"{tmp_path}:/www:ro"),
        *("base", "busybox", "httpd", "-f", "-p", "80", "-h", "/www"),
    )
    place.pyctr("exec", "web", "busybox", "sh", "-c", "until busybox wget -qO- http://127.0.0.1/; do :; done")
    place.pyctr("network", "create", "net2")
    place.pyctr("run", "-d", "--name", "other", "--network", "net2", "base", "sleep", "1000")
    assert place.page() == "hello"

    place.command("nft", "flush", "ruleset")
    assert {place.repaired(), place.repaired()} == {"bridge", "net2"}
    assert place.page() == "hello"

    # a chain emptied, the table and its comment left standing
    bridge = place.host.paths.bridge
    place.command("nft", "flush", "chain", "ip", bridge, "output")
    assert place.repaired() == "bridge"
    assert place.page() == "hello"

    # somebody comes who drops what is forwarded, and then cleans his chain
    place.command("iptables-nft", "-P", "FORWARD", "DROP")
    assert {place.repaired(), place.repaired()} == {"bridge", "net2"}
    place.command("iptables-nft", "-F", "FORWARD")
    assert {place.repaired(), place.repaired()} == {"bridge", "net2"}
    listed = place.command("iptables-nft", "-S", "FORWARD").stdout
    assert listed.count(f"pyctr:{bridge}") == 4, listed

    # the old interface tells nobody
    if shutil.which("iptables-legacy"):
        place.command("iptables-legacy", "-P", "FORWARD", "DROP")
        place.pyctr("network", "repair")  # by us or by the guard, whoever is first
        assert {place.repaired(), place.repaired()} == {"bridge", "net2"}
        place.command("iptables-legacy", "-F", "FORWARD")
        assert {place.repaired(), place.repaired()} == {"bridge", "net2"}
        listed = place.command("iptables-legacy", "-S", "FORWARD").stdout
        assert listed.count(f"pyctr:{bridge}") == 4, listed
        place.command("iptables-legacy", "-P", "FORWARD", "ACCEPT")

    # the guard goes, another shim takes over
    shim = _shim(place, "web")
    place.pyctr("rm", "-f", "web")
    place.command("nft", "flush", "ruleset")
    assert {place.repaired(), place.repaired()} == {"bridge", "net2"}
    assert shim != _shim(place, "other")

    # nobody watches: doctor tells, and a word is enough
    os.kill(_shim(place, "other"), signal.SIGKILL)
    place.command("nft", "delete", "table", "ip", bridge)
    assert "rules of network 'bridge' were taken out" in place.pyctr("doctor", check=False).stdout
    assert place.pyctr("network", "repair").stdout == "bridge\n"
    assert place.repaired() == "bridge"
    assert place.pyctr("network", "repair").stdout == ""


def _shim(place: Place, name: str) -> int:
    """The process that looks after a container: its parent."""
    pid = place.pyctr("inspect", "-f", "{{.State.Pid}}", name).stdout.strip()
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
