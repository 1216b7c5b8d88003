"""Beside real ufw and firewalld, which come, reload and go while containers run; in a namespace that plays the host."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.host import Host
from tests.support.netplace import Place

INSIDE, OUTSIDE = "198.51.100.1", "198.51.100.2"


class World(Place):
    """A host with an uplink to a namespace where somebody serves, and a container that publishes a port."""

    def __init__(self, host: Host, directory: Path) -> None:
        super().__init__(host)
        (directory / "index.html").write_text("hello")
        self.out = f"{self.name}-out"
        subprocess.run(["ip", "netns", "add", self.out], check=True)
        self.command("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up0", "netns", self.out)
        for words in ("address add 198.51.100.1/24 dev up0", "link set up0 up", f"route add default via {OUTSIDE}"):
            self.command("ip", *words.split())
        for words in ("address add 198.51.100.2/24 dev up0", "link set up0 up"):
            subprocess.run(["ip", "-n", self.out, *words.split()], check=True)
        serving = ["busybox", "httpd", "-f", "-p", "80", "-h", str(directory)]
        self.server = subprocess.Popen(["nsenter", f"--net=/run/netns/{self.out}", *serving])
        self.pyctr(
            *("run", "-d", "--name", "web", "-p", "8080:80", "-v", f"{directory}:/www:ro"),
            *("base", "busybox", "httpd", "-f", "-p", "80", "-h", "/www"),
        )

    def reached(self) -> dict[str, bool]:
        asking = "busybox timeout 2 busybox wget -q -O - http://{}/"
        into = ["nsenter", f"--net=/run/netns/{self.out}", *asking.format(f"{INSIDE}:8080").split()]
        out = asking.format(OUTSIDE).split()
        return {
            "out of the container": "hello" in self.pyctr("exec", "web", *out, check=False).stdout,
            "into it from outside": "hello" in subprocess.run(into, capture_output=True, text=True).stdout,
            "from localhost": self.page() == "hello",
        }

    def close(self) -> None:
        self.server.kill()
        self.server.wait()
        super().close()
        subprocess.run(["ip", "netns", "delete", self.out], check=True)


def until(condition: Callable[[], bool], what: str) -> None:
    """The guard repairs a moment later, and later still on a busy host."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)  # others' commands give no sign when what they began has settled


@pytest.fixture
def world(host: Host, tmp_path: Path) -> Iterator[World]:
    (tmp_path / "www").mkdir()
    world = World(host, tmp_path / "www")
    try:
        until(lambda: all(world.reached().values()), f"nothing is in the way yet: {world.reached()}")
        yield world
    finally:
        world.close()


@pytest.mark.timeout(300)
@pytest.mark.skipif(not shutil.which("ufw"), reason="needs ufw: apt install ufw")
def test_ufw_comes_reloads_and_goes(world: World, tmp_path: Path) -> None:
    shutil.copytree("/etc/ufw", tmp_path / "ufw")
    defaults = Path("/etc/default/ufw").read_text().replace("MANAGE_BUILTINS=no", "MANAGE_BUILTINS=yes")
    (tmp_path / "defaults").write_text(defaults)
    script = 'mount --bind "$0/ufw" /etc/ufw && mount --bind "$0/defaults" /etc/default/ufw && exec ufw "$@"'
    bridge = world.host.paths.bridge

    def ufw(*words: str) -> str:
        return world.command("unshare", "--mount", "sh", "-c", script, str(tmp_path), *words).stdout

    def accepted() -> bool:
        return world.command("iptables-nft", "-S", "FORWARD").stdout.count(f"pyctr:{bridge}") == 2

    assert "active" in ufw("--force", "enable")
    until(accepted, "ufw has come")
    assert "-P FORWARD DROP" in world.command("iptables-nft", "-S", "FORWARD").stdout
    assert all(world.reached().values()), world.reached()
    ufw("reload")
    until(accepted, "ufw has emptied the chains and filled them again")
    assert all(world.reached().values()), world.reached()
    ufw("deny", "8080/tcp")
    until(accepted, "a rule of ufw more")
    assert all(world.reached().values()), "ufw's rules are about the host's own ports, as with every other engine"
    ufw("disable")
    until(lambda: all(world.reached().values()), f"ufw is gone: {world.reached()}")
    world.pyctr("rm", "-f", "web")
    world.pyctr("network", "prune", "-f", "--all")
    assert "pyctr" not in world.command("nft", "list", "ruleset").stdout


@pytest.mark.timeout(300)
@pytest.mark.skipif(
    not (shutil.which("firewalld") and shutil.which("dbus-daemon")),
    reason="needs firewalld: apt install firewalld dbus",
)
def test_firewalld_comes_reloads_and_goes(world: World, tmp_path: Path) -> None:
    shutil.copytree("/etc/firewalld", tmp_path / "etc")
    place = f"unix:path={world.host.base}/bus"
    world.host.env["DBUS_SYSTEM_BUS_ADDRESS"] = place
    inside = ["nsenter", f"--net=/run/netns/{world.name}"]
    bus = subprocess.Popen(["dbus-daemon", "--session", f"--address={place}", "--nofork", "--nopidfile"])
    until(lambda: os.path.exists(f"{world.host.base}/bus"), "a bus of our own")
    words = ["firewalld", "--nofork", "--nopid", "--system-config", str(tmp_path / "etc")]
    words += ["--log-file", str(tmp_path / "log")]
    firewalld = subprocess.Popen([*inside, *words], env=world.host.env, stdout=subprocess.DEVNULL)
    bridge = world.host.paths.bridge

    def forward() -> str:
        return world.command("nft", "list", "chain", "inet", "firewalld", "filter_FORWARD", check=False).stdout

    def accepted() -> bool:
        return forward().count(f"pyctr:{bridge}") == 2

    try:
        until(lambda: world.command("firewall-cmd", "--state", check=False).returncode == 0, "firewalld has come")
        until(accepted, "its chain ends with a reject")
        assert "reject" in forward()
        assert all(world.reached().values()), world.reached()
        world.command("firewall-cmd", "--reload")
        until(accepted, "firewalld has made its table anew")
        assert all(world.reached().values()), world.reached()

        # the way when it lets nobody into its table
        asking = f"from pyctr.core import forwardrules as f; print(f.trust({bridge!r}), f.trust({bridge!r}))"
        assert world.command(sys.executable, "-c", asking).stdout == "True False\n"
        assert world.command("firewall-cmd", f"--get-zone-of-interface={bridge}").stdout == "trusted\n"
        handles = world.command("nft", "-a", "list", "chain", "inet", "firewalld", "filter_FORWARD").stdout
        assert "drops what is forwarded" not in world.pyctr("doctor", check=False).stdout, handles

        world.pyctr("rm", "-f", "web")
        world.pyctr("network", "prune", "-f", "--all")
        assert "pyctr" not in world.command("nft", "list", "ruleset").stdout
    finally:
        for daemon in (firewalld, bus):
            daemon.terminate()
            daemon.wait(60)
