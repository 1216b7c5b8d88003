"""What pull and push show while they work: a line per layer and phase, or on a terminal one that is drawn anew."""

from __future__ import annotations

import io
import re

import pytest

from pyctr.cli import transfers
from pyctr.core.images.progress import DONE, DOWNLOADING, EXISTS, NOTE, UNPACKING, WAITING, Progress

MB = 1_000_000
ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64
PULL = [
    Progress(what=WAITING, digest=ONE, total=4 * MB),
    Progress(what=EXISTS, digest=TWO, done=MB, total=MB),
    *(Progress(what=DOWNLOADING, digest=ONE, done=done * MB, total=4 * MB) for done in range(1, 5)),
    Progress(what=NOTE, text="mirror: gone\x1b[2J"),
    Progress(what=UNPACKING, digest=ONE, done=4 * MB, total=4 * MB),
    Progress(what=DONE, digest=ONE, done=4 * MB, total=4 * MB),
]


class Screen(io.StringIO):
    """A terminal that remembers what was written."""

    def isatty(self) -> bool:
        return True


def shown(events: list[Progress], stream: io.StringIO, **options: bool) -> str:
    with transfers.Display(stream=stream, **options) as display:
        for event in events:
            display(event)
    return stream.getvalue()


def test_a_log_gets_each_phase_of_a_layer_once() -> None:
    assert shown(PULL, io.StringIO()).splitlines() == [
        "222222222222: Already exists",
        "111111111111: Downloading 4MB",
        "mirror: gone\\x1b[2J",
        "111111111111: Extracting",
        "111111111111: Pull complete",
    ]
    assert shown(PULL, io.StringIO(), quiet=True) == ""


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every event is drawn, however fast they come."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(transfers, "_INTERVAL", 0.0)


def pictures(written: str) -> list[list[str]]:
    """What stood on the terminal, from one drawing to the next."""
    assert "\x1b[2J" not in written
    parts = re.split(r"(?:\x1b\[\d+A)?\x1b\[J", written)
    return [part.splitlines() for part in parts if part]


def test_a_terminal_has_a_line_per_layer_with_a_bar(always: None) -> None:
    drawn = pictures(shown(PULL, Screen()))
    assert drawn[3] == [
        "111111111111: Downloading [============>           ] 2MB/4MB",
        "222222222222: Already exists",
    ]
    assert drawn[-1] == ["111111111111: Pull complete", "222222222222: Already exists"]


def test_what_moves_is_worth_a_line_when_there_are_too_few(always: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "_window", lambda stream: (60, 10))
    done = [Progress(what=DONE, digest=f"sha256:{number:064x}", done=1, total=1) for number in range(30)]
    last = pictures(shown([*done, Progress(what=DOWNLOADING, digest=ONE, done=MB, total=2 * MB)], Screen()))[-1]
    assert last == ["111111111111: Downloading [============>           ] 1MB/2MB"[:59]]
