"""The tab Files: deleted files first, in as many columns as there is room for."""

from __future__ import annotations

import pytest

from pyctr.core.openfiles import OpenFile, OpenFiles
from pyctr.tui.details import files
from pyctr.tui.format import Glyphs, width
from pyctr.tui.snapshot import ContainerRow, Snapshot
from pyctr.tui.table import Look

MIB = 1 << 20
FILES = (
    OpenFile("file", "/var/log/app\x1b[31m.log", "w", 1700 * MIB, True, 1700 * MIB, 2, 2, (4711, 4712)),
    OpenFile("file", "/data/base", "rw", 3 * MIB, False, 0, 1, 1, (4711,)),
    OpenFile("socket", "tcp *:80 listening", "rw", None, False, 0, 2, 2, (4711, 4712)),
)
DOCUMENT = OpenFiles(FILES, 3, 5, 0, 0, 0)


def shown(document: object, columns: int) -> list[str]:
    lines = files.render(document, ContainerRow("i", "web", "running"), Snapshot(), columns, 40, Look(Glyphs()))
    return ["".join(text for text, _ in line) for line in lines]


@pytest.mark.parametrize("columns", [38, 78, 118, 198])
def test_deleted_files_come_first_with_what_they_hold(columns: int) -> None:
    lines = shown(DOCUMENT, columns)
    assert all(width(line) <= columns for line in lines) and "\x1b" not in "".join(lines)
    assert lines[0].startswith("1 deleted file holds 1.7G")
    assert lines[3].startswith("deleted") and "1.7G" in lines[3] and "/var/log/" in lines[3]
    assert ("4711+" in lines[3]) == (columns >= 90)
    assert lines[5].split()[0] == "socket" and lines[5].split()[1] == "-" and "tcp *:80" in lines[5]


def test_what_was_left_out_is_said() -> None:
    assert shown(DOCUMENT._replace(left_out=45_904), 118)[0].rstrip().endswith("46k descriptors left out")
    assert "3 processes cannot be looked at" in shown(OpenFiles((), 0, 0, 0, 0, 3), 118)[0]
    assert shown(None, 78) == ["there is nothing to look at while it does not run"]
