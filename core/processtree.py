"""The processes of a container as a tree: what each does, what it waits for, what it uses.

Sources: proc_pid_stat(5), proc_pid_status(5), proc_pid_io(5), proc_pid_wchan(5). Names and arguments come from inside:
faces neutralise them. What cannot be read (not ours, a kernel without it, a recording) is None or empty.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from pyctr.core.linux import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MOST = 500
"""A fork bomb must not take the viewer with it."""
STATES = {
    "R": "runs", "S": "sleeps", "D": "waits for disk", "T": "stopped", "t": "traced", "Z": "zombie", "I": "idle",
}  # fmt: skip
_SHORTEST = 0.2
"""Seconds between two looks below which a rate would be noise."""


class Process(NamedTuple):
    pid: int
    inside: int
    """Its pid in the container."""
    parent: int
    user: str
    state: str
    threads: int
    memory: int
    ticks: int
    cpu: float | None
    """Per cent of one core since the look before."""
    command: str
    waits: str
    """The kernel function it sleeps in; empty where that is not known."""
    read: int | None
    written: int | None
    """Bytes that it had the storage read and write, since it began."""
    read_rate: float | None
    written_rate: float | None
    """Bytes per second since the look before."""
    start_time: int
    """With the pid it tells a process from a later one."""
    depth: int
    """In the tree."""


class Processes(NamedTuple):
    taken: float
    """Seconds by the clock of the looks, for rates."""
    rows: tuple[Process, ...]
    total: int


def read(pids: Iterable[int], proc: str, now: float, before: Processes | None = None) -> Processes:
    """Children below their parents; at most MOST of them. Rates are since `before`."""
    asked = sorted(pids)
    old = {(row.pid, row.start_time): row for row in before.rows} if before is not None else {}
    interval = now - before.taken if before is not None else 0.0
    rows = []
    for pid in asked[:MOST]:
        try:
            row = _process(proc, pid)
        except (OSError, ValueError, IndexError):
            continue  # it ended while we looked
        last = old.get((row.pid, row.start_time))
        rows.append(_rated(row, last, interval) if last is not None and interval > _SHORTEST else row)
    return Processes(now, tuple(_as_tree(rows)), len(asked))


def _process(proc: str, pid: int) -> Process:
    found = procfs.stat(pid, proc)
    status = procfs.status(pid, proc)
    command = " ".join(_text(f"{proc}/{pid}/cmdline").replace("\0", " ").split())
    storage = _storage(f"{proc}/{pid}/io")
    return Process(
        pid=pid,
        inside=int(status.get("NSpid", str(pid)).split()[-1]),
        parent=found.ppid,
        user=status.get("Uid", "?").split()[0],
        state=found.state,
        threads=found.threads,
        memory=int(status.get("VmRSS", "0 kB").split()[0]) * 1024,
        ticks=found.utime + found.stime,
        cpu=None,
        command=command or f"[{found.comm}]",
        waits=_text(f"{proc}/{pid}/wchan").strip().removeprefix("0"),
        read=storage.get("read_bytes"),
        written=storage.get("write_bytes"),
        read_rate=None,
        written_rate=None,
        start_time=found.start_time,
        depth=0,
    )


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""  # not ours to look at, or not in this kernel: the rest is worth showing


def _storage(path: str) -> dict[str, int]:
    found = {}
    for line in _text(path).splitlines():
        key, _, value = line.partition(":")
        found[key] = int(value)
    return found


def _rated(row: Process, last: Process, interval: float) -> Process:
    return row._replace(
        cpu=max(0, row.ticks - last.ticks) * 100 / os.sysconf("SC_CLK_TCK") / interval,
        read_rate=_rate(row.read, last.read, interval),
        written_rate=_rate(row.written, last.written, interval),
    )


def _rate(now: int | None, before: int | None, interval: float) -> float | None:
    return None if now is None or before is None else max(0, now - before) / interval


def _as_tree(rows: list[Process]) -> list[Process]:
    known = {row.pid for row in rows}
    children: dict[int, list[Process]] = {}
    for row in rows:
        children.setdefault(row.parent if row.parent in known else 0, []).append(row)
    out = []
    waiting = [(row, 0) for row in reversed(children.get(0, []))]
    while waiting:
        row, depth = waiting.pop()
        out.append(row._replace(depth=depth))
        waiting.extend((child, depth + 1) for child in reversed(children.get(row.pid, [])))
    return out


def shown(process: Process) -> str:
    """The command, indented as deep as it is in the tree."""
    return "  " * min(process.depth, 12) + process.command
