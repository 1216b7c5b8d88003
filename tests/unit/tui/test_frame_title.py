"""The line of tabs in a frame's title: all of them where they fit, else a window with marks at its sides."""

from __future__ import annotations

import asyncio

import pytest
from textual.app import App, ComposeResult

from pyctr.tui import details, theming
from pyctr.tui.format import Glyphs, line_width
from pyctr.tui.table import Look
from pyctr.tui.widgets.bars import FrameTitle

NAME = "a-service-with-a-very-long-name"


class Titled(App[None]):
    def __init__(self, current: str) -> None:
        super().__init__()
        self.look = Look(Glyphs())
        self.palette = theming.load("dusk")
        self.title_line = FrameTitle(classes="framed")
        self.title_line.words = ((NAME, "strong"), (" running", "good"))
        self.title_line.shorter = tuple(((NAME[:most], "strong"),) for most in (31, 20, 14))
        self.title_line.tabs = tuple((tab.name, tab.title) for tab in details.TABS)
        self.title_line.current = current
        self.pressed: list[str] = []

    def compose(self) -> ComposeResult:
        yield self.title_line

    def on_frame_title_tab_clicked(self, message: FrameTitle.TabClicked) -> None:
        self.pressed.append(message.name)


def drawn(width: int, current: str, click: str = "") -> tuple[str, list[str]]:
    """The line, and what a click on the first `click` in it opens."""
    app = Titled(current)
    text = ""

    async def go() -> None:
        nonlocal text
        async with app.run_test(size=(width, 3)) as pilot:
            line = app.title_line.compose_line(width)
            assert line_width(line) == width
            text = "".join(part for part, _ in line)
            if click:
                await pilot.click(FrameTitle, offset=(text.index(click), 0))

    asyncio.run(go())
    return text, app.pressed


def test_where_all_fit_all_are_there_and_the_name_gives_way_first() -> None:
    assert f" {NAME} running ─ Overview · Logs" in drawn(150, "logs")[0]
    text, _ = drawn(120, "logs")
    assert NAME[:14] in text and NAME[:15] not in text and "running" not in text
    assert "‹" not in text and "›" not in text and text.count("·") == len(details.TABS) - 1


@pytest.mark.parametrize(
    ("current", "before", "beyond"), [("overview", False, True), ("network", True, True), ("events", True, False)]
)
def test_a_window_says_on_which_side_there_is_more(current: str, before: bool, beyond: bool) -> None:
    text, _ = drawn(80, current)
    assert NAME[:20] in text and details.find(current).title in text
    assert ("‹" in text, "›" in text) == (before, beyond)


def test_a_mark_opens_the_next_tab_on_its_side() -> None:
    names = [tab.name for tab in details.TABS]
    text, pressed = drawn(80, "network", click="›")
    shown = [tab.name for tab in details.TABS if tab.title in text]
    assert pressed == [names[names.index(shown[-1]) + 1]]
    assert drawn(80, "network", click="‹")[1] == [names[names.index(shown[0]) - 1]]
