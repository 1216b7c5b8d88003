"""TCP from one container to its neighbour on the same bridge, beside the bridges of other engines.

The two ends are ours, forked into the network namespaces of two containers that sleep, so that nothing but the way
between them differs. Every round runs each contender once: half a second of one stream, then round trips of one byte.
"""

from __future__ import annotations

import os
import pickle
import random
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

from pyctr.core.linux import namespaces

from .ours import Pyctr
from .peers import Docker, Podman

PORT, CHUNK = 5201, 1 << 17
SECONDS, TRIPS = 0.5, 1000


class Pair:
    """The network namespaces of two containers by their first processes, and the address of the second."""

    def __init__(self, start: Callable[[str], list[str]], inspect: Callable[[str, str], str]) -> None:
        self.pids = []
        for name in ("traffic-a", "traffic-b"):
            subprocess.run(start(name), check=True, capture_output=True)
            self.pids.append(int(inspect(name, "{{.State.Pid}}")))
        self.address = inspect("traffic-b", "{{.NetworkSettings.IPAddress}}")

    def measure(self) -> tuple[float, float]:
        """(bytes per second, seconds of one round trip)."""
        ready, told = os.pipe()
        serving = _begin(self.pids[1], _serve, self.address, told)
        os.close(told)
        os.read(ready, 1)
        os.close(ready)
        trip = _end(_begin(self.pids[0], _call, self.address))
        return _end(serving), trip


def _begin(pid: int, function: Callable[..., Any], *arguments: Any) -> tuple[int, int]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
            namespaces.setns(there, namespaces.FLAGS["network"])
            os.write(writing, pickle.dumps(function(*arguments)))
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    return child, reading


def _end(begun: tuple[int, int]) -> Any:
    with os.fdopen(begun[1], "rb") as file:
        content = file.read()
    os.waitpid(begun[0], 0)
    if not content:
        raise RuntimeError("one end of the connection failed")
    return pickle.loads(content)


def _serve(address: str, told: int) -> float:
    with socket.create_server((address, PORT)) as listener:
        listener.settimeout(30)
        os.write(told, b"1")
        connection = listener.accept()[0]
        with connection:
            connection.settimeout(30)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(TRIPS):
                connection.send(connection.recv(1))
            buffer, count, began = bytearray(CHUNK), 0, 0.0
            while got := connection.recv_into(buffer):
                began = began or time.perf_counter()
                count += got
            return count / (time.perf_counter() - began)


def _call(address: str) -> float:
    with socket.create_connection((address, PORT), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        taken = []
        for _ in range(TRIPS):
            began = time.perf_counter()
            connection.send(b"?")
            connection.recv(1)
            taken.append(time.perf_counter() - began)
        chunk, until = bytes(CHUNK), time.perf_counter() + SECONDS
        while time.perf_counter() < until:
            connection.sendall(chunk)
        return statistics.median(taken)


def rows(pyctr: Pyctr, peers: dict[str, Podman | Docker], rounds: int) -> Iterator[tuple[str, str]]:
    def ours(name: str) -> list[str]:
        return [pyctr.script, "run", "-d", "--name", name, "localhost/base", "sleep", "600"]

    os.environ.update(pyctr.env)
    pairs = {"pyctr": Pair(ours, lambda name, what: pyctr.call("inspect", "-f", what, name).strip())}
    for name, peer in peers.items():
        pairs[name] = Pair(peer.sleeping, peer.inspect)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in pairs}
    order, turns = list(pairs), random.Random(1)
    for number in range(rounds + 1):
        turns.shuffle(order)
        for name in order:
            measured = pairs[name].measure()
            if number:
                found[name].append(measured)
    rates = {name: statistics.median(rate for rate, _ in values) for name, values in found.items()}
    trips = {name: statistics.median(trip for _, trip in values) for name, values in found.items()}
    yield (
        "one TCP stream from container to container over the bridge",
        _listed({name: (f"{8 * rate / 1e9:.1f} Gbit/s", rate / rates["pyctr"]) for name, rate in rates.items()}),
    )
    yield (
        "round trip of one byte, the same way",
        _listed({name: (f"{1e6 * trip:.0f} us", trip / trips["pyctr"]) for name, trip in trips.items()}),
    )
    pyctr.call("rm", "-f", "traffic-a", "traffic-b")


def _listed(values: dict[str, tuple[str, float]]) -> str:
    mine = values.pop("pyctr")[0]
    return ", ".join(
        [f"**pyctr {mine}**", *(f"{name} {text} ({ratio:.2f}x)" for name, (text, ratio) in values.items())]
    )
