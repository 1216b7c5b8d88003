"""Containers on several networks: joined and left while they run, kept over restarts, refused in one clear line."""

from __future__ import annotations

import json
import os
import signal
import socket
import time

import pytest

from pyctr.core import connecting, containers, errors
from pyctr.core.engine import Engine
from tests.support.host import Host


def _networks(host: Host, name: str) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads(
        host.run("inspect", "-f", "{{json .NetworkSettings.Networks}}", name).stdout
    )
    return found


def _links(host: Host, name: str) -> set[str]:
    lines = host.run("exec", name, "cat", "/proc/net/dev").stdout.splitlines()[2:]
    return {line.partition(":")[0].strip() for line in lines}


def _default(host: Host, name: str) -> list[str]:
    """Interfaces of the default routes."""
    routes = [line.split() for line in host.run("exec", name, "cat", "/proc/net/route").stdout.splitlines()[1:]]
    return [route[0] for route in routes if route[1] == route[7] == "00000000"]


def test_a_running_container_joins_and_leaves_networks(host: Host) -> None:
    for name, third in (("front", 61), ("back", 62)):
        host.run("network", "create", "--subnet", f"10.{third}.0.0/24", name)
    host.run("run", "-d", "--name", "web", "--network", "front", "base", "sleep", "1000")
    assert _links(host, "web") == {"lo", "eth0"}
    host.run("network", "connect", "--ip", "10.62.0.9", "--alias", "www", "back", "web")
    assert _links(host, "web") == {"lo", "eth0", "eth1"}
    assert _default(host, "web") == ["eth0"]
    there = _networks(host, "web")
    assert list(there) == ["front", "back"]
    assert (there["back"]["IPAddress"], there["back"]["Aliases"]) == ("10.62.0.9", ["www"])
    assert json.loads(host.run("network", "inspect", "back").stdout)[0]["Containers"]

    again = host.run("network", "connect", "back", "web", check=False)
    assert again.returncode and "container 'web' is on network 'back' already" in again.stderr
    refused = host.run("network", "rm", "back", check=False)
    assert refused.returncode and "network 'back' is used by 'web'" in refused.stderr

    host.run("restart", "-t", "0", "web")
    assert _networks(host, "web") == there, "addresses and MACs are the same after a restart"
    assert _links(host, "web") == {"lo", "eth0", "eth1"}

    host.run("network", "disconnect", "front", "web")
    assert _links(host, "web") == {"lo", "eth1"}
    assert _default(host, "web") == ["eth1"], "the network that is left is the way out"
    assert list(_networks(host, "web")) == ["back"]
    host.run("network", "rm", "front")

    host.run("network", "disconnect", "back", "web")
    assert _links(host, "web") == {"lo"}
    host.run("network", "connect", "back", "web")
    assert _default(host, "web") == ["eth0"]
    missing = host.run("network", "disconnect", "front", "web", check=False)
    assert missing.returncode and "container 'web' is not on network 'front'" in missing.stderr
    host.run("rm", "-f", "web")
    host.run("network", "prune", "-f")
    assert host.run("network", "ls", "-q", "-f", "type=custom").stdout == ""


def test_a_container_restarted_by_its_policy_is_on_what_it_was_put_on_meanwhile(host: Host) -> None:
    host.run("network", "create", "back")
    host.run("run", "-d", "--name", "web", "--restart", "always", "base", "sleep", "1000")
    host.run("run", "-d", "--name", "db", "--network", "back", "base", "sleep", "1000")
    assert "127.0.0.11" not in host.run("exec", "web", "cat", "/etc/resolv.conf").stdout, "names by hosts file alone"
    host.run("network", "connect", "back", "web")

    def asked(name: str) -> str:
        return host.run("exec", "web", "busybox", "nslookup", name, check=False).stdout

    address = json.loads(host.run("inspect", "-f", "{{json .NetworkSettings.Networks}}", "db").stdout)["back"][
        "IPAddress"
    ]
    assert "127.0.0.11" in asked("db") and address in asked("db"), "it has a name server from now on"
    state = json.loads(host.run("inspect", "web").stdout)[0]["State"]
    os.kill(state["Pid"], signal.SIGKILL)
    deadline = time.monotonic() + 30
    while json.loads(host.run("inspect", "web").stdout)[0]["State"]["Pid"] in (0, state["Pid"]):
        assert time.monotonic() < deadline, "its shim did not start it again"
    assert _links(host, "web") == {"lo", "eth0", "eth1"}
    assert address in asked("db"), "and after that, too"


def test_addresses_come_from_the_range_and_never_are_the_reserved_ones(host: Host) -> None:
    host.run(
        *("network", "create", "--subnet", "10.63.0.0/24", "--ip-range", "10.63.0.128/30", "--gateway", "10.63.0.130"),
        *("--aux-address", "router=10.63.0.129", "--label", "tier=one", "--opt", "mtu=1400", "narrow"),
    )
    for name in ("one", "two"):
        host.run("create", "--name", name, "--network", "narrow", "base", "sleep", "1000")
    host.run("start", "one", "two")
    assert {_networks(host, name)["narrow"]["IPAddress"] for name in ("one", "two")} == {"10.63.0.128", "10.63.0.131"}
    assert host.run("exec", "one", "cat", "/sys/class/net/eth0/mtu").stdout == "1400\n"
    full = host.run("run", "--rm", "--network", "narrow", "base", "true", check=False)
    assert full.returncode and "no free address" in full.stderr
    taken = host.run("run", "--rm", "--network", "narrow", "--ip", "10.63.0.129", "base", "true", check=False)
    assert taken.returncode and "address '10.63.0.129' cannot be given" in taken.stderr
    config = json.loads(host.run("network", "inspect", "narrow").stdout)[0]
    assert config["IPAM"]["Config"][0]["AuxiliaryAddresses"] == {"router": "10.63.0.129"}
    assert host.run("network", "ls", "-f", "label=tier=one", "--format", "{{.Name}}").stdout == "narrow\n"
    for words, said in (
        (("--subnet", "10.63.0.128/25", "x"), "overlaps '10.63.0.0/24' of"),
        (("--subnet", "10.64.0.0/24", "--ip-range", "10.65.0.0/25", "x"), "range '10.65.0.0/25' is not in"),
        (("--subnet", "10.64.0.0/24", "--aux-address", "a=10.65.0.1", "x"), "address of 'a' '10.65.0.1' is not in"),
        (("--gateway", "10.64.0.1", "x"), "needs a subnet"),
        (("--opt", "mtu=1", "x"), "'1' is not a valid mtu"),
        (("--opt", "colour=red", "x"), "'colour' is not an option of driver 'bridge'"),
        (("narrow",), "network 'narrow' exists"),
        (("a/b",), "'a/b' is not a network name"),
    ):
        done = host.run("network", "create", *words, check=False)
        assert done.returncode and said in done.stderr and len(done.stderr.splitlines()) == 2, done.stderr
    assert host.run("network", "ls", "-q", "-f", "name=x").stdout == ""


def test_several_networks_from_the_start(host: Host) -> None:
    host.run("network", "create", "front")
    host.run("network", "create", "--subnet", "10.66.0.0/24", "back")
    host.run(
        *("run", "-d", "--name", "web", "--network", "front", "--network", "name=back,ip=10.66.0.7,alias=www"),
        *("base", "sleep", "1000"),
    )
    host.run("run", "-d", "--name", "db", "--network", "back", "base", "sleep", "1000")
    assert _links(host, "web") == {"lo", "eth0", "eth1"}
    assert _networks(host, "web")["back"]["IPAddress"] == "10.66.0.7"
    twice = host.run("run", "--rm", "--network", "back", "--network", "back", "base", "true", check=False)
    assert twice.returncode and "'back' is named twice" in twice.stderr
    mixed = host.run("run", "--rm", "--network", "host", "--network", "back", "base", "true", check=False)
    assert mixed.returncode and "'host' excludes others" in mixed.stderr
    host.run("run", "-d", "--name", "hosts", "--network", "host", "base", "sleep", "1000")
    refused = host.run("network", "connect", "back", "hosts", check=False)
    assert refused.returncode and "has the host's network" in refused.stderr
    for name, mode in (("sharer", "container:web"), ("alone", "none")):
        host.run("run", "-d", "--name", name, "--network", mode, "base", "sleep", "1000")

    def place(name: str) -> str:
        return os.readlink(f"/proc/{host.run('inspect', '-f', '{{.State.Pid}}', name).stdout.strip()}/ns/net")

    assert place("hosts") == os.readlink("/proc/self/ns/net")
    assert place("sharer") == place("web") and _links(host, "sharer") == {"lo", "eth0", "eth1"}
    assert len({place(name) for name in ("hosts", "web", "alone", "db")}) == 4 and _links(host, "alone") == {"lo"}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _claims(host: Host) -> list[str]:
    directory = f"{host.paths.run}/networks/ports"
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []


def test_what_fails_halfway_leaves_the_book_true(host: Host) -> None:
    for name in ("front", "back"):
        host.run("network", "create", name)
    one, two = _free_port(), _free_port()
    ports = ("-p", f"127.0.0.1:{one}:80", "-p", f"127.0.0.1:{two}:81")
    host.run("run", "-d", "--name", "web", *ports, "--network", "front", "--network", "back", "base", "sleep", "1000")
    with socket.create_server(("127.0.0.1", two)):
        refused = host.run("network", "disconnect", "front", "web", check=False)
        assert refused.returncode and f"port {two}/tcp is taken by" in refused.stderr
        assert list(_networks(host, "web")) == ["back"] and _links(host, "web") == {"lo", "eth1"}, "it has left"
        assert _default(host, "web") == ["eth1"] and _claims(host) == [], "and publishes nothing"
        host.run("network", "disconnect", "back", "web")
        refused = host.run("network", "connect", "front", "web", check=False)
        assert refused.returncode and f"port {two}/tcp is taken by" in refused.stderr
        assert _links(host, "web") == {"lo"} and _claims(host) == []
        host.run("network", "rm", "front")
    host.run("network", "connect", "back", "web")
    assert _claims(host) == sorted([f"tcp-{one}", f"tcp-{two}"])


def test_a_container_that_ends_while_it_is_connected_keeps_no_lease(host: Host) -> None:
    host.run("network", "create", "back")
    host.run("run", "-d", "--name", "web", "base", "sleep", "1000")
    engine = Engine(host.paths)
    container = containers.find(engine, "web")
    spec = container.spec.replace(endpoints={"back": {}})
    made = engine.networks.join(container.id, container.name, spec, "back", 1)
    host.run("stop", "-t", "0", "web")
    with pytest.raises(errors.IllegalTransition):
        connecting._take_back(container, made)
    host.run("network", "rm", "back")


def test_a_port_that_its_shim_cannot_open_is_told(host: Host) -> None:
    host.run("run", "-d", "--name", "web", "base", "sleep", "1000")
    container = containers.find(Engine(host.paths), "web")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        number = server.getsockname()[1]
        port = {"host_ip": "", "host_port": number, "container_port": 80, "protocol": "tcp"}
        with pytest.raises(errors.Conflict, match=f"port {number}/tcp of '::1' is taken by"):
            connecting._open_doors(container, {**container.state.network, "ports": [port]})
