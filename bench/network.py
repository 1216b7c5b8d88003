"""What a network adds to a start, and one link of a container made in three ways.

A contender makes a veth pair into a namespace that is there, its outer end a port of a bridge, and raises, addresses
and routes the inner end; the namespace is made before each turn and nobody counts it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import statistics
import subprocess
from collections.abc import Callable, Iterator

from pyctr.core import netns
from pyctr.core.linux import namespaces, netlink, rtmessages

from .ours import Pyctr
from .timing import Prepared, interleave

BRIDGE, GATEWAY = "ptbench0", "192.0.2.1"
_ATTACHMENT = {
    "mode": "bridge",
    "bridge": BRIDGE,
    "host_if": "vethbench000",
    "container_if": "eth0",
    "address": "192.0.2.2/24",
    "gateway": GATEWAY,
    "mac": "02:70:c0:00:02:02",
    "mtu": 1500,
}


def rows(pyctr: Pyctr, rounds: int) -> Iterator[tuple[str, str]]:
    yield from _steps(pyctr, rounds)
    yield from _links(rounds)


def _steps(pyctr: Pyctr, rounds: int) -> Iterator[tuple[str, str]]:
    """The network's step on the birth certificate, and the whole command."""
    pyctr.call("network", "create", "bench")
    taken: dict[str, list[float]] = {"none": [], "bridge": [], "bench": []}
    starts: dict[str, list[float]] = {network: [] for network in taken}

    def run(network: str) -> Callable[[], None]:
        def once() -> None:
            words = [pyctr.script, "run", "--rm", "--trace", "--network", network, "localhost/base", "true"]
            said = subprocess.run(words, env=pyctr.env, capture_output=True, text=True, check=True).stderr
            steps = {
                name: (float(begin), float(took))
                for begin, name, took in re.findall(r"^ *([\d.]+)  (network|cgroup|exec) .* ([\d.]+) ms", said, re.M)
            }
            taken[network].append(steps["network"][1])
            starts[network].append(sum(steps["exec"]) - steps["cgroup"][0])

        return once

    whole = interleave({network: run(network) for network in taken}, rounds)
    pyctr.call("network", "rm", "bench")
    words = {"none": "none", "bridge": "the default bridge", "bench": "a user-defined one"}
    yield (
        "step `network` of a start",
        ", ".join(f"{words[name]} {statistics.median(values):.1f} ms" for name, values in taken.items()),
    )
    alone = statistics.median(starts["none"])
    yield (
        "added to a start, from the shim's order to the command",
        ", ".join(f"{words[name]} {statistics.median(starts[name]) - alone:.1f} ms" for name in ("bridge", "bench")),
    )
    yield (
        "whole `run --rm` of true by network",
        ", ".join(f"{words[name]} {1e3 * value:.1f} ms" for name, value in whole.items()),
    )


class _Space:
    """A process in a network namespace of its own, anew for every turn."""

    def __init__(self) -> None:
        self.pid = 0

    def renew(self) -> None:
        self.end()
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            namespaces.unshare(namespaces.FLAGS["network"])
            os.write(writing, b"1")
            signal.pause()
        os.close(writing)
        os.read(reading, 1)
        os.close(reading)

    def end(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            with netlink.Netlink() as socket:
                for link in socket.links(kind="veth", stats=False):
                    if link.name.startswith("vethbench"):
                        socket.send([rtmessages.delete(link.name)])
            self.pid = 0


def _links(rounds: int) -> Iterator[tuple[str, str]]:
    space = _Space()

    def ours() -> None:
        netns.host_side(_ATTACHMENT, space.pid)
        there = namespaces.open_namespace(space.pid, "network")
        try:
            namespaces.within(there, lambda: netns.inside(_ATTACHMENT))
        finally:
            os.close(there)

    def batch() -> None:
        outer = f"link add vethbench000 mtu 1500 master {BRIDGE} up type veth peer name eth0 netns {space.pid}\n"
        inner = (
            f"link set lo up\nlink set eth0 up\naddress add 192.0.2.2/24 dev eth0\nroute add default via {GATEWAY}\n"
        )
        subprocess.run(["ip", "-batch", "-"], input=outer.encode(), check=True)
        subprocess.run(["nsenter", "-t", str(space.pid), "-n", "ip", "-batch", "-"], input=inner.encode(), check=True)

    with netlink.Netlink() as socket:
        socket.send([rtmessages.bridge(BRIDGE)])
        socket.send([rtmessages.address(netlink.index(BRIDGE), f"{GATEWAY}/24")])
    contenders = {"pyctr": Prepared(ours, space.renew)}
    if shutil.which("ip"):
        contenders["two runs of ip -batch"] = Prepared(batch, space.renew)
    try:
        import pyroute2
    except ImportError:
        pyroute2 = None
    if pyroute2 is not None:
        contenders["pyroute2, imported before"] = Prepared(lambda: _pyroute2(pyroute2, space.pid), space.renew)
    try:
        medians = interleave(contenders, rounds)
        mine = medians["pyctr"]
        parts = [
            f"{name} {1e3 * value:.2f} ms ({value / mine:.1f}x)" for name, value in medians.items() if name != "pyctr"
        ]
        yield "a container's link with address and route", ", ".join([f"**pyctr {1e3 * mine:.2f} ms**", *parts])
    finally:
        space.end()
        with netlink.Netlink() as socket:
            socket.send([rtmessages.delete(BRIDGE)])


def _pyroute2(library: object, pid: int) -> None:
    route, space = library.IPRoute(), library.NetNS(f"/proc/{pid}/ns/net")  # type: ignore[attr-defined]
    with route, space:
        master = route.link_lookup(ifname=BRIDGE)[0]
        peer = {"ifname": "eth0", "net_ns_pid": pid}
        route.link("add", ifname="vethbench000", kind="veth", peer=peer, master=master, mtu=1500, state="up")
        index = space.link_lookup(ifname="eth0")[0]
        space.link("set", index=1, state="up")
        space.link("set", index=index, state="up")
        space.addr("add", index=index, address="192.0.2.2", prefixlen=24)
        space.route("add", gateway=GATEWAY)
