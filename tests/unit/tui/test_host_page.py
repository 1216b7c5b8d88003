"""The page of the machine: what is wrong comes first, what is not known is not zero."""

from __future__ import annotations

import pytest

from pyctr.core.doctor import BAD, GOOD, WARNING, Finding
from pyctr.tui import format as f
from pyctr.tui.format import Glyphs
from pyctr.tui.host_page import page
from pyctr.tui.sources import Scene
from pyctr.tui.sources.machine import Core, Machine
from pyctr.tui.sources.space import Kind, Space
from pyctr.tui.table import Look

LOOK = Look(Glyphs())
GIB = 1 << 30
MACHINE = Machine(
    100.0,
    tuple(Core(f"cpu{number}", 10.0 * number, 5.0, 1.0, 0.0) for number in range(4)),
    {"MemTotal": 16 * GIB, "MemAvailable": 2 * GIB, "Cached": GIB, "SwapTotal": GIB, "SwapFree": GIB // 4},
    {"cpu": {"some": (30.0, 1.0, 0.5)}, "memory": {"some": (0.0, 0.0, 0.0), "full": (25.0, 0.0, 0.0)}},
    (0.5, 0.4, 0.3),
    (2, 150),
    7200.0,
    "6.1.0",
    "v2",
    cpu_points=((98.0, 10.0), (100.0, 50.0)),
    memory_points=((98.0, 14.0 * GIB),),
)
SPACE = Space("/var/lib/pyctr", 100 * GIB, 5 * GIB, (Kind("images", 3, 1, 4 * GIB, GIB), Kind("volumes", 0, 0, 0, 0)))
FINE = (
    Finding(topic="kernel", level=GOOD, text="Linux 6.1"),
    Finding(topic="storage", level=GOOD, text="overlayfs, on a filesystem with " + "many features, " * 20),
)
ILL = (
    *FINE,
    Finding(topic="firewall", level=WARNING, text="no nf_tables", hint="modprobe nf_tables"),
    Finding(topic="privileges", level=BAD, text="not root", hint="sudo pyctr"),
)


def text(findings: object = FINE, *, size: tuple[int, int] = (120, 40), **scenes: Scene) -> str:
    known = {"machine": Scene(MACHINE), "space": Scene(SPACE), "findings": Scene(findings), **scenes}
    return "\n".join(f.plain(line) for line in page(known, *size, 1000.0, LOOK))


def test_what_is_in_the_way_comes_first_with_what_to_do() -> None:
    lines = text(ILL).splitlines()
    assert lines[0] == "Doctor  1 in the way  1 to know"
    assert "not root" in lines[1] and "sudo pyctr" in lines[2]
    assert "no nf_tables" in lines[3]
    assert text(FINE).splitlines()[0].startswith("CPU")


@pytest.mark.parametrize("size", [(76, 22), (99, 30), (100, 30), (116, 36), (196, 56), (396, 96)])
def test_the_page_fits_its_width(size: tuple[int, int]) -> None:
    known = {"machine": Scene(MACHINE), "space": Scene(SPACE), "findings": Scene(ILL)}
    lines = page(known, *size, 1000.0, LOOK)
    assert all(f.line_width(line) <= size[0] for line in lines)
    assert all(word in text(ILL, size=size) for word in ("CPU", "Memory", "Pressure", "Disk", "Doctor", "kernel 6.1.0"))


def test_two_columns_fill_a_screen_and_need_no_more() -> None:
    for height in (30, 36, 56):
        assert len(text(size=(116, height)).splitlines()) <= height


def test_every_core_has_its_number() -> None:
    for number in (5.0, 15.0, 25.0, 35.0):
        assert f"{number}" in text()
    many = MACHINE._replace(cores=tuple(Core(f"cpu{number}", 1.0, 0.5) for number in range(128)))
    assert text(machine=Scene(many)).count(" 1.5") == 128


def test_what_is_not_known_is_said_so() -> None:
    blank = Machine(100.0, cores=(Core("cpu0"),))
    said = text(machine=Scene(blank), space=Scene())
    assert "0.0" not in said and "this kernel does not say" in said
    assert "counting" in said and "examining" in text(None)


def test_a_part_that_fails_keeps_its_last_good_picture_with_its_age() -> None:
    said = text(space=Scene(SPACE, "statfs: Input/output error", 880.0))
    assert "as of 2m ago: statfs: Input/output error" in said
    assert "5.0G free" in said


def test_a_full_disk_and_waiting_memory_are_judged() -> None:
    known = {"machine": Scene(MACHINE), "space": Scene(SPACE), "findings": Scene(FINE)}
    spans = [span for line in page(known, 120, 40, 1000.0, LOOK) for span in line]
    assert any(style == "bar.bad" for _, style in spans), "95 % of the disk"
    assert ("        25.0", "bad") in spans, "a quarter of the time nothing moved for want of memory"
    assert ("   30.0", "warn") in spans
