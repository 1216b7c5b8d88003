"""What runs in the container, as the host sees it: its own pid beside the host's, share of a core, memory, storage."""

from __future__ import annotations

from pyctr.core import heaviest, processtree
from pyctr.core.processtree import STATES
from pyctr.core.processtree import Process as Process
from pyctr.core.processtree import Processes as Processes
from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.tui.format import Line
    from pyctr.tui.snapshot import ContainerRow, Snapshot
    from pyctr.tui.table import Look


def collect(engine: Engine, container: Container, before: object) -> object:
    pids = engine.group(container.state.group).pids()
    last = before if isinstance(before, Processes) else None
    return processtree.read(pids, engine.paths.proc, engine.monotonic(), last)


def render(document: object, row: ContainerRow, snapshot: Snapshot, width: int, height: int, look: Look) -> list[Line]:
    from pyctr.tui.details import table

    if isinstance(document, heaviest.Seen):
        return _seen(document, snapshot.time, width)
    if not isinstance(document, Processes) or not document.rows:
        return [(("nothing runs in it", "faint"),)]
    wide = width >= 90
    storage = wide and any(process.read is not None for process in document.rows)
    waits = width >= 110 and any(process.waits for process in document.rows)
    headings = [("PID", 5, "right"), ("HOST", 7, "right"), ("CPU%", 5, "right"), ("MEM", 5, "right")]
    if wide:
        headings += [("USER", 6, "right"), ("THR", 4, "right")]
    if storage:
        headings += [("READ/s", 6, "right"), ("WRITE/s", 7, "right")]
    headings += [("STATE", 8 if not wide else 14, "left")]
    headings += [("WAITS IN", 18, "left")] if waits else []
    headings.append(("COMMAND", 0, "left"))
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
        if storage:
            cells += [(f.size(process.read_rate), "text"), (f.size(process.written_rate), "text")]
        style = {"R": "good", "D": "warn", "Z": "bad"}.get(process.state, "muted")
        cells.append((STATES.get(process.state, process.state), style))
        if waits:
            cells.append((f.neutral(process.waits), "warn" if process.state == "D" else "faint"))
        cells.append((f.neutral(processtree.shown(process)), "warn" if process.state == "D" else "text"))
        lines.append(cells)
    out = table(headings, lines, width)
    if document.total > len(document.rows):
        out.append(((f"and {document.total - len(document.rows)} more", "warn"),))
    return out


def _seen(seen: heaviest.Seen, now: float, width: int) -> list[Line]:
    """What was recorded of them, and when: names alone, and the host's pids."""
    from pyctr.tui.details import table

    ago = f.duration(now - seen.time)
    many = f"the {len(seen.rows)} heaviest of {seen.total}" if seen.total > len(seen.rows) else f"all {seen.total}"
    if not seen.rows:
        many = f"there were {seen.total}, too many to look at"
    said = f"seen at {f.clock(seen.time)}" + (f", {ago} before" if now - seen.time >= 1 else "") + f": {many}"
    lines: list[Line] = [((f.cut(said, width), "warn"),)]
    if not seen.rows:
        return lines
    wide = width >= 60
    headings = [("HOST", 7, "right"), ("CPU%", 5, "right"), ("CPU", 8, "right"), ("MEM", 5, "right")]
    headings += [("THR", 4, "right")] if wide else []
    headings += [("STATE", 14 if wide else 8, "left"), ("COMMAND", 0, "left")]
    depths: dict[int, int] = {}
    cells = []
    for one in seen.rows:
        depths[one.pid] = depths.get(one.parent, -1) + 1
        style = {"R": "good", "D": "warn", "Z": "bad"}.get(one.state, "muted")
        cells.append(
            [
                (str(one.pid), "strong" if one.pid == seen.first else "faint"),
                (f.percent(one.cpu), "text"),
                (f.duration(one.cpu_ms / 1000), "muted"),
                (f.size(one.memory), "text"),
                *([(str(one.threads), "muted")] if wide else []),
                (STATES.get(one.state, one.state), style),
                ("  " * min(depths[one.pid], 12) + f.neutral(one.name), "warn" if one.state == "D" else "text"),
            ]
        )
    return lines + table(headings, cells, width)
