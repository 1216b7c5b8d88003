"""What a person types as a time is that time."""

from __future__ import annotations

import time

import pytest

from pyctr.core.moments import moment
from pyctr.core.parse import BadValue

NOW = time.mktime((2026, 3, 5, 14, 30, 0, 0, 0, -1))


@pytest.mark.parametrize("text", ["-5m", "5m", " -300s ", "-0.5h", "-1m240s"])
def test_ago(text: str) -> None:
    assert NOW - moment(text, NOW) == (1800 if "h" in text else 300)


@pytest.mark.parametrize(
    ("text", "day", "clock"), [("14:29", 5, "14:29:00"), ("03:12:30", 5, "03:12:30"), ("14:31", 4, "14:31:00")]
)
def test_a_time_of_day_is_the_last_one(text: str, day: int, clock: str) -> None:
    got = time.localtime(moment(text, NOW))
    assert (got.tm_mday, time.strftime("%H:%M:%S", got)) == (day, clock)


@pytest.mark.parametrize("text", ["", "soon", "25:00", "3:1", "-", "--5m", "5x", "12:60"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match="not a point in time"):
        moment(text, NOW)


def test_now_and_dates() -> None:
    assert moment("now", NOW) == NOW
    assert moment("2026-01-02T03:04:05Z", NOW) == 1767323045
