"""The networks screen over real containers on one bridge, every one of them sent something ten times a second.

A frame is one look at the kernel's counters and one drawing; a key is counted from its press to the bytes on the
terminal that show the cursor elsewhere.
"""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .ours import Pyctr
from .screen import Screen

COUNTS = (60, 100)
WIDTH = 120
KEYS = 20


def rows(pyctr: Pyctr) -> Iterator[tuple[str, str]]:
    pyctr.call("network", "create", "rails")
    made = 0
    try:
        for count in COUNTS:
            for number in range(made, count):
                name = f"rail-{number:03d}"
                pyctr.call("run", "-d", "--name", name, "--network", "rails", "localhost/base", "sleep", "600")
            made = count
            yield from _measured(pyctr, count)
    finally:
        pyctr.close()
        pyctr.call("network", "rm", "rails")


def _measured(pyctr: Pyctr, count: int) -> Iterator[tuple[str, str]]:
    addresses = pyctr.call("network", "inspect", "-f", _ADDRESSES, "rails").split()
    assert len(addresses) == count, addresses
    talking = os.fork()
    if talking == 0:
        _talk([address.partition("/")[0] for address in addresses])
    try:
        code = f"from bench import rails; print(rails.frame({WIDTH}))"
        done = subprocess.run([sys.executable, "-c", code], env=pyctr.env, capture_output=True, text=True, check=True)
        yield f"TUI: a frame of the network graph, {count} containers", f"median {float(done.stdout) * 1e3:.1f} ms"
        shown = Screen([str(Path(sys.executable).parent / "pyctr-tui")], pyctr.env)
        shown.until(b"rail-", 20)
        os.write(shown.fd, b"3")
        shown.until(b"NAT", 20)
        shown.watch(5)
        cpu, rate = shown.watch(10)
        key = statistics.median(_key(shown, number) for number in range(KEYS))
        shown.close()
        yield (
            f"TUI: networks screen, {count} containers with live rates",
            f"{cpu * 100:.1f} % of a core, {rate / 1000:.1f} kB/s, a key is seen after {key * 1e3:.0f} ms",
        )
    finally:
        os.kill(talking, signal.SIGKILL)
        os.waitpid(talking, 0)


_ADDRESSES = "{{range .Containers}}{{.IPv4Address}} {{end}}"


def _talk(addresses: list[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        while True:
            for number, address in enumerate(addresses):
                sender.sendto(bytes(100 + 7 * number), (address, 9))
            time.sleep(0.1)


def _key(shown: Screen, number: int) -> float:
    """Between two of the screen's own turns: right, then left again."""
    shown.watch(0.3)
    before, began = shown.count, time.perf_counter()
    os.write(shown.fd, b"h" if number % 2 else b"l")
    while shown.count == before:
        shown.read(5)
        if time.perf_counter() - began > 5:
            raise RuntimeError("the screen shows nothing of a key")
    return time.perf_counter() - began


def frame(width: int, rounds: int = 30) -> float:
    """Median seconds of a look and a drawing, in this process."""
    from pyctr.core import containers, netgraph
    from pyctr.core.engine import Engine
    from pyctr.tui import format as f
    from pyctr.tui import rails
    from pyctr.tui.sources.networks import Rails
    from pyctr.tui.table import Look

    engine, look = Engine(), Look(f.Glyphs())
    known = containers.all(engine)
    statuses = {container.id: container.status for container in known}  # the screen has them from its other looks
    before, taken = netgraph.graph(engine, known, statuses), []
    for _ in range(rounds):
        began = time.perf_counter()
        now = netgraph.graph(engine, known, statuses)
        talked = {node.id: now.taken for node in now.nodes}
        rails.layout(Rails(now, netgraph.flows(before, now), talked), width, look)
        taken.append(time.perf_counter() - began)
        before = now
        time.sleep(0.05)  # the counters move
    return statistics.median(taken)
