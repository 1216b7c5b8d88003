"""A network laboratory: a namespace that plays the host, one that plays the outside world, one per container.

    outside 198.51.100.2 ──── host 198.51.100.1 ── bridge ── containers
                              (default route, nothing of the real machine's firewall)

Everything runs in forked children that entered a namespace, so the real code sees the laboratory as its host.
"""

from __future__ import annotations

import os
import pickle
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyctr.core import netns, parse
from pyctr.core.linux import namespaces
from pyctr.core.networks import Networks
from pyctr.core.paths import Paths
from pyctr.core.spec import ContainerSpec

HOST = "198.51.100.1"
OUTSIDE = "198.51.100.2"


class Lab:
    """Namespaces "host" and "out" joined by a veth, and a pyctr whose host is "host"."""

    def __init__(self, base: Path) -> None:
        self.prefix = "pt-" + secrets.token_hex(3)
        self.bridge = self.prefix.replace("-", "")
        self.paths = Paths(root=f"{base}/r", run=f"{base}/v", bridge=self.bridge)
        os.makedirs(self.paths.containers)
        self.networks = Networks(self.paths)
        self._spaces: list[str] = []
        self._children: list[int] = []
        for name in ("host", "out"):
            self.space(name)
        self.ip("out", f"link add up0 type veth peer name up0 netns {self.prefix}-host")
        for name, address in (("host", HOST), ("out", OUTSIDE)):
            self.ip(name, "link set lo up")
            self.ip(name, f"address add {address}/24 dev up0")
            self.ip(name, "link set up0 up")
        self.ip("host", f"route add default via {OUTSIDE}")

    def space(self, name: str) -> None:
        subprocess.run(["ip", "netns", "add", f"{self.prefix}-{name}"], check=True)
        self._spaces.append(name)

    def ip(self, space: str, words: str) -> str:
        return self.command(space, "ip", *words.split())

    def command(self, space: str, *words: str) -> str:
        """Run a program in a namespace; its output. Fails with what it said."""
        done = subprocess.run(
            ["ip", "netns", "exec", f"{self.prefix}-{space}", *words], capture_output=True, text=True, timeout=30
        )
        if done.returncode:
            raise AssertionError(f"{' '.join(words)}: {done.stderr}")
        return done.stdout

    def _enter(self, space: str) -> None:
        fd = os.open(f"/run/netns/{self.prefix}-{space}", os.O_RDONLY)
        namespaces.setns(fd, namespaces.FLAGS["network"])
        os.close(fd)

    def begin(self, space: str, function: Callable[..., Any], *arguments: Any) -> tuple[int, int]:
        """Call a function in a forked child inside a namespace; (pid, descriptor with the pickled outcome)."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(reading)
                self._enter(space)
                outcome: tuple[bool, Any] = (True, function(*arguments))
            except BaseException as error:
                outcome = (False, error)
            try:
                os.write(writing, pickle.dumps(outcome))
            finally:
                os._exit(0)
        os.close(writing)
        return pid, reading

    def finish(self, begun: tuple[int, int]) -> Any:
        """The result of `begin`; an exception of the child is raised here."""
        pid, reading = begun
        with os.fdopen(reading, "rb") as file:
            content = file.read()
        os.waitpid(pid, 0)
        good, value = pickle.loads(content)
        if not good:
            raise value
        return value

    def call(self, space: str, function: Callable[..., Any], *arguments: Any) -> Any:
        return self.finish(self.begin(space, function, *arguments))

    def serve(self, space: str, port: int, address: str = "0.0.0.0") -> int:
        """A TCP server that tells every caller the address it sees; returns its pid when it listens."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                self._enter(space)
                listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((address, port))
                listener.listen(64)
                os.write(writing, b"1")
                while True:
                    connection, peer = listener.accept()
                    connection.sendall(peer[0].encode())
                    connection.close()
            finally:
                os._exit(1)
        os.close(writing)
        self._children.append(pid)
        assert os.read(reading, 1) == b"1", f"no server on {address}:{port} in {space}"
        os.close(reading)
        return pid

    def serve_udp(self, space: str, port: int) -> None:
        """A UDP server that tells every caller the address it sees, from the address that was asked."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                self._enter(space)
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
                    server.bind(("0.0.0.0", port))
                    os.write(writing, b"1")
                    while True:
                        _, peer = server.recvfrom(2048)
                        server.sendto(peer[0].encode(), peer)
            finally:
                os._exit(1)
        os.close(writing)
        self._children.append(pid)
        assert os.read(reading, 1) == b"1", f"no server on {port} in {space}"
        os.close(reading)

    def ask_udp(self, space: str, address: str, port: int, timeout: float = 5) -> str:
        """What a `serve_udp` says, or the class of the failure."""

        def question() -> str:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
                asking.settimeout(timeout)
                try:
                    # connected: an answer from another address than the one asked would be no answer
                    asking.connect((address, port))
                    asking.send(b"?")
                    return asking.recv(2048).decode()
                except OSError as error:
                    return type(error).__name__

        return str(self.call(space, question))

    def ask(self, space: str, address: str, port: int, timeout: float = 5) -> str:
        """Connect from a namespace to a `serve`: the address it saw us with, or the class of the failure."""

        def connect() -> str:
            try:
                with socket.create_connection((address, port), timeout=timeout) as connection:
                    return connection.makefile("rb").read().decode()
            except OSError as error:
                return type(error).__name__

        return str(self.call(space, connect))

    def spec(self, *ports: str, **fields: Any) -> ContainerSpec:
        """A container that publishes "8080:80", "127.0.0.1:8080:80", "[fd99::1]:53:53/udp" or "7000-7002:70-72"."""
        parsed = [port for text in ports for port in parse.ports(text)]
        return ContainerSpec(image="none", ports=parsed, **fields)

    def attach(self, name: str, *ports: str, id: str = "", **fields: Any) -> dict[str, Any]:
        """A lease and published ports for a container with a directory, without a link."""
        id = id or secrets.token_hex(32)
        spec = self.spec(*ports, **fields)
        os.makedirs(self.paths.container(id), exist_ok=True)

        def attach() -> dict[str, Any]:
            attachment = self.networks.attach(id, name, spec)
            self.networks.write_etc(id, attachment, spec, name)
            self.networks.publish(attachment)
            return attachment

        attachment: dict[str, Any] = self.call("host", attach)
        return attachment

    def container(self, name: str, *ports: str, **fields: Any) -> dict[str, Any]:
        """Like `attach`, with a namespace called `name` linked to it."""
        attachment = self.attach(name, *ports, **fields)
        self.space(name)
        self.link(name, attachment)
        return attachment

    def link(self, name: str, attachment: dict[str, Any]) -> str:
        fd = os.open(f"/run/netns/{self.prefix}-{name}", os.O_RDONLY)
        try:
            made = str(self.call("host", lambda: netns.host_side(attachment, netns=fd)))
        finally:
            os.close(fd)
        self.call(name, netns.inside, attachment)
        return made

    def remove(self, attachment: dict[str, Any]) -> None:
        """What a removal does to the network."""
        self.call("host", self.networks.release, attachment["id"])
        shutil.rmtree(self.paths.container(attachment["id"]))

    def host_state(self) -> str:
        """Rules of both kinds and addresses of the host, without counters, without the links of dying containers."""
        legacy = ""
        if "filter" in Path(f"/run/netns/{self.prefix}-host").name + self.command(
            "host", "cat", "/proc/net/ip_tables_names"
        ):
            legacy = self.command("host", "iptables-legacy", "-S")
        return "\n".join(
            (
                self.command("host", "nft", "--stateless", "list", "ruleset"),
                legacy,
                self.ip("host", "-4 -o address"),
                self.command("host", "cat", "/proc/sys/net/ipv4/ip_forward"),
            )
        )

    def close(self) -> None:
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for name in self._spaces:
            subprocess.run(["ip", "netns", "delete", f"{self.prefix}-{name}"], check=True)
