"""The log view on real log files, followed by the real follower."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from pyctr.core.paths import Paths
from pyctr.tui import picture
from pyctr.tui.app import PyctrApp
from pyctr.tui.engine import Poller
from pyctr.tui.screens.containers import ContainersScreen
from pyctr.tui.widgets import logview
from pyctr.tui.widgets.logview import LogView
from tests.tui import rows

WEB, DB = rows.running("api-1"), rows.running("db")


def write(paths: Paths, id: str, *lines: tuple[float, str]) -> None:
    """(seconds ago, text) in the CRI format, at the end of the container's log."""
    path = paths.container(id, "log", "ctr.log")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "a") as file:
        for ago, text in lines:
            moment = time.time() - ago
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment % 1 * 1e9):09d}Z"
            file.write(f"{stamp} stdout F {text}\n")


class Shown:
    """The app with the log of a container open."""

    def __init__(self, app: PyctrApp, pilot: Pilot[None], paths: Paths) -> None:
        self.app = app
        self.pilot = pilot
        self.paths = paths

    @property
    def main(self) -> ContainersScreen:
        assert isinstance(self.app.main_screen, ContainersScreen)
        return self.app.main_screen

    @property
    def view(self) -> LogView:
        return self.main.query_one(LogView)

    def lines(self) -> list[str]:
        return [self.view.entries[number].text for number in self.view._shown]

    async def until(self, wanted: Callable[[], bool]) -> None:
        """The follower is a thread: what it brings is an event of its own."""
        for _ in range(1000):
            await self.pilot.pause()
            if wanted():
                return
            await asyncio.sleep(0.01)
        raise AssertionError(self.lines())


def run(tmp_path: Path, script: Callable[[Shown], Awaitable[None]], *logs: tuple[str, list[tuple[float, str]]]) -> None:
    paths = Paths(root=str(tmp_path / "root"), run=str(tmp_path / "run"))
    for id, lines in logs:
        write(paths, id, *lines)
    app = PyctrApp(Poller(paths), first=rows.snapshot((WEB, DB)), live=False)

    async def go() -> None:
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.pause()
            await script(Shown(app, pilot, paths))

    asyncio.run(asyncio.wait_for(go(), 100))


def test_logs_of_marked_containers_are_one_in_the_order_of_time(tmp_path: Path) -> None:
    async def script(shown: Shown) -> None:
        await shown.pilot.press("g", "space", "space", "l")
        await shown.until(lambda: shown.lines() == ["one", "two", "three", "four"])
        text = picture.text_of(shown.app)
        assert "2 containers" in text
        assert [words[1] for line in text.splitlines() if (words := line.split())[2:3] in (["two"], ["three"])] == [
            "db",
            "api-1",
        ]
        write(shown.paths, DB.id, (0.2, "six"))
        await shown.until(lambda: shown.lines()[-1] == "six")
        write(shown.paths, WEB.id, (0.5, "five"))  # it comes late, and belongs before
        await shown.until(lambda: shown.lines() == ["one", "two", "three", "four", "five", "six"])
        await shown.pilot.press("w")
        write(shown.paths, WEB.id, (0.0, "seven"))
        await shown.until(lambda: shown.lines()[-1] == "seven")
        assert len(shown.view._starts) == 7

        await shown.pilot.press("escape")
        await shown.until(lambda: "2 containers" not in picture.text_of(shown.app))
        assert set(shown.lines()) in ({"one", "three", "five", "seven"}, {"two", "four", "six"})

    run(tmp_path, script, (WEB.id, [(9.0, "one"), (7.0, "three")]), (DB.id, [(8.0, "two"), (6.0, "four")]))


def test_a_digit_chooses_how_far_back_the_log_goes(tmp_path: Path) -> None:
    ages = [(5400.0, "very old"), (1500.0, "old"), (200.0, "young"), (20.0, "new")]

    async def script(shown: Shown) -> None:
        shown.main.select(WEB.id)
        await shown.pilot.press("l")
        await shown.until(lambda: len(shown.lines()) == 4)
        for key, seen in (("2", 1), ("3", 2), ("4", 2), ("5", 3), ("6", 3), ("0", 4)):
            await shown.pilot.press(key)
            await shown.until(lambda seen=seen: len(shown.lines()) == seen)  # type: ignore[misc]
            assert shown.lines() == [text for _, text in ages[4 - seen :]]
        assert shown.app.current_mode == "containers"
        await shown.pilot.press("3")
        await shown.until(lambda: len(shown.lines()) == 2)
        assert "5 min" in picture.text_of(shown.app)
        write(shown.paths, WEB.id, (0.0, "newest"))
        await shown.until(lambda: shown.lines()[-1] == "newest")

    run(tmp_path, script, (WEB.id, ages))


def test_the_head_of_a_long_log_is_its_first_lines(tmp_path: Path) -> None:
    async def script(shown: Shown) -> None:
        shown.main.select(WEB.id)
        await shown.pilot.press("l")
        await shown.until(lambda: shown.lines()[-1:] == ["line 2999"])
        assert shown.lines()[0] == "line 1000"
        await shown.pilot.press("1")
        await shown.until(lambda: shown.lines()[-1:] == ["line 1999"])
        assert shown.lines()[0] == "line 0"
        await shown.until(lambda: "line 0 " in picture.text_of(shown.app))

    run(tmp_path, script, (WEB.id, [(3000.0 - number, f"line {number}") for number in range(3000)]))


def test_copy_takes_the_lines_in_sight_whole_and_harmless(tmp_path: Path) -> None:
    long = "x" * 300

    async def script(shown: Shown) -> None:
        shown.main.select(WEB.id)
        await shown.pilot.press("l")
        await shown.until(lambda: len(shown.lines()) == 2)
        await shown.pilot.press("w", "c")
        await shown.pilot.pause()
        assert shown.app.clipboard == f"{long}\nred\n"

    run(tmp_path, script, (WEB.id, [(2.0, long), (1.0, "\x1b[31mred\x1b[0m\x1b]52;c;AAAA\x07")]))


def test_lines_that_are_kept_have_room_for_so_many_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logview, "ROOM", 10_000)

    async def script(shown: Shown) -> None:
        shown.main.select(WEB.id)
        await shown.pilot.press("l")
        for begin in range(0, 100, 4):
            write(shown.paths, WEB.id, *((0.0, f"{number:01000d}") for number in range(begin, begin + 4)))
            newest = begin + 3
            await shown.until(lambda newest=newest: int(shown.lines()[-1]) == newest)
            assert len(shown.lines()) <= 11
        assert len(shown.lines()) >= 10
        await shown.pilot.press("w")

    run(tmp_path, script, (WEB.id, [(0.0, "0")]))
