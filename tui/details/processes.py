"""What runs in the container, as the host sees it: its own pid beside the host's, share of a core, memory, storage."""

from __future__ import annotations

from pyctr.core import processtree
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
