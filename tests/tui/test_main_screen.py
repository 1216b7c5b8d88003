"""The main screen under Pilot: what a key does to what is seen. Snapshots come from the real classes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from textual.pilot import Pilot

from pyctr.core.paths import Paths
from pyctr.tui import picture
from pyctr.tui.app import PyctrApp
from pyctr.tui.engine import Poller
from pyctr.tui.screens.containers import ContainersScreen
from pyctr.tui.snapshot import Snapshot
from tests.tui import rows

Script = Callable[[PyctrApp, Pilot[None]], Awaitable[None]]


def run(
    script: Script, *, size: tuple[int, int] = (120, 40), first: Snapshot | None = None, **options: bool
) -> PyctrApp:
    nowhere = Paths(root="/nonexistent/pyctr", run="/nonexistent/pyctr-run")
    app = PyctrApp(Poller(nowhere), first=first or rows.snapshot(), live=False, **options)  # type: ignore[arg-type]

    async def go() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await script(app, pilot)

    asyncio.run(go())
    return app


def main_of(app: PyctrApp) -> ContainersScreen:
    assert isinstance(app.main_screen, ContainersScreen)
    return app.main_screen


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60), (60, 15), (400, 100)])
def test_every_container_is_on_the_screen_at_every_size(size: tuple[int, int]) -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        text = picture.text_of(app)
        for row in rows.some():
            assert row.name in text
        assert all(len(line) <= size[0] for line in text.splitlines())
        assert len(text.splitlines()) <= size[1]

    run(script, size=size)


def test_the_cursor_stays_on_its_container_when_the_order_changes() -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        grid = main_of(app).grid
        main_of(app).select(rows.running("db").id)
        await pilot.press("C")
        assert grid.sorted_by == "cpu"
        assert grid.rows[0].name == "api-1"
        assert grid.current is not None and grid.current.name == "db"

    run(script)


def test_the_cursor_goes_to_the_next_row_when_its_container_is_gone() -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        grid = main_of(app).grid
        main_of(app).select(rows.running("api-1").id)
        app.take(rows.snapshot(tuple(row for row in rows.some() if row.name != "api-1")))
        assert grid.current is not None and grid.current.name == "batch-7"

    run(script)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_every_visible_row_shows_what_the_last_look_saw(size: tuple[int, int]) -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        for cpu in (11.1, 22.2, 33.3):
            app.take(rows.snapshot(tuple(row._replace(cpu=cpu) if row.live else row for row in rows.some())))
            await pilot.pause()
            assert picture.text_of(app).count(f" {cpu} ") >= 3
        await pilot.resize_terminal(size[0] - 3, size[1] - 2)
        app.take(rows.snapshot(tuple(row._replace(cpu=44.4) if row.live else row for row in rows.some())))
        await pilot.pause()
        assert picture.text_of(app).count(" 44.4 ") >= 3

    run(script, size=size)


def test_the_filter_works_while_it_is_typed_and_escape_drops_it() -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        await pilot.press("slash")
        await pilot.pause()
        await pilot.press("!", "a", "c", "m", "e")
        await pilot.pause()
        assert [row.name for row in main_of(app).grid.rows] == ["db"]
        await pilot.press("enter")
        await pilot.pause()
        assert "!acme" in picture.text_of(app).splitlines()[1]
        await pilot.press("escape")
        assert len(main_of(app).grid.rows) == len(rows.some())

    run(script)


def test_remove_asks_and_the_default_is_cancel() -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        main_of(app).select(rows.running("db").id)
        await pilot.press("d")
        await pilot.pause()
        text = picture.text_of(app)
        assert "Remove db?" in text
        assert "Lost for good" in text
        assert "[ Cancel ]" in text
        await pilot.press("enter")
        await pilot.pause()
        assert app.acts.running == 0
        assert app.screen is main_of(app)

    run(script)


def test_read_only_refuses_aloud_and_offers_nothing() -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        assert " remove" not in picture.text_of(app).splitlines()[-1]
        main_of(app).select(rows.running("db").id)
        for key in ("s", "d", "K", "r", "p", "e", "n", "m", "R"):
            await pilot.press(key)
            await pilot.pause()
            assert app.screen is main_of(app), key
        assert app.acts.running == 0
        assert "read-only" in picture.text_of(app)

    run(script, first=rows.snapshot(read_only="not root"))


def test_enter_drills_in_at_80_columns_and_escape_comes_back() -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        assert "Overview" not in picture.text_of(app)
        await pilot.press("enter")
        await pilot.pause()
        assert "Overview" in picture.text_of(app)
        await pilot.press("escape")
        await pilot.pause()
        assert "Overview" not in picture.text_of(app)
        assert app.focused is main_of(app).grid

    run(script, size=(80, 24))


def test_marks_lead_to_a_bulk_menu_that_names_how_many() -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        main_of(app).select(rows.running("api-1").id)
        await pilot.press("space", "space", "space", "b")
        await pilot.pause()
        text = picture.text_of(app)
        assert "3 marked" in text
        assert "2 containers" in text  # two of the three can be paused

    run(script)


def test_an_empty_host_says_what_to_press() -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        text = picture.text_of(app)
        assert "no containers yet" in text
        assert "n creates one" in text

    run(script, first=rows.snapshot(()))


def test_a_list_that_cannot_be_read_keeps_the_last_good_one_with_its_age() -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        app.take(rows.snapshot(error="input/output error '/var/lib/pyctr'", good_at=rows.NOW - 90))
        await pilot.pause()
        text = picture.text_of(app)
        assert "not read since 90s: input/output error" in text
        assert "api-1" in text

    run(script)


def test_only_the_changed_cells_of_a_thousand_rows_are_drawn_again() -> None:
    many = tuple(rows.running(f"c{number:04d}") for number in range(1000))

    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        grid = main_of(app).grid
        await pilot.press("G")
        await pilot.pause()
        assert grid.current is not None and grid.current.name == "c0999"
        await pilot.press("g")
        await pilot.pause()
        grid._exchange_repaint_regions()
        changed = (many[0]._replace(cpu=99.0), *many[1:500], many[500]._replace(cpu=55.0), *many[501:])
        grid.show(changed)
        regions = grid._exchange_repaint_regions()
        assert len(regions) == 1
        region = next(iter(regions))
        assert (region.height, region.width) == (1, 5)

    run(script, first=rows.snapshot(many))


def test_a_hostile_name_is_drawn_as_pictures_of_its_controls() -> None:
    hostile = rows.running("x", image="[bold]evil[b]\x1b[2J", command="\x1b]52;c;AAAA\x07")

    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        text = picture.text_of(app)
        assert "\x1b" not in text and "\x07" not in text
        assert "[bold]evil" in text

    run(script, size=(200, 60), first=rows.snapshot((hostile,)))


def test_ascii_mode_draws_nothing_but_ascii() -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        assert picture.text_of(app).isascii()
        await pilot.press("question_mark")
        await pilot.pause()
        assert picture.text_of(app).isascii()

    run(script, ascii=True)


def test_help_lists_every_key_that_works_here() -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        await pilot.press("question_mark")
        await pilot.pause()
        text = picture.text_of(app)
        for word in ("stop: SIGTERM", "freeze or thaw", "Screens", "wrap long lines"):
            assert word in text
        await pilot.press("escape")
        await pilot.pause()
        assert app.screen is main_of(app)

    run(script, size=(120, 60))


def test_the_theme_can_be_changed_live() -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        before = app.palette.name
        seen = set()
        for _ in range(6):
            await pilot.press("ctrl+t")
            await pilot.pause()
            seen.add(app.palette.name)
        assert len(seen) >= 4
        assert before in seen

    run(script)


def test_an_empty_list_says_anew_why_it_is_empty() -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        assert "no containers yet" in picture.text_of(app)
        app.take(rows.snapshot((), error="input/output error '/var/lib/pyctr'"))
        await pilot.pause()
        assert "the containers cannot be read" in picture.text_of(app)

    run(script, first=rows.snapshot(()))


def test_what_is_typed_right_after_a_slash_is_the_filter() -> None:
    """Without a pause between the keys, as they come from a paste or over a slow line."""
    from textual import events

    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        for key, char in (("slash", "/"), ("d", "d"), ("slash", "/"), ("backspace", None), ("b", "b")):
            app.post_message(events.Key(key, char))
        await pilot.pause()
        assert picture.text_of(app).splitlines()[-1].split() == ["/", "db"]
        app.post_message(events.Key("enter", "\r"))
        await pilot.pause()
        assert main_of(app)._filter.text == "db"
        assert app.screen is main_of(app)  # d removes, elsewhere
        assert app.focused is main_of(app).grid

    run(script)


def test_what_is_typed_right_after_enter_is_no_longer_the_filter() -> None:
    from textual import events

    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        for key, char in (("slash", "/"), ("p", "p"), ("enter", "\r"), ("space", " ")):
            app.post_message(events.Key(key, char))
        await pilot.pause()
        assert main_of(app)._filter.text == "p"
        assert len(main_of(app).grid.marks) == 1

    run(script)


def test_a_refused_answer_and_what_is_typed_after_it_keep_their_order() -> None:
    """Keys of a burst reach the app while earlier ones still wait for what Enter does."""
    from textual import events

    from pyctr.tui.widgets.dialogs import Ask

    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        for _ in range(20):
            answers: list[str | None] = []
            dialog = Ask("How many?", check=lambda text: "" if text.isdigit() else "a number")
            await app.push_screen(dialog, answers.append)
            await pilot.pause()
            for key in ("l", "o", "t", "s", "enter", "ctrl+u", "5", "0", "enter"):
                app.post_message(events.Key(key, key if len(key) == 1 else None))
                await asyncio.sleep(0)
            await pilot.pause()
            await pilot.pause()
            assert answers == ["50"]

    run(script)


def test_no_colour_at_all_if_the_user_wants_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyctr.tui import theming

    monkeypatch.setenv("NO_COLOR", "1")
    assert theming.usual() == "plain"

    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        for strip in app.screen._compositor.render_strips():
            for _, style, _ in strip:
                assert style is None or not style.color or style.color.is_default
                assert style is None or not style.bgcolor or style.bgcolor.is_default

    run(script)
