"""The page of who talks to whom: what it shows, and that it is looked at only while it is open."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from pyctr.core.nettalks import Talk
from pyctr.tui import picture, talking
from pyctr.tui.screens.networks import NetworksScreen
from tests.support import screens
from tests.tui.test_more_screens import again, until

TALKS = (
    Talk("api-1", "db", 5432, "tcp", 14, 1_100_000, 20_480_000),
    Talk("192.0.2.77", "proxy", 443, "tcp", 3, 4096, 812),
    Talk("a-container-with-a-name-that-is-really-much-longer-than-others", "host", 53, "udp", 2, None, None),
    Talk("fd77:1::9", "proxy", 9899, "sctp", 1, 120, 0),
)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> screens.Replay:
    return screens.replay(tmp_path, monkeypatch)


class Given(talking.Talking):
    """What was given instead of this machine's connections."""

    talks_given: Sequence[Talk] = ()
    failure: OSError | None = None
    looks = threading.Semaphore(0)
    made: list[Given] = []

    def _look(self) -> Sequence[Talk]:
        self.made.append(self)
        self.looks.acquire()
        if self.failure is not None:
            raise self.failure
        return self.talks_given


def test_who_talks_to_whom_is_shown_and_looked_at_while_the_page_is_open(
    host: screens.Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    again(host, "networks")
    monkeypatch.setattr(talking, "Talking", Given)
    monkeypatch.setattr(talking, "INTERVAL", 0.01)
    app = host.app()

    async def go() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.press("3")
            app.take(host.poller.collect())
            await pilot.pause()
            screen = app.main_screen
            assert isinstance(screen, NetworksScreen)
            await pilot.press("w")
            await pilot.pause()
            Given.looks.release()
            await until(lambda: "nobody talks to anybody" in picture.text_of(app), pilot)
            Given.talks_given = TALKS
            Given.looks.release()
            await until(lambda: "db:5432" in picture.text_of(app), pilot)
            await screens.compare(app, "talks-80x24")
            Given.failure = PermissionError(1, "setns: operation not permitted")
            Given.looks.release()
            await until(lambda: "not permitted" in picture.text_of(app), pilot)
            Given.failure = None
            await pilot.press("escape")
            await pilot.pause()
            assert app.screen is screen
            # one look may have been under way
            Given.looks.release(5)
            watched = Given.made[-1]
            await until(watched._ended.is_set, pilot)
            thread = next((one for one in threading.enumerate() if one.name == "talks"), None)
            if thread is not None:
                await asyncio.to_thread(thread.join, 30)
                assert not thread.is_alive()

    asyncio.run(go())
