"""Where a connection stops, asked from the networks screen: the dialog, its steps as they come, its keys."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core import errors
from pyctr.core.netcheck import Step
from pyctr.tui import checking, picture
from pyctr.tui.screens.networks import NetworksScreen
from pyctr.tui.widgets.checkdialog import CheckDialog
from tests.support import screens
from tests.tui.test_more_screens import again, until

STOPS = (
    Step("resolve", True, "10.89.0.2, from 127.0.0.11"),
    Step("route", True, "from 10.88.0.7 via 10.88.0.1"),
    Step("neighbour", True, "10.88.0.1 is at 02:70:0a:58:00:01"),
    Step(
        "firewall",
        False,
        "3 dropped on the way into network 'backend'; chain 'ip filter FORWARD' drops what is forwarded",
    ),
    Step("connect", False, "no answer from 10.89.0.2:5432 in 3 s"),
)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> screens.Replay:
    return screens.replay(tmp_path, monkeypatch)


class Scripted(checking.Check):
    """A check whose steps are given, each let go by an event."""

    asked: list[str] = []
    steps_given: tuple[Step, ...] = ()
    problem_given: errors.PyctrError | None = None
    go = threading.Event()

    def _walk(self) -> Iterator[Step]:
        self.asked.append(self.target)
        for step in self.steps_given:
            self.go.wait(30)
            yield step
        if self.problem_given is not None:
            raise self.problem_given


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> type[Scripted]:
    monkeypatch.setattr(checking, "Check", Scripted)
    Scripted.asked, Scripted.steps_given, Scripted.problem_given = [], (), None
    Scripted.go.clear()
    return Scripted


@pytest.mark.parametrize("ascii", [False, True], ids=["unicode", "ascii"])
def test_a_check_shows_its_steps_and_where_it_stops(
    host: screens.Replay, scripted: type[Scripted], ascii: bool
) -> None:
    again(host, "networks")
    scripted.steps_given = STOPS
    app = host.app(ascii=ascii)

    async def go() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.press("3")
            app.take(host.poller.collect())
            await pilot.pause()
            screen = app.main_screen
            assert isinstance(screen, NetworksScreen)
            screen.select(host.id("api-1"))
            await pilot.press("c")
            await pilot.pause()
            dialog = app.screen
            assert isinstance(dialog, CheckDialog)
            # names of its own networks first, so that one key is enough for most questions
            names = [dialog._field.value]
            for _ in range(9):
                await pilot.press("ctrl+n")
                names.append(dialog._field.value)
            assert "internet" in names and "api-1" not in names and names[0] in names[1:]
            await pilot.press("ctrl+u", *"db:5432", "enter")
            await pilot.pause()
            assert "on the way to db:5432" in picture.text_of(app)
            scripted.go.set()
            await until(lambda: not dialog.check.running and "stops at 'firewall'" in picture.text_of(app), pilot)
            assert scripted.asked == ["db:5432"]
            await screens.compare(app, f"check-{'ascii-' if ascii else ''}80x24")
            await pilot.press("escape")
            await pilot.pause()
            assert app.screen is screen

    asyncio.run(go())


def test_what_cannot_be_asked_is_said_in_the_dialog_and_a_good_way_too(
    host: screens.Replay, scripted: type[Scripted]
) -> None:
    again(host, "networks")
    scripted.go.set()
    app = host.app()

    async def go() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.press("3")
            app.take(host.poller.collect())
            await pilot.pause()
            await pilot.press("c")
            await pilot.pause()
            dialog = app.screen
            assert isinstance(dialog, CheckDialog)
            scripted.problem_given = errors.UsageError("'0' is not a port", hint="such as web:80")
            await pilot.press("ctrl+u", *"db:0", "enter")
            await until(lambda: "such as web:80" in picture.text_of(app), pilot)
            assert "'0' is not a port" in picture.text_of(app)
            scripted.problem_given, scripted.steps_given = None, STOPS[:2]
            await pilot.press("ctrl+u", *"db", "enter")
            await until(lambda: f"{dialog.check.name} reaches db" in picture.text_of(app), pilot)
            assert "such as web:80" not in picture.text_of(app)

    asyncio.run(go())


def test_nothing_is_asked_from_a_container_that_does_not_run(host: screens.Replay) -> None:
    again(host, "networks")
    app = host.app()

    async def go() -> None:
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.press("3")
            app.take(host.poller.collect())
            await pilot.pause()
            screen = app.main_screen
            assert isinstance(screen, NetworksScreen)
            stopped = next(row for row in app.snapshot.containers if row.status == "stopped")
            screen.action_as_table()
            await pilot.pause()
            screen.select(stopped.id)
            assert screen.chosen_id() == stopped.id
            await pilot.press("c")
            await pilot.pause()
            assert app.screen is screen

    asyncio.run(go())
