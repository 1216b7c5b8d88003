"""What its processes have open: deleted files that still take space first, then the others, sockets with addresses."""

from __future__ import annotations

from pyctr.core import openfiles
from pyctr.core.openfiles import OpenFiles
from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.core.openfiles import OpenFile
    from pyctr.tui.format import Line
    from pyctr.tui.snapshot import ContainerRow, Snapshot
    from pyctr.tui.table import Look

LOOKED_AT = 4096
"""Descriptors: a look must not take longer than anybody waits."""


def collect(engine: Engine, container: Container, before: object) -> object:
    if not container.pid or not container.state.group:
        return None
    return openfiles.read(engine.group(container.state.group).pids(), engine.paths.proc, limit=LOOKED_AT)


def render(document: object, row: ContainerRow, snapshot: Snapshot, width: int, height: int, look: Look) -> list[Line]:
    from pyctr.tui.details import table

    if not isinstance(document, OpenFiles):
        return [(("there is nothing to look at while it does not run", "faint"),)]
    lines = [summary(document, width)]
    if document.files:
        wide = width >= 90
        headings = [("KIND", 9, "left"), ("SIZE", 5, "right"), ("PROCS", 5, "right")]
        headings += [("MODE", 4, "left"), ("PID", 8, "right")] if wide else []
        lines += [(), *table([*headings, ("OPEN", 0, "left")], [_cells(file, wide) for file in document.files], width)]
    return lines


def summary(document: OpenFiles, width: int) -> Line:
    """`2 deleted files hold 412M   31 open, of 4 processes   900 descriptors left out`"""
    spans: list[tuple[str, str]] = []
    if number := len(document.deleted):
        words = "deleted file holds" if number == 1 else "deleted files hold"
        spans += [(f"{number} {words} {f.size(document.held)}", "warn"), ("   ", "text")]
    whose = f"{document.processes} {'process' if document.processes == 1 else 'processes'}"
    spans.append((f"{f.count(len(document.files))} open, of {whose}", "muted"))
    if document.left_out:
        spans.append((f"   {f.count(document.left_out)} descriptors left out", "warn"))
    if document.passed_over:
        spans.append((f"   {f.count(document.passed_over)} processes left out", "warn"))
    if document.unreadable:
        spans.append((f"   {f.count(document.unreadable)} processes cannot be looked at", "warn"))
    return f.fit_line(spans, width)


def _cells(file: OpenFile, wide: bool) -> list[tuple[str, str]]:
    style = {openfiles.FILE: "text", openfiles.SOCKET: "accent"}.get(file.kind, "muted")
    cells = [
        ("deleted" if file.deleted else file.kind, "warn" if file.deleted else "muted"),
        (f.size(file.held if file.deleted else file.size), "text"),
        (str(file.processes), "muted"),
    ]
    if wide:
        more = "+" if file.processes > 1 else ""
        cells += [(file.mode, "faint"), (f"{file.pids[0]}{more}", "faint")]
    return [*cells, (f.neutral(file.path), "warn" if file.deleted else style)]
