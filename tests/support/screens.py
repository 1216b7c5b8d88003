"""A recorded host for tests of screens, and pictures of screens that can be compared and read.

`replay(directory)` unpacks tests/golden/host/host.json moment by moment below the current directory and lets the real
poller look at each, with the clock of the recording. `compare(app, name)` holds a picture against
tests/tui/pictures/NAME.screen: the text of every line, and below it one letter per cell for its style. With
PYCTR_UPDATE_PICTURES=1 it writes the file instead.
"""

from __future__ import annotations

import asyncio
import difflib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyctr.core.capture import moments
from pyctr.core.capture.moments import Stage
from pyctr.tui.app import PyctrApp
from pyctr.tui.engine import Poller
from pyctr.tui.replay import RecordedPoller
from pyctr.tui.snapshot import Cost, Focus, Snapshot

HERE = Path(__file__).resolve().parents[1]
HOST = HERE / "golden" / "host" / "host.json"
PICTURES = HERE / "tui" / "pictures"


class Still(RecordedPoller):
    """One that looks at the moment it was told to; its own cost is not part of the picture."""

    def collect(self) -> Snapshot:
        return Poller.collect(self)

    def _cost(self, moment: float) -> Cost:
        return Cost(2.0, 41.0 * (1 << 20))


class Replay:
    """A poller that has seen all moments of the recording, and what it saw last."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(directory)
        monkeypatch.setenv("TZ", "UTC")
        import time

        time.tzset()
        # a relative path: what a screen shows of it is the same wherever the test runs
        self.stage = Stage("", moments.from_json(str(HOST)))
        self.poller = Still(self.stage)
        self.clock, self.paths = self.poller.still, self.poller.paths
        self.moments = self.stage.recording.moments
        self.snapshot = Snapshot()
        for number in range(len(self.moments)):
            self.show(number)

    def show(self, number: int) -> Snapshot:
        """Put the host into one of its moments, and look."""
        self.snapshot = self.poller.show(number)
        return self.snapshot

    def id(self, name: str) -> str:
        return next(row.id for row in self.snapshot.containers if row.name == name)

    def focus(self, **wishes: Any) -> Snapshot:
        """Look again at the last moment with something selected."""
        self.poller.look_at(Focus(**wishes))
        self.snapshot = self.poller.collect()
        return self.snapshot

    def app(self, **options: Any) -> PyctrApp:
        return PyctrApp(self.poller, first=self.snapshot, live=False, **options)


_open: list[Replay] = []


def replay(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Replay:
    """It is closed after the test, see tests/tui/conftest.py."""
    target = directory / "host"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    _open.append(Replay(target, monkeypatch))
    return _open[-1]


def close() -> None:
    """The counters that pollers keep open."""
    while _open:
        _open.pop().poller.stop()


def picture(app: PyctrApp) -> str:
    """Text, then letters of styles with a legend; deterministic, and readable in a diff."""
    letters: dict[str, str] = {}
    texts, styles = [], []
    for strip in app.screen._compositor.render_strips():
        texts.append(strip.text.rstrip())
        row = ""
        for text, style, _ in strip:
            name = str(style) if style is not None else "none"
            letter = letters.setdefault(name, _letter(len(letters)))
            row += letter * sum(_width(char) for char in text)
        styles.append(_runs(row))
    legend = [f"{letter} {name}" for name, letter in letters.items()]
    return "\n".join([*texts, "---- styles", *styles, "---- legend", *legend]) + "\n"


def _letter(number: int) -> str:
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return letters[number] if number < len(letters) else chr(0x3B1 + number - len(letters))


def _width(char: str) -> int:
    from pyctr.tui import format as f

    return f.width(char)


def _runs(row: str) -> str:
    """`a12 b3`: run lengths."""
    out, start = [], 0
    for place in range(1, len(row) + 1):
        if place == len(row) or row[place] != row[start]:
            out.append(f"{row[start]}{place - start}")
            start = place
    return " ".join(out)


async def compare(app: PyctrApp, name: str, drawn: Callable[[PyctrApp], str] = picture) -> None:
    """Fail with a readable difference when the picture does not become the recorded one.

    Layouts follow each other when a scroll bar comes or a reader thread delivers: on a busy host the last may be late.
    """
    path = PICTURES / f"{name}.screen"
    if os.environ.get("PYCTR_UPDATE_PICTURES"):
        await asyncio.sleep(0.5)
        path.parent.mkdir(exist_ok=True)
        path.write_text(drawn(app))
        return
    assert path.exists(), f"no picture {path}; PYCTR_UPDATE_PICTURES=1 makes it"
    before, now = path.read_text(), drawn(app)
    deadline = time.monotonic() + 5
    while now != before and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
        now = drawn(app)
    if now != before:
        lines = difflib.unified_diff(before.splitlines(), now.splitlines(), "recorded", "now", lineterm="", n=1)
        raise AssertionError(f"{name} looks different:\n" + "\n".join(list(lines)[:80]))
