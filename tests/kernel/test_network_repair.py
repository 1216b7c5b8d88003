"""Firewall rules that others take out while containers run, on a host that is a network namespace of its own."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.host import Host


class Place:
    """A network namespace in which pyctr believes to be on its host, and its journal as it is written."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.name = f"pt-{secrets.token_hex(3)}"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.command("ip", "link", "set", "lo", "up")
        words = host.command("events", "--filter", "event=repair", "--format", "{{json .}}")
        self.journal = subprocess.Popen(words, env=host.env, stdout=subprocess.PIPE, text=True)

    def command(self, *words: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["nsenter", f"--net=/run/netns/{self.name}", *words],
            env=self.host.env,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done

    def pyctr(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.command(*self.host.command(*words), check=check)

    def repaired(self) -> str:
        """The network whose repair the journal tells of next."""
        assert self.journal.stdout is not None
        return str(json.loads(self.journal.stdout.readline())["Actor"]["Attributes"]["name"])

    def page(self) -> str:
        asking = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080/', timeout=20).read().decode())"
        return self.command(sys.executable, "-c", asking, check=False).stdout.strip()

    def close(self) -> None:
        self.journal.terminate()
        self.journal.communicate(timeout=30)
        self.pyctr("rm", "-f", "web", "other", check=False)
        subprocess.run(["ip", "netns", "delete", self.name], check=True)


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
