from __future__ import annotations

import pytest

from pyctr.tui import format as f
from pyctr.tui.container_table import Filter, Ordering, columns, note
from pyctr.tui.table import Layout, Look
from tests.tui import rows


def _lines(width: int, chosen: tuple[rows.ContainerRow, ...]) -> list[str]:
    layout = Layout(columns(width), width)
    look = Look(f.Glyphs(), rows.NOW)
    return [f.plain(layout.line(layout.cells(row, look, note(row, look, layout)))) for row in chosen]


@pytest.mark.parametrize("width", [75, 110, 113, 128, 195])
def test_every_line_fits_and_columns_stand_where_the_titles_are(width: int) -> None:
    layout = Layout(columns(width), width)
    assert f.line_width(layout.heading(f.Glyphs(), "name")) == width
    assert layout.places[-1][1] + layout.places[-1][2] <= width
    assert len(layout.places) == len(layout.columns)
    for row in rows.some():
        assert f.line_width(layout.line(layout.cells(row, Look(f.Glyphs(), rows.NOW)))) == width


def test_a_value_that_cannot_be_known_is_a_dash_never_zero() -> None:
    line = _lines(110, (rows.running("x", cpu=None, memory=None, pids=None, net_rx=None, net_tx=None),))[0]
    assert " 0" not in line.replace("0/0", "")
    assert line.count(" - ") + line.endswith("-") >= 4


def test_what_is_at_rest_says_how_it_ended() -> None:
    texts = "\n".join(_lines(110, rows.some()))
    assert "exited 0, ran 14s, 5m ago" in texts
    assert "OOM-killed, restarted 3 times" in texts
    assert "created, never started" in texts


def test_what_the_user_stopped_is_at_rest_not_failed() -> None:
    assert not rows.ended("a", 143, wanted="stopped").failed
    assert rows.ended("a", 143).failed
    assert rows.ended("a", 137, oom_killed=True, wanted="stopped").failed


def test_the_order_of_attention_puts_failing_first_then_live_then_at_rest() -> None:
    names = [row.name for row in Ordering().apply(rows.some(), columns(110))]
    assert names == ["seed", "worker-3", "api-1", "batch-7", "db", "fresh", "migrate"]


def test_sorting_by_cpu_puts_the_busiest_on_top_and_a_second_press_turns_it_round() -> None:
    chosen = columns(110)
    cpu = next(column for column in chosen if column.key == "cpu")
    first = Ordering().pressed(cpu)
    assert first.apply(rows.some(), chosen)[0].name == "api-1"
    assert first.pressed(cpu).apply(rows.some(), chosen)[-1].name == "api-1"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("api", {"api-1", "batch-7", "migrate", "fresh"}),
        ("!acme", {"db"}),
        ("status:paused", {"batch-7"}),
        ("^(db|seed)$", {"db", "seed"}),
        ("[", set()),
        ("", {row.name for row in rows.some()}),
    ],
)
def test_filters(text: str, names: set[str]) -> None:
    assert {row.name for row in rows.some() if Filter(text).keeps(row)} == names


def test_faults_only_keeps_what_needs_somebody() -> None:
    assert {row.name for row in rows.some() if Filter(faults=True).keeps(row)} == {"seed", "worker-3"}


def test_a_hostile_name_cannot_reach_the_terminal() -> None:
    assert "\x1b" not in _lines(110, (rows.running("x\x1b[31m"),))[0]
