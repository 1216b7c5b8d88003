"""Beside the bridges of a real podman and a real dockerd, in a network namespace that plays the host: everybody reaches
everybody's published ports and the world, whoever came first, and who goes takes nothing of the other's along."""

from __future__ import annotations

import ipaddress
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyctr.cli import output
from pyctr.core.paths import Paths
from tests.kernel.test_engines import Dockerd, Podman
from tests.support import manager as managers

pytestmark = managers.needs("unshare", "nsenter", "ip", "nft", "iptables", "busybox", "runc")
HERE, OUT = "198.51.100.1", "198.51.100.2"
OURS, THEIRS = 8080, 9090
FORWARDING = "/proc/sys/net/ipv4/ip_forward"


def _page(call: Callable[..., str], place: str) -> bool:
    words = f"busybox timeout 5 busybox wget -q -O - http://{place}/"
    return call(*words.split(), check=False) == "hello"


class BridgedDocker(Dockerd):
    bridge = "docker0"
    network_words = ()


class BridgedPodman(Podman):
    # what podman names it depends on who makes it
    bridge = "podman0" if os.path.exists("/usr/lib/podman/netavark") else "cni-podman0"

    def __init__(self) -> None:
        super().__init__()
        with open(f"{self.base}/containers.conf", "a") as file:
            file.write(f'[network]\nnetwork_config_dir = "{self.base}/networks"\n')
        self.run_words = ("-d", "--cgroup-parent", self.group)


class World:
    """The other engine's namespace as the host: an uplink, somebody who serves outside, and a pyctr0."""

    def __init__(self, other: BridgedDocker | BridgedPodman, pages: Path, images: Paths) -> None:
        self.other = other
        self.pages = pages
        (pages / "index.html").write_text("hello")
        paths = other.host.paths
        os.symlink(images.images, paths.images)
        os.symlink(images.layers, paths.layers)
        # nobody else is in this namespace: it is the bridge of everybody who sets nothing
        self.env = other.host.env | {"PYCTR_BRIDGE": "pyctr0"}
        self.out = f"{paths.bridge}-out"
        subprocess.run(["ip", "netns", "add", self.out], check=True)
        holder = str(other.holder.pid)
        for words in (
            f"link add up0 netns {holder} type veth peer name up0 netns {self.out}",
            f"-n {self.out} address add {OUT}/24 dev up0",
            f"-n {self.out} link set up0 up",
        ):
            subprocess.run(["ip", *words.split()], check=True)
        for words in (f"address add {HERE}/24 dev up0", "link set up0 up", f"route add default via {OUT}"):
            self.command("ip", *words.split())
        self.command("sh", "-c", f"echo 0 >{FORWARDING}")
        serving = ["busybox", "httpd", "-f", "-p", "80", "-h", str(pages)]
        self.server = subprocess.Popen(["nsenter", f"--net=/run/netns/{self.out}", *serving])

    def command(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(self.other.enter(*words), env=self.env, capture_output=True, text=True, timeout=60)
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def pyctr(self, *words: str, check: bool = True) -> str:
        return self.command(*self.other.host.command(*words), check=check)

    def start_ours(self) -> None:
        serving = ("busybox", "httpd", "-f", "-p", "80", "-h", "/www")
        self.pyctr(
            *("run", "-d", "--name", "ours", "-p", f"{OURS}:80", "-v", f"{self.pages}:/www:ro"), "base", *serving
        )
        self.serves(OURS)

    def stop_ours(self) -> None:
        self.pyctr("rm", "-f", "ours", check=False)
        self.pyctr("network", "prune", "-f", "--all")

    def start_theirs(self) -> None:
        serving = ("busybox", "httpd", "-f", "-p", "80", "-h", "/www")
        self.other.run("--name", "theirs", "-p", f"{THEIRS}:80", "-v", f"{self.pages}:/www:ro", "box", *serving)
        self.serves(THEIRS)

    def serves(self, port: int) -> None:
        """Wait for a server that has just been started."""
        self.other.until(lambda: _page(self._outside, f"{HERE}:{port}"), f"the page of port {port}")

    def stop_theirs(self) -> None:
        self.other("kill", "theirs", check=False)  # a stop waits for what process 1 ignores
        self.other("rm", "-f", "theirs", check=False)

    def reached(self, *ports: int) -> dict[str, bool]:
        """From where which address answers; from containers, too, of those engines whose ports are asked for. Podman's
        own are not asked for their own port: it does not lead that back while br_netfilter is on (see the bridge's
        hairpin_mode), without us neither."""
        asking: list[tuple[str, Callable[..., str], list[str]]] = [
            ("localhost", self.command, [f"127.0.0.1:{port}" for port in ports]),
            ("outside", self._outside, [f"{HERE}:{port}" for port in ports]),
        ]
        if OURS in ports:
            asking.append(("ours", self._in_ours, [OUT, *(f"{HERE}:{port}" for port in ports)]))
        if THEIRS in ports:
            asking.append(("theirs", self._in_theirs, [OUT, *(f"{HERE}:{port}" for port in ports if port == OURS)]))
        return {f"{name} to {place}": _page(call, place) for name, call, places in asking for place in places}

    def _in_ours(self, *words: str, check: bool) -> str:
        return self.pyctr("exec", "ours", *words, check=check)

    def _in_theirs(self, *words: str, check: bool) -> str:
        return self.other("exec", "theirs", *words, check=check).stdout

    def _outside(self, *words: str, check: bool) -> str:
        into = ["nsenter", f"--net=/run/netns/{self.out}", *words]
        return subprocess.run(into, capture_output=True, text=True, check=check).stdout

    def rules(self) -> str:
        return self.command("nft", "--stateless", "list", "ruleset")

    def ours(self) -> list[str]:
        """Our tables, and our rules in chains of others."""
        rules = [line for line in self.rules().splitlines() if "pyctr:" in line]
        return [*rules, self.command("nft", "--stateless", "list", "table", "ip", "pyctr0")]

    def foreign(self) -> list[str]:
        """Bridges of others, as the graph shows them."""
        return [
            nic["name"] for nic in json.loads(self.pyctr("network", "graph", "--json"))["interfaces"] if nic["bridge"]
        ]

    def subnets(self) -> dict[str, Any]:
        """Of every interface with an address."""
        return {
            link["ifname"]: ipaddress.ip_network(f"{one['local']}/{one['prefixlen']}", strict=False)
            for link in json.loads(self.command("ip", "-j", "-4", "address"))
            for one in link["addr_info"]
        }

    def close(self) -> None:
        try:
            self.stop_ours()
            self.stop_theirs()
        finally:
            self.server.kill()
            self.server.wait()
            subprocess.run(["ip", "netns", "delete", self.out], check=True)


@pytest.fixture(params=[BridgedPodman, BridgedDocker], ids=["podman", "docker"])
def world(request: pytest.FixtureRequest, tmp_path: Path, base_images: Paths) -> Iterator[World]:
    needed = ("podman", "conmon") if request.param is BridgedPodman else ("dockerd", "docker", "containerd")
    if missing := [name for name in needed if not shutil.which(name)]:
        pytest.skip(f"needs {', '.join(missing)}")
    other: BridgedPodman | BridgedDocker = request.param()
    try:
        world = World(other, tmp_path, base_images)
        try:
            other.prepare()
            yield world
        finally:
            world.close()
    finally:
        other.close()


@pytest.mark.timeout(300)
def test_both_reach_everything_and_take_nothing_of_the_other_along(world: World) -> None:
    def everywhere(count: int, *ports: int) -> None:
        found = world.reached(*ports)
        assert len(found) == count and all(found.values()), found

    def side_by_side() -> None:
        everywhere(9, OURS, THEIRS)
        subnets = world.subnets()
        assert {"pyctr0", world.other.bridge} < set(subnets)
        pairs = itertools.combinations(subnets.values(), 2)
        assert not [pair for pair in pairs if pair[0].overlaps(pair[1])], subnets

    world.start_theirs()
    theirs = world.rules()
    world.start_ours()
    side_by_side()
    assert world.foreign() == [world.other.bridge]
    _counted_while_stopped(world)
    world.stop_ours()
    assert world.rules() == theirs
    assert world.command("cat", FORWARDING) == "1\n", "theirs needs it still"
    everywhere(3, THEIRS)

    world.stop_theirs()
    world.start_ours()
    ours = world.ours()
    world.start_theirs()
    side_by_side()
    world.stop_theirs()
    assert world.ours() == ours
    everywhere(4, OURS)


def _counted_while_stopped(world: World) -> None:
    """What goes through the other's bridge is told in every place, with its daemons, or conmon, stopped."""
    (world.pages / "big").write_bytes(b"x" * (2 << 20))
    id = world.other.state("theirs", "{{.Id}}" if world.other.name == "docker" else "{{.ID}}")
    ref = f"{world.other.name}:{id}"
    [record] = json.loads(world.pyctr("inspect", ref))
    stopped = world.other.daemons() if isinstance(world.other, Dockerd) else [record["Supervisor"]]

    def counted() -> tuple[int, int]:
        """Received and sent, by the kernel itself."""
        lines = Path(f"/proc/{record['State']['Pid']}/net/dev").read_text().splitlines()
        [words] = [line.split() for line in lines if "eth0" in line]
        return int(words[1]), int(words[9])

    def shown(*words: str) -> Any:
        screens = ("-m", "pyctr.tui.main", "--once", "--engine", world.other.name, "--json", "--select", "theirs")
        return json.loads(world.command(sys.executable, *screens, *words))

    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        before = counted()
        fetch = f"busybox wget -q -O - http://{HERE}:{THEIRS}/big"
        assert len(world._outside(*fetch.split(), check=True)) == 2 << 20
        after = counted()
        assert after[1] - before[1] > 2 << 20
        [row] = [json.loads(world.pyctr("stats", "--no-stream", "--format", "json", ref))]
        # a kernel that looks for its neighbours sends some bytes at any time
        assert row["NetIO"] in {" / ".join(map(output.decimal_size, there)) for there in (after, counted())}, row
        least = counted()
        eth0 = shown("--tab", "network")["detail"]["document"]["interfaces"][-1]
        most = counted()
        assert eth0["name"] == "eth0"
        assert least[0] <= eth0["rx"] <= most[0] and least[1] <= eth0["tx"] <= most[1], (least, eth0, most)
        assert (eth0["errors"], eth0["dropped"]) == (0, 0)
        graph = {one["name"]: one for one in json.loads(world.pyctr("network", "graph", "--json"))["interfaces"]}
        assert graph[world.other.bridge]["bridge"]
        again = f"while busybox sleep 0.2; do {fetch} >/dev/null; done"
        fetching = subprocess.Popen(["nsenter", f"--net=/run/netns/{world.out}", "sh", "-c", again])
        try:
            # on a busy machine none of them may fall between two looks
            world.other.until(lambda: _flows(shown()), "its rates in list and graph")
        finally:
            fetching.kill()
            fetching.wait()
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def _flows(document: Any) -> bool:
    [row] = [row for row in document["containers"] if row["name"] == "theirs"]
    return row["net_tx"] > row["net_rx"] > 0 and any(rate for _, rate in document["detail"]["series"]["net_tx"])
