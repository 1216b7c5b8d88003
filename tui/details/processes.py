"""What runs in the container, as the host sees it: its own pid beside the host's, share of a core, memory."""

from __future__ import annotations

import os
from typing import NamedTuple

from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.tui.format import Line
    from pyctr.tui.snapshot import ContainerRow, Snapshot
    from pyctr.tui.table import Look

MOST = 500
"""A fork bomb must not take the viewer with it."""
STATES = {"R": "runs", "S": "sleeps", "D": "waits for disk", "T": "stopped", "t": "traced", "Z": "zombie", "I": "idle"}


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
    command: str


class Processes(NamedTuple):
    taken: float
    """`Engine.monotonic()` of the look, for rates."""
    rows: tuple[Process, ...]
    total: int


def collect(engine: Engine, container: Container, before: object) -> object:
    proc = engine.paths.proc
    now = engine.monotonic()
    old = {row.pid: row for row in before.rows} if isinstance(before, Processes) else {}
    interval = now - before.taken if isinstance(before, Processes) else 0.0
    pids = sorted(engine.group(container.state.group).pids())
    rows = []
    for pid in pids[:MOST]:
        try:
            rows.append(_read(proc, pid, old.get(pid), interval))
        except (OSError, ValueError, IndexError):
            continue  # it ended while we looked
    return Processes(now, tuple(_as_tree(rows)), len(pids))


def _read(proc: str, pid: int, old: Process | None, interval: float) -> Process:
    with open(f"{proc}/{pid}/stat", "rb") as file:
        stat = file.read().decode("utf-8", "replace")
    name = stat[stat.index("(") + 1 : stat.rindex(")")]
    words = stat[stat.rindex(")") + 2 :].split()
    ticks = int(words[11]) + int(words[12])
    status = {}
    with open(f"{proc}/{pid}/status", "rb") as file:
        for line in file.read().decode("utf-8", "replace").splitlines():
            key, _, value = line.partition(":")
            status[key] = value.strip()
    try:
        with open(f"{proc}/{pid}/cmdline", "rb") as file:
            command = " ".join(file.read().decode("utf-8", "replace").replace("\0", " ").split())
    except OSError:
        command = ""
    cpu = None
    if old is not None and interval > 0.2:
        cpu = max(0, ticks - old.ticks) * 100 / os.sysconf("SC_CLK_TCK") / interval
    return Process(
        pid=pid,
        inside=int(status.get("NSpid", str(pid)).split()[-1]),
        parent=int(words[1]),
        user=status.get("Uid", "?").split()[0],
        state=words[0],
        threads=int(words[17]),
        memory=int(status.get("VmRSS", "0 kB").split()[0]) * 1024,
        ticks=ticks,
        cpu=cpu,
        command=command or f"[{name}]",
    )


def _as_tree(rows: list[Process]) -> list[Process]:
    """Children below their parents; the command is indented to show it."""
    known = {row.pid for row in rows}
    children: dict[int, list[Process]] = {}
    for row in rows:
        children.setdefault(row.parent if row.parent in known else 0, []).append(row)
    out = []
    waiting = [(row, 0) for row in reversed(children.get(0, []))]
    while waiting:
        row, depth = waiting.pop()
        out.append(row._replace(command="  " * min(depth, 12) + row.command))
        waiting.extend((child, depth + 1) for child in reversed(children.get(row.pid, [])))
    return out


def render(document: object, row: ContainerRow, snapshot: Snapshot, width: int, height: int, look: Look) -> list[Line]:
    from pyctr.tui.details import table

    if not isinstance(document, Processes) or not document.rows:
        return [(("nothing runs in it", "faint"),)]
    wide = width >= 90
    headings = [("PID", 5, "right"), ("HOST", 7, "right"), ("CPU%", 5, "right"), ("MEM", 5, "right")]
    if wide:
        headings += [("USER", 6, "right"), ("THR", 4, "right")]
    headings += [("STATE", 8 if not wide else 14, "left"), ("COMMAND", 0, "left")]
    lines = []
    for process in document.rows:
        cells = [
            (str(process.inside), "strong"),
            (str(process.pid), "faint"),
            (f.percent(process.cpu), "text"),
            (f.size(process.memory), "text"),
        ]
        if wide:
            cells += [(process.user, "muted"), (str(process.threads), "muted")]
        style = {"R": "good", "D": "warn", "Z": "bad"}.get(process.state, "muted")
        cells += [(STATES.get(process.state, process.state), style), (f.neutral(process.command), "text")]
        lines.append(cells)
    out = table(headings, lines, width)
    if document.total > len(document.rows):
        out.append(((f"and {document.total - len(document.rows)} more", "warn"),))
    return out
