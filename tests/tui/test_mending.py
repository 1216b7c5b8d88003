"""On a busy host timers begin late and sizes pile up; the app goes on. See `pyctr.tui.mending`."""

from __future__ import annotations

import asyncio

from textual.events import Resize
from textual.geometry import Size
from textual.pilot import Pilot

from pyctr.core.paths import Paths
from pyctr.tui.app import PyctrApp
from pyctr.tui.engine import Poller
from pyctr.tui.widgets.help import HelpScreen
from tests.tui import rows


def app() -> PyctrApp:
    return PyctrApp(Poller(Paths(root="/nonexistent/a", run="/nonexistent/b")), first=rows.snapshot(), live=False)


def test_a_timer_whose_time_has_passed_rings_at_once() -> None:
    """Otherwise it counts backwards for ever: a notification that is shown too late has such a one."""
    one = app()
    rung: list[float] = []

    async def go() -> None:
        async with one.run_test() as pilot:
            for delay in (-1.0, 0.0):
                one.set_timer(delay, lambda delay=delay: rung.append(delay))  # type: ignore[misc]
            await pilot.pause(0.1)
            await pilot.press("question_mark")
            assert isinstance(one.screen, HelpScreen)

    asyncio.run(go())
    assert rung == [-1.0, 0.0]


def test_a_screen_with_two_sizes_in_its_queue_settles() -> None:
    one = app()

    async def layouts(pilot: Pilot[None]) -> int:
        before = len(sizes)
        await pilot.pause(0.3)
        return len(sizes) - before

    sizes: list[Size] = []

    async def go() -> None:
        async with one.run_test(size=(120, 40)) as pilot:
            screen = one.screen
            resized = screen._screen_resized
            screen._screen_resized = lambda size: (sizes.append(size), resized(size))[1]  # type: ignore[method-assign]
            for size in (Size(80, 24), Size(100, 30), Size(120, 40)):
                one._size = size
                screen.post_message(Resize(size, size))
                screen.call_later(lambda: None)  # else the next size replaces this one
            await layouts(pilot)
            assert await layouts(pilot) == 0

    asyncio.run(go())
    assert sizes[-1] == Size(120, 40)
