"""Published ports that a process has to serve: [::1] of this machine for containers with and without IPv6, and IPv6
addresses of a host for a container that has none. What the kernel can lead is led by the kernel as before."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core.linux import namespaces
from pyctr.core.runtime import doors, portproxy
from pyctr.core.runtime.loop import Loop
from tests.support.host import Host
from tests.support.netlab import Lab

LARGE = 32 << 20
PATIENCE = 60


class Inside:
    """Servers in the network of a container that runs, ended with the test."""

    def __init__(self) -> None:
        self._pids: list[int] = []

    def serve(self, pid: int, port: int, address: str, kind: int) -> None:
        """TCP: the peer's address, then everything back until the caller has said its last word. UDP: the peer's
        address and what it said."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
                namespaces.setns(fd, namespaces.FLAGS["network"])
                server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                server.bind((address, port))
                if kind == socket.SOCK_DGRAM:
                    os.write(writing, b"1")
                    while True:
                        said, peer = server.recvfrom(65535)
                        server.sendto(f"{peer[0]} {said.decode()}".encode(), peer)
                server.listen(16)
                os.write(writing, b"1")
                while True:
                    threading.Thread(target=_echo, args=server.accept()).start()
            finally:
                os._exit(1)
        os.close(writing)
        self._pids.append(child)
        assert os.read(reading, 1) == b"1", f"no server on {address}:{port}"
        os.close(reading)

    def close(self) -> None:
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _echo(connection: socket.socket, peer: tuple[str, int]) -> None:
    with connection, contextlib.suppress(ConnectionError):
        connection.sendall(f"{peer[0].removeprefix('::ffff:')}\n".encode())
        while data := connection.recv(65536):
            connection.sendall(data)
        connection.sendall(b"bye")


@pytest.fixture
def inside() -> Iterator[Inside]:
    servers = Inside()
    yield servers
    servers.close()


def _call(port: int, address: str = "::1") -> tuple[socket.socket, str]:
    """A connection, and as whom the container sees its caller."""
    caller = socket.create_connection((address, port), timeout=PATIENCE)
    who = b""
    while not who.endswith(b"\n"):
        more = caller.recv(1)
        if not more:
            raise ConnectionResetError("not a word")
        who += more
    return caller, who.decode().strip()


def _seen(port: int, address: str = "::1") -> str:
    caller, who = _call(port, address)
    caller.close()
    return who


def _seen_udp(port: int) -> str:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asking:
        asking.settimeout(PATIENCE)
        asking.connect(("::1", port))
        asking.send(b"knock")
        return asking.recv(2048).decode()


def _facts(host: Host, name: str) -> tuple[int, dict[str, int], dict[str, str]]:
    """Its pid, the host's port for each of its own ("80/tcp"), and its first network."""
    shown = json.loads(host.run("inspect", name).stdout)[0]
    settings = shown["NetworkSettings"]
    ports = {inner: int(outer[0]["HostPort"]) for inner, outer in settings["Ports"].items()}
    return shown["State"]["Pid"], ports, next(iter(settings["Networks"].values()))


def _proxies(host: Host, name: str) -> list[int]:
    """Processes that carry a container's bytes: children of its shim."""
    shim = json.loads(Path(host.paths.container(_id(host, name), "state.json")).read_text())["process"]["shim_pid"]
    found = []
    for pid in Path(f"/proc/{shim}/task/{shim}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{pid}/comm").read_text() == "pyctr-proxy\n":
                found.append(int(pid))
    return found


def _id(host: Host, name: str) -> str:
    return host.run("ps", "-aq", "--no-trunc", "-f", f"name={name}").stdout.strip()


def _listening(port: int) -> set[str]:
    """Addresses of this machine where somebody listens on a TCP port."""
    lines = (line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines())
    return {fields[1].partition(":")[0] for fields in lines if fields[3] == "0A" and fields[1].endswith(f":{port:04X}")}


def test_ports_on_localhost_over_ipv6(host: Host, inside: Inside) -> None:
    host.run("network", "create", "--ipv6", "six")
    ports = ("-p", "0:80", "-p", "0:53/udp", "-p", "0:81", "-p", "0:54/udp", "-p", "0:82")
    for name, flags in (("four", ()), ("six", ("--network", "six"))):
        host.run("run", "-d", "--name", name, *ports, *flags, "base", "sleep", "1000")
    at: dict[str, dict[str, int]] = {}
    for name, any in (("four", "0.0.0.0"), ("six", "::")):
        pid, at[name], network = _facts(host, name)
        gateway = network["IPv6Gateway"] if name == "six" else network["Gateway"]
        inside.serve(pid, 80, any, socket.SOCK_STREAM)
        inside.serve(pid, 53, any, socket.SOCK_DGRAM)
        assert _listening(at[name]["80/tcp"]) == {"0" * 24 + "01000000"}, "on ::1 and nowhere else"
        assert _seen(at[name]["80/tcp"], "127.0.0.1") == network["Gateway"]
        assert _proxies(host, name) == [], "127.0.0.1 is the kernel's work"
        assert _seen(at[name]["80/tcp"]) == gateway, "the nearest address of the host, over the container's best family"
        assert _seen_udp(at[name]["53/udp"]) == f"{gateway} knock"
        assert len(_proxies(host, name)) == 1, "one for all ports"
        refused = host.run("exec", name, "busybox", "nc", "-w", "5", "::1", str(at[name]["80/tcp"]), check=False)
        assert refused.returncode and "refused" in refused.stderr, "from inside it is another localhost"
        with pytest.raises(ConnectionResetError):
            _seen(at[name]["82/tcp"])  # nobody listens inside
    pid, six, network = _facts(host, "six")
    inside.serve(pid, 81, "0.0.0.0", socket.SOCK_STREAM)
    inside.serve(pid, 54, "0.0.0.0", socket.SOCK_DGRAM)
    assert _seen(six["81/tcp"]) == network["Gateway"], "a server that has IPv4 alone"
    assert _seen_udp(six["54/udp"]) == f"{network['Gateway']} knock"
    _carries_all_both_ways(at["four"]["80/tcp"])
    _is_nobody_and_survives_its_end(host, at["four"]["80/tcp"])
    _goes_with_its_container(host, inside, at["four"])


def _carries_all_both_ways(port: int) -> None:
    caller, _ = _call(port)
    data = os.urandom(1 << 20)
    there = threading.Thread(target=lambda: [caller.sendall(data) for _ in range(LARGE >> 20)])
    back = hashlib.sha256()
    with caller:
        there.start()
        count = 0
        while count < LARGE:
            piece = caller.recv(65536)
            assert piece
            back.update(piece)
            count += len(piece)
        there.join()
        assert back.digest() == hashlib.sha256(data * (LARGE >> 20)).digest()
        caller.shutdown(socket.SHUT_WR)
        assert caller.recv(16) == b"bye", "our last word is passed on, and after it there is still an answer"
        assert caller.recv(16) == b""


def _is_nobody_and_survives_its_end(host: Host, port: int) -> None:
    caller, _ = _call(port)
    [pid] = _proxies(host, "four")
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    assert status["Uid"].split() == status["Gid"].split() == ["65534"] * 4 and not status["Groups"].strip()
    assert {status[f"Cap{which}"] for which in ("Eff", "Prm", "Inh", "Amb", "Bnd")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert re.search(r"Max data size +67108864 +67108864", Path(f"/proc/{pid}/limits").read_text())
    kinds = {os.readlink(f"/proc/{pid}/fd/{fd}").partition(":")[0] for fd in os.listdir(f"/proc/{pid}/fd")}
    assert kinds <= {"socket", "anon_inode", "/dev/null"}, "nothing of the shim's is left to it"
    os.kill(pid, signal.SIGKILL)
    with caller, contextlib.suppress(ConnectionResetError):
        assert caller.recv(1) == b"", "who talked to it is cut off"
    caller, _ = _call(port)
    with caller:
        assert _proxies(host, "four") not in ([], [pid]), "the next one has another"


def _goes_with_its_container(host: Host, inside: Inside, at: dict[str, int]) -> None:
    port = at["80/tcp"]
    refused = host.run("run", "-p", f"{port}:80", "base", "true", check=False).stderr
    assert f"port {port}/tcp is taken by container 'four'" in refused, "it is no stranger's"
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as stranger:
        taken = stranger.getsockname()[1]
        refused = host.run("run", "-p", f"{taken}:80", "base", "true", check=False).stderr
        assert f"port {taken}/tcp is taken by" in refused and f"(pid {os.getpid()})" in refused
        refused = host.run("run", "-p", f"[::1]:{taken}:80", "base", "true", check=False).stderr
        assert f"port {taken}/tcp is taken by" in refused
        host.run("run", "--rm", "-p", f"0.0.0.0:{taken}:80", "base", "true")
    caller, _ = _call(port)
    with caller:
        host.run("restart", "-t", "0", "four")
        assert caller.recv(1) == b"", "who talked to the one before is cut off"
    pid, again, _ = _facts(host, "four")
    assert again == at
    inside.serve(pid, 80, "::", socket.SOCK_STREAM)
    assert _seen(port)
    # its ports go to the next network, and then nowhere
    host.run("network", "connect", "six", "four")
    host.run("network", "disconnect", "bridge", "four")
    _, moved, network = _facts(host, "four")
    assert _seen(moved["80/tcp"]) == network["IPv6Gateway"]
    host.run("network", "disconnect", "six", "four")
    with pytest.raises(ConnectionRefusedError):
        _seen(moved["80/tcp"])
    host.run("network", "connect", "six", "four")
    _, moved, network = _facts(host, "four")
    assert _seen(moved["80/tcp"]) == network["IPv6Gateway"]
    caller, _ = _call(moved["80/tcp"])
    with caller:
        host.run("rm", "-f", "four")
        assert caller.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        _seen(moved["80/tcp"])


def test_an_address_of_the_host_for_a_container_without_ipv6(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    try:
        for name, addresses in (("host", ("fd99::1", "fd99::7")), ("out", ("fd99::2",))):
            for address in addresses:
                lab.ip(name, f"-6 address add {address}/64 dev up0 nodad")
        web = lab.container("web", "[fd99::1]:8080:80", "[::]:5300:53/udp", "8081:80")
        lab.serve("web", 80)
        lab.serve_udp("web", 53)
        proxy, _ = lab.begin("host", _serve, web, f"{lab.paths.run}/networks/ids/{web['id']}")
        try:
            deadline = time.monotonic() + PATIENCE
            while (seen := lab.ask("out", "fd99::1", 8080)) == "ConnectionRefusedError":
                assert time.monotonic() < deadline, "nobody listens"
            assert seen == web["gateway"]
            assert lab.ask("out", "fd99::7", 8080) == "ConnectionRefusedError", (
                "on the address that was asked for alone"
            )
            assert lab.ask("out", "fd99::1", 8081) == "ConnectionRefusedError", "all addresses are ::1, not the world"
            # from the address that was asked, or it is no answer to a connected socket
            assert lab.call("out", _knock, "fd99::7", 5300) == web["gateway"]
        finally:
            os.kill(proxy, signal.SIGKILL)
            os.waitpid(proxy, 0)
    finally:
        lab.close()


def test_who_has_taken_it_over_has_sockets_and_nothing_else() -> None:
    reading, writing = os.pipe()
    us = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            box = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            portproxy._confine({box.fileno(), reading, writing}, us)
            tries = (
                lambda: os.open("/etc/passwd", os.O_RDONLY),
                lambda: os.stat("/"),
                os.fork,
                lambda: os.execv("/bin/true", ["true"]),
                lambda: os.kill(us, 0),
                lambda: socket.socket(socket.AF_UNIX),
                lambda: os.read(reading, 1),
                lambda: bytearray(1 << 27),
            )
            for act in tries:
                with contextlib.suppress(PermissionError, MemoryError):
                    act()
                    os._exit(1)
            box.sendto(b"?", ("::1", 9))
            socket.socket(socket.AF_INET).setblocking(False)
            os._exit(0)
        finally:
            os._exit(2)
    os.close(writing)
    os.close(reading)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_an_internal_network_comes_through_no_door_and_others_do_as_ever(tmp_path: Path) -> None:
    """Over any address of the host: its gateway's, the link-local one, one that it was given a route to."""
    lab = Lab(tmp_path)
    try:
        lab.ip("host", "-6 address add fd99::1/64 dev up0 nodad")
        web = lab.container("web", "[::]:8080:80", "[::]:5300:53/udp", "8081:80")
        lab.serve("web", 80)
        lab.serve_udp("web", 53)
        proxy, _ = lab.begin("host", _serve, web, f"{lab.paths.run}/networks/ids/{web['id']}")
        try:
            lab.networks.create("open", ipv6=True)
            lab.networks.create("shut", ipv6=True, internal=True)
            lab.networks.create("plain", internal=True)
            for name in ("open", "shut", "plain"):
                there = lab.container(name, network=name)
                gateway6 = lab.networks.get(name).gateway6
                lab.call(name, _awake, gateway6)
                if gateway6:
                    lab.ip(name, f"-6 route replace default via {gateway6}")
                else:
                    lab.ip(name, "-6 route replace fd99::/64 dev eth0")
                near = _link_local(lab, str(there["bridge"]))
                assert bool(near) == bool(gateway6), "a bridge without IPv6 has no address of it"
                ways = ["fd99::1", *([gateway6, f"{near}%eth0"] if gateway6 else [])]
                reached = {way: lab.ask(name, way, 8080, timeout=2) for way in ways}
                if name == "open":
                    assert set(reached.values()) == {web["gateway"]}, "as through the kernel, which says"
                    assert lab.ask(name, str(there["gateway"]), 8081) == web["gateway"]
                    assert lab.call(name, _knock, gateway6, 5300) == web["gateway"]
                    continue
                assert all(said in ("TimeoutError", "OSError") for said in reached.values()), reached
                assert lab.ask(name, lab.networks.get(name).gateway, 8081, timeout=1) == "TimeoutError"
                if gateway6:
                    with pytest.raises(TimeoutError):
                        lab.call(name, _knock, gateway6, 5300, 1)
                    lab.serve(name, 80, "::")
                    inner = str(there["address6"]).partition("/")[0]
                    assert lab.ask("host", inner, 80) == gateway6, "its host reaches it as before"
        finally:
            os.kill(proxy, signal.SIGKILL)
            os.waitpid(proxy, 0)
    finally:
        lab.close()


def _awake(gateway6: str) -> None:
    """Wait until duplicate address detection is over (RFC 4862, 5.4)."""
    deadline = time.monotonic() + PATIENCE
    while gateway6 and not all(
        int(line.split()[4], 16) & 0x40 == 0 for line in Path("/proc/self/net/if_inet6").read_text().splitlines()
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _link_local(lab: Lab, bridge: str) -> str:
    lines = lab.ip("host", f"-6 -o address show dev {bridge} scope link").split()
    return lines[lines.index("inet6") + 1].partition("/")[0] if lines else ""


def _serve(attachment: dict[str, object], lease: str) -> None:
    sockets = doors.opened(attachment)
    portproxy.serve([one.detach() for one in sockets], lease, os.getppid())


def _knock(address: str, port: int, patience: float = PATIENCE) -> str:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asking:
        asking.settimeout(patience)
        asking.connect((address, port))
        asking.send(b"?")
        return asking.recv(2048).decode()


def test_more_callers_than_there_is_room_for_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portproxy, "LINGER", PATIENCE)
    server = socket.create_server(("127.0.0.1", 0))
    door = doors.listen("::1", 0, "tcp")
    proxy = portproxy.Proxy(Loop())
    proxy.room = 2
    proxy.open(door, [(socket.AF_INET, "127.0.0.1", server.getsockname()[1])])
    threading.Thread(target=lambda: [_echo_all(server) for _ in range(3)], daemon=True).start()
    turning = threading.Thread(target=lambda: [proxy.turn() for _ in iter(lambda: proxy.over, True)], daemon=True)
    turning.start()
    port = door.getsockname()[1]
    first, second = _call(port)[0], _call(port)[0]
    with socket.create_connection(("::1", port), timeout=PATIENCE) as third:
        third.settimeout(0.3)
        with pytest.raises(TimeoutError):
            third.recv(1)
        first.close()
        third.settimeout(PATIENCE)
        assert third.recv(9) == b"127.0.0.1", "one has left"
    monkeypatch.setattr(portproxy, "LINGER", 0.3)
    second.close()
    turning.join(PATIENCE)
    assert proxy.over, "it goes when nobody has come for a while"
    server.close()


def _echo_all(server: socket.socket) -> None:
    threading.Thread(target=_echo, args=server.accept(), daemon=True).start()
