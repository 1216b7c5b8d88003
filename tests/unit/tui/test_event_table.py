"""The journal in words, and the filter over it."""

from __future__ import annotations

import pytest

from pyctr.core.events import Event
from pyctr.tui import event_table
from pyctr.tui.event_table import EventFilter
from pyctr.tui.format import Glyphs
from pyctr.tui.table import Look


def event(action: str = "die", name: str = "web", **attributes: str) -> Event:
    return Event(time_ns=1_795_230_847_000_000_000, action=action, id="1f2e" * 16, name=name, attributes=attributes)


@pytest.mark.parametrize(
    ("happened", "said"),
    [
        (event(exitCode="137"), ("exited 137", "bad")),
        (event(exitCode="137", oom_killed="True"), ("exited 137  out of memory", "bad")),
        (event(exitCode="0", oom_killed="False"), ("exited 0", "muted")),
        (event("kill", signal="9"), ("SIGKILL", "muted")),
        (event("kill", signal="34"), ("SIGRTMIN", "muted")),
        (event("kill", signal="99"), ("signal 99", "muted")),
        (event("rename", oldName="old"), ("was old", "muted")),
        (event("exec_start", command="sh -c 'a\n  b'"), ("sh -c 'a b'", "muted")),
        (event("update", memory="512", cpus=""), ("memory 512", "muted")),
        (event("create", image="x\x1b[2J"), ("x␛[2J", "muted")),
    ],
)
def test_an_event_is_said_in_words_that_no_terminal_obeys(happened: Event, said: tuple[str, str]) -> None:
    assert event_table.words(happened) == said


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", True),
        ("we", True),
        ("!we", False),
        ("action:die", True),
        ("action:start", False),
        ("name:die", False),
        ("!action:start", True),
        ("exited 1[0-9]7", True),
        ("id:1f2e", True),
        ("[", False),
        ("1f2e1f2e", True),
    ],
)
def test_the_filter(text: str, kept: bool) -> None:
    assert EventFilter(text).keeps(event(exitCode="137")) is kept


def test_a_check_is_told_by_its_outcome_alone() -> None:
    for outcome, style in (("healthy", "good"), ("unhealthy", "bad")):
        row = event_table.Happened(1, Event(time_ns=0, action=f"health_status: {outcome}", id="ab", name="web"))
        column = next(column for column in event_table.columns(80) if column.key == "action")
        assert column.cell(row, column.width, Look(Glyphs())) == ((outcome, style),)
