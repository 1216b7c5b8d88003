from __future__ import annotations

import pytest

from pyctr.tui import format as f


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0"),
        (812, "812"),
        (1229, "1.2k"),
        (61 << 20, "61M"),
        (1 << 30, "1.0G"),
        (1023 << 20, "1.0G"),
        (10235, "10k"),
    ],
)
def test_sizes_have_at_most_four_characters_and_unknown_is_a_dash(value: float | None, text: str) -> None:
    assert f.size(value) == text


def test_no_size_is_ever_wider_than_four_characters() -> None:
    for exponent in range(60):
        for factor in (1.0, 1.05, 1.4, 1.9, 1.99, 1.999):
            assert len(f.size(2**exponent * factor)) <= 4


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (0, "0.0"), (83.14, "83.1"), (99.96, "100"), (412.3, "412")])
def test_percents_keep_their_width(value: float | None, text: str) -> None:
    assert f.percent(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0s"),
        (0.006, "6ms"),
        (14.9, "14s"),
        (300, "5m"),
        (7300, "2h"),
        (3 * 86400, "3d"),
        (800 * 86400, "2y"),
    ],
)
def test_durations_are_one_number_and_one_unit(seconds: float | None, text: str) -> None:
    assert f.duration(seconds) == text


def test_terminal_escapes_in_names_are_shown_not_sent() -> None:
    hostile = "web\x1b]0;owned\x07\x1b[2J\u202egnp.exe\x9b31m\x7f"
    assert f.neutral(hostile) == "web␛]0;owned␇␛[2J\ufffdgnp.exe\ufffd31m␡"


def test_wide_characters_count_two_cells_and_are_cut_whole() -> None:
    assert f.width("容器") == 4
    assert f.cut("容器容器", 4) == "容…"
    assert f.width(f.fit("容器容器", 4)) == 4


def test_a_line_is_exactly_as_wide_as_asked() -> None:
    assert f.fit_line((("abc", "text"), ("def", "bad")), 4) == (("abc", "text"), ("…", "bad"))
    assert f.line_width(f.fit_line((("abc", "text"),), 10)) == 10
