"""The tab Processes: what a process waits in and what it reads and writes, where that is known and there is room."""

from __future__ import annotations

from pyctr.core.processtree import Process, Processes
from pyctr.tui.details import processes
from pyctr.tui.format import Glyphs
from pyctr.tui.snapshot import ContainerRow, Snapshot
from pyctr.tui.table import Look

STUCK = Process(
    4711, 7, 1, "0", "D", 3, 1 << 20, 5, 0.0, "db\x1b[31m", "io_schedule", 1 << 30, 0, 2.0 * (1 << 20), 0.0, 99, 1
)


def shown(process: Process, columns: int) -> str:
    document = Processes(1.0, (process,), 1)
    row = ContainerRow("i", "web", "running")
    lines = processes.render(document, row, Snapshot(), columns, 40, Look(Glyphs()))
    return "\n".join("".join(text for text, _ in line) for line in lines)


def test_one_that_hangs_on_a_disk_says_where() -> None:
    wide = shown(STUCK, 118)
    assert "waits for disk" in wide and "io_schedule" in wide and "\x1b" not in wide
    assert "READ/s" in wide and "2.0M" in wide and "  db" in wide
    assert "READ/s" in shown(STUCK, 98) and "io_schedule" not in shown(STUCK, 98)
    assert "READ/s" not in shown(STUCK, 78)


def test_what_nobody_knows_takes_no_column() -> None:
    unknown = shown(STUCK._replace(waits="", read=None, written=None), 198)
    assert "WAITS IN" not in unknown and "READ/s" not in unknown
