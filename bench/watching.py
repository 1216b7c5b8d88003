"""What looking on costs: processor time of the tools that watch containers, with the daemons they ask.

Each has the same number of containers of its own and a terminal, one after the other. Counted are the clock ticks of a
tool, of all it starts, and of the daemon that answers it with its shims (proc_pid_stat(5)), so that other load on the
machine changes little.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .ours import Pyctr
from .peers import Docker
from .screen import Screen

COUNT = 20
WARM = 5.0
"""Seconds until a tool does only what it does all the time."""
SECONDS = 30.0
OTHERS = (["systemd-cgtop", "-b", "-d", "1", "-n", "0"], ["atop", "1"])
TICK = os.sysconf("SC_CLK_TCK")


def rows(pyctr: Pyctr, docker: Docker | None) -> Iterator[tuple[str, str]]:
    tools = Path(sys.executable).parent
    for number in range(COUNT):
        pyctr.call("run", "-d", "--network", "none", "--name", f"still-{number}", "localhost/base", "sleep", "3600")
        if docker is not None:
            words = [*docker.base, "run", "-d", "--network", "none", "bench", "/bin/sleep", "3600"]
            subprocess.run(words, check=True, capture_output=True)
    env = {**pyctr.env, "PYCTR_ENGINES": "pyctr"}
    pyctr.settle()
    ours = [pid for pid, name in pyctr.processes().items() if name in ("pyctr-shim", "pyctr-steward")]
    told = [
        f"**`pyctr stats` {_watched([str(tools / 'pyctr'), 'stats'], env, []):.2f} s**",
        f"**`pyctr-tui` {_watched([str(tools / 'pyctr-tui')], env, []):.2f} s**",
    ]
    still = [f"pyctr's steward and {COUNT} shims {_spent_by(ours):.2f} s"]
    if docker is not None:
        base, behind = " ".join(docker.base), _behind(docker)
        again = f"while :; do {base} ps; {base} stats --no-stream; sleep 1; done"
        told.append(f"`docker stats` {_watched([*docker.base, 'stats'], env, behind):.2f} s")
        told.append(
            f"`docker ps; docker stats --no-stream` every second {_watched(['sh', '-c', again], env, behind):.2f} s"
        )
        still.append(f"docker's daemon and shims {_spent_by(behind):.2f} s")
    others = [words for words in OTHERS if shutil.which(words[0])]
    told += [f"`{' '.join(words)}` {_watched(words, env, []):.2f} s" for words in others]
    yield f"processor time of a minute of watching, {COUNT} idle containers", ", ".join(told)
    yield "the same while nobody watches", ", ".join(still)


def _watched(words: list[str], env: dict[str, str], behind: list[int]) -> float:
    """Seconds of processor time per minute of a tool in a terminal, and of the daemons behind it."""
    shown = Screen(words, env)
    try:
        shown.watch(WARM)
        if not shown.count:
            raise RuntimeError(f"{words[0]} shows nothing")
        before, began = _ticks([*_tree(shown.pid), *behind]), time.monotonic()
        shown.watch(SECONDS)
        used, took = _ticks([*_tree(shown.pid), *behind]) - before, time.monotonic() - began
    finally:
        shown.close()
    return used / TICK / took * 60


def _spent_by(pids: list[int]) -> float:
    before, began = _ticks(pids), time.monotonic()
    time.sleep(SECONDS)
    return (_ticks(pids) - before) / TICK / (time.monotonic() - began) * 60


def _behind(docker: Docker) -> list[int]:
    """dockerd, its containerd, and the shims, which have left them but know the same directory."""
    work = str(Path(docker.socket.removeprefix("unix://")).parent)
    found = _tree(docker.daemon.pid)
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in found:
            try:
                words = Path(f"/proc/{name}/cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue  # ended meanwhile
            if "containerd-shim" in words[0] and any(word.startswith(work) for word in words):
                found.append(int(name))
    return found


def _tree(top: int) -> list[int]:
    """A process and its descendants."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat(int(name))):
            parents[int(name)] = int(fields[1])
    found = [top]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def _ticks(pids: list[int]) -> int:
    """Of the living, with the children that they have waited for."""
    return sum(sum(map(int, fields[11:15])) for pid in pids if (fields := _stat(pid)))


def _stat(pid: int) -> list[str]:
    """/proc/PID/stat from the state on; nothing of one that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
