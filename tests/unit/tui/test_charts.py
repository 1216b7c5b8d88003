from __future__ import annotations

from itertools import pairwise

from pyctr.tui import format as f
from pyctr.tui.history import History
from pyctr.tui.widgets.chart import area
from pyctr.tui.widgets.meter import meter
from pyctr.tui.widgets.sparkline import buckets, sparkline

GLYPHS = f.Glyphs()


def test_a_bar_is_full_at_its_limit_and_never_overflows() -> None:
    assert f.plain(meter(100, 8, GLYPHS)) == "█" * 8
    assert f.plain(meter(250, 8, GLYPHS)) == "█" * 8
    assert f.plain(meter(50, 8, GLYPHS)) == "████"
    assert f.plain(meter(0.1, 8, GLYPHS)) == "▏"
    assert f.plain(meter(0, 8, GLYPHS)) == ""


def test_a_bar_without_a_limit_is_no_bar() -> None:
    assert meter(None, 8, GLYPHS) == ((" " * 8, "text"),)


def test_a_bar_turns_amber_then_red() -> None:
    assert [meter(value, 4, GLYPHS)[0][1] for value in (50, 80, 95)] == ["bar", "bar.warn", "bar.bad"]


def test_between_two_cell_borders_only_the_newest_cell_of_a_sparkline_changes() -> None:
    points = [(float(second), float(second)) for second in range(100)]
    one = buckets(points[:92], 91.0, 8)
    two = buckets(points[:97], 96.0, 8)
    assert one[:-1] == two[:-1]
    assert one[-1] != two[-1]


def test_a_gap_in_a_sparkline_is_blank_and_zero_is_not() -> None:
    assert sparkline((None, 0.0, 100.0), 100.0, GLYPHS) == " ▁█"


def test_the_chart_draws_the_limit_where_it_belongs_and_what_reaches_it_in_red() -> None:
    lines = area(
        [100.0] * 10 + [200.0] * 10,
        width=26,
        height=7,
        ceiling=240.0,
        limit=200.0,
        label=lambda value: f"{value:.0f}",
        span=300.0,
        glyphs=GLYPHS,
    )
    assert len(lines) == 7
    assert all(f.line_width(line) == 26 for line in lines)
    text = [f.plain(line) for line in lines]
    assert text[1].startswith("  200┤╌") or text[0].startswith("  200┤╌")
    styles = {style for line in lines for _, style in line}
    assert {"chart", "chart.over", "limit"} <= styles
    assert text[-1].split() == ["-5m", "now"]


def test_history_keeps_an_hour_in_coarse_steps_and_the_last_minutes_finely() -> None:
    history = History()
    for second in range(4000):
        history.add(float(second), {"cpu": float(second)})
    points = history.points("cpu", 400.0)
    assert points[0][0] >= 400.0
    assert points[-1] == (3999.0, 3999.0)
    assert [moment for moment, _ in points[-100:]] == [float(second) for second in range(3900, 4000)]
    assert len(points) < 700
    assert all(before[0] < after[0] for before, after in pairwise(points))


def test_what_is_on_record_comes_before_what_was_seen() -> None:
    history = History()
    for second in range(3600, 3660):
        history.add(float(second), {"cpu": 5.0})
    record = [(float(second), {"cpu": 1.0, "memory": None}) for second in range(3000, 3700, 5)]
    history.seed(record[-40:])
    assert history.spark.values(3620.0)[0] == 1.0, "the sparkline begins before we looked"
    history.seed(record)
    assert history.begin(9999.0) == 3000.0
    points = history.points("cpu", 0.0)
    assert [value for moment, value in points if moment < 3600] == [1.0] * 120
    assert {value for moment, value in points if moment >= 3600} == {5.0}, "our own values are finer"
    assert len(points) == len({moment for moment, _ in points}), "a longer record replaces the shorter one"
    for second in range(3660, 4000):
        history.add(float(second), {"cpu": 5.0})
    assert history.points("cpu", 0.0)[0] == (3000.0, 1.0)
