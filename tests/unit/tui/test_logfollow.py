"""What the log view is given: lines that fit a screen, and no more of them than there is room for."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyctr.tui import logfollow


def test_of_a_long_line_the_beginning_is_shown_and_how_much_more_there_is() -> None:
    assert logfollow.readable(b"x" * logfollow.SHOWN + b"\n") == "x" * logfollow.SHOWN
    assert logfollow.readable(b"x" * (logfollow.SHOWN + 5) + b"\n") == "x" * logfollow.SHOWN + " … 5 bytes more"


def test_of_a_long_line_that_overwrites_itself_the_end_is_shown() -> None:
    bar = b"\r".join(b"%5d of 5000" % number for number in range(5001))
    assert logfollow.readable(bar + b"\n").startswith(" 5000 of 5000 … ")


def test_lines_that_wait_have_room_for_so_many_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logfollow, "ROOM", 10_000)
    path = tmp_path / "ctr.log"
    path.write_text("".join(f"2026-01-01T00:00:00Z stdout F {number:01000d}\n" for number in range(100)))
    follower = logfollow.LogFollower(str(path), lambda: None)
    assert follower.current.wait(30)
    found = follower.take()
    follower.stop()
    assert found[0].text == "90 lines too many to show"
    assert [int(entry.text) for entry in found[1:]] == list(range(90, 100))
