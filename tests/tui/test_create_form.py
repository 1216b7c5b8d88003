"""The create form under Pilot: what is typed, what is said about it, and that nothing is made too early."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.events import Paste
from textual.pilot import Pilot

from pyctr.core.paths import Paths
from pyctr.core.spec import ContainerSpec
from pyctr.tui import making, picture
from pyctr.tui.app import PyctrApp
from pyctr.tui.engine import Poller
from pyctr.tui.screens.containers import ContainersScreen
from pyctr.tui.screens.create import CreateScreen
from tests.support import screens
from tests.tui import rows

Script = Callable[[PyctrApp, CreateScreen, Pilot[None]], Awaitable[None]]


def run(directory: Path, script: Script, *, size: tuple[int, int] = (80, 24)) -> None:
    """The form, opened with its key, on an engine that has nothing."""
    paths = Paths(root=str(directory / "r"), run=str(directory / "v"))
    app = PyctrApp(Poller(paths), first=rows.snapshot(), live=False)

    async def go() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await pilot.press("n")
            await pilot.pause()
            assert isinstance(app.screen, CreateScreen)
            await script(app, app.screen, pilot)

    asyncio.run(go())


async def until(pilot: Pilot[None], true: Callable[[], object]) -> None:
    """Threads answer with messages: look after each."""
    for _ in range(500):
        await pilot.pause()
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came true")


def made(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_a_complaint_comes_while_one_types_and_moves_nothing(tmp_path: Path, size: tuple[int, int]) -> None:
    async def script(app: PyctrApp, form: CreateScreen, pilot: Pilot[None]) -> None:
        before = [row.input.region for row in form.rows.values()]
        form.rows["ports"].input.focus()
        await pilot.press("8", "0", ":", "x")
        await pilot.pause()
        text = picture.text_of(app)
        assert "'x' is not a port" in text
        assert "such as 8080:80" in text
        assert [row.input.region for row in form.rows.values()] == before
        await pilot.press("backspace", "8", "1")
        await pilot.pause()
        assert "is not a port" not in picture.text_of(app)

    run(tmp_path, script, size=size)


def test_escape_leaves_and_nothing_was_made(tmp_path: Path) -> None:
    async def script(app: PyctrApp, form: CreateScreen, pilot: Pilot[None]) -> None:
        await pilot.press("w", "e", "b")
        await until(pilot, lambda: form.steps)
        await pilot.press("escape")
        await pilot.pause()
        assert isinstance(app.screen, ContainersScreen)
        assert made(tmp_path) == []

    run(tmp_path, script)


def test_a_form_that_is_wrong_creates_nothing_and_shows_the_field(tmp_path: Path) -> None:
    async def script(app: PyctrApp, form: CreateScreen, pilot: Pilot[None]) -> None:
        form.rows["memory"].input.value = "12q"
        await pilot.pause()
        await pilot.press("ctrl+s")
        await pilot.pause()
        assert form.focused is form.rows["memory"].input
        assert "'12q' is not a size" in picture.text_of(app)
        assert made(tmp_path) == []

    run(tmp_path, script)


def test_a_name_that_is_taken_is_said_before_anything_is_tried(tmp_path: Path) -> None:
    async def script(app: PyctrApp, form: CreateScreen, pilot: Pilot[None]) -> None:
        await pilot.press("d", "b")
        await pilot.pause()
        assert "'db' is taken" in picture.text_of(app)

    run(tmp_path, script)


def test_what_fails_is_said_and_the_form_stays_filled(tmp_path: Path) -> None:
    async def script(app: PyctrApp, form: CreateScreen, pilot: Pilot[None]) -> None:
        await pilot.press("w", "e", "b")
        form.rows["image"].input.value = "acme/none:1"
        await until(pilot, lambda: "acme/none:1" in str(form.plan_trouble))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "cannot create web" in [note.title for note in app._notifications])
        assert app.screen is form
        assert form.draft().texts["name"] == "web"
        assert form.draft().texts["image"] == "acme/none:1"

    run(tmp_path, script)


def test_what_takes_long_says_that_it_goes_on_and_is_not_left_half_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()

    def slow(*_: object, **__: object) -> making.Made:
        gate.wait(20)
        return making.Made("f" * 64, "web")

    monkeypatch.setattr(making, "make", slow)

    async def script(app: PyctrApp, form: CreateScreen, pilot: Pilot[None]) -> None:
        try:
            await pilot.press("w", "e", "b", "ctrl+s")
            await until(pilot, lambda: "creating web" in picture.text_of(app))
            await pilot.press("escape")
            await pilot.pause()
            assert app.screen is form
        finally:
            gate.set()
        await until(pilot, lambda: isinstance(app.screen, ContainersScreen))

    run(tmp_path, script)


def test_enter_lists_what_can_be_chosen_and_takes_it(tmp_path: Path) -> None:
    async def script(app: PyctrApp, form: CreateScreen, pilot: Pilot[None]) -> None:
        form.rows["restart"].input.focus()
        await pilot.press("enter")
        await pilot.pause()
        assert "until somebody stops it" in picture.text_of(app)
        await pilot.press("down", "down", "down", "enter")
        await pilot.pause()
        assert form.reading.spec is not None
        assert form.reading.spec.restart == "unless-stopped"

    run(tmp_path, script)


def test_the_keyboard_reaches_every_field_and_every_button(tmp_path: Path) -> None:
    async def script(app: PyctrApp, form: CreateScreen, pilot: Pilot[None]) -> None:
        seen = []
        for _ in range(len(form.rows) + 6):
            assert form.focused is not None
            seen.append(form.focused)
            assert form.focused.region.bottom <= app.size.height
            await pilot.press("down")
        assert len(set(seen)) == len(form.rows) + 6
        assert form.focused is seen[0]
        form.query_one("#toggle-init").focus()
        await pilot.press("space")
        await pilot.pause()
        assert form.reading.spec is not None and form.reading.spec.init

    run(tmp_path, script, size=(80, 15))


def test_the_plan_is_behind_a_key_where_only_one_fits(tmp_path: Path) -> None:
    async def script(app: PyctrApp, form: CreateScreen, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: form.steps)
        assert "resolve image" not in picture.text_of(app)
        await pilot.press("f2")
        await pilot.pause()
        assert "resolve image" in picture.text_of(app)
        await pilot.press("f2")
        await pilot.pause()
        assert "resolve image" not in picture.text_of(app)
        await pilot.resize_terminal(120, 40)
        await until(pilot, lambda: "resolve image" in picture.text_of(app))

    run(tmp_path, script)


def test_pasted_controls_do_not_get_into_a_field(tmp_path: Path) -> None:
    async def script(app: PyctrApp, form: CreateScreen, pilot: Pilot[None]) -> None:
        form.rows["command"].input.post_message(Paste("echo \x1b]52;c;AAAA\x07"))
        form.rows["env"].input.post_message(Paste("A=\u202egnp"))
        await pilot.pause()
        assert "\x1b" not in form.rows["command"].input.value
        assert "\u202e" not in form.rows["env"].input.value
        assert "\x1b" not in picture.text_of(app)

    run(tmp_path, script)


def test_ascii_mode_draws_the_form_in_ascii(tmp_path: Path) -> None:
    app = PyctrApp(
        Poller(Paths(root=f"{tmp_path}/r", run=f"{tmp_path}/v")), first=rows.snapshot(), live=False, ascii=True
    )

    async def go() -> None:
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.press("n")
            await pilot.pause()
            form = app.screen
            assert isinstance(form, CreateScreen)
            await until(pilot, lambda: form.steps)
            await pilot.pause()
            assert [char for char in picture.text_of(app) if not char.isascii()] == []

    asyncio.run(go())


def test_the_cursor_goes_to_the_new_container_when_it_is_first_seen(tmp_path: Path) -> None:
    async def script(app: PyctrApp, form: CreateScreen, pilot: Pilot[None]) -> None:
        new = rows.running("zz-new")
        form.post_message(making.Made(new.id, new.name, started=True))
        await pilot.pause()
        main = app.screen
        assert isinstance(main, ContainersScreen)
        app.take(rows.snapshot())
        await pilot.pause()
        app.take(rows.snapshot((*rows.some(), new)))
        await pilot.pause()
        assert main.grid.current is not None and main.grid.current.name == "zz-new"

    run(tmp_path, script)


def test_only_the_last_of_many_wishes_is_planned(tmp_path: Path) -> None:
    gate, first, answers = threading.Event(), threading.Event(), []
    last = threading.Event()

    def post(answer: making.Planned) -> None:
        answers.append(answer.spec.name)
        first.set()
        gate.wait(20)
        if answer.spec.name == "n99":
            last.set()

    planner = making.Planner(post)
    paths = Paths(root=f"{tmp_path}/r", run=f"{tmp_path}/v")
    planner.want(paths, ContainerSpec(image="localhost/base", name="n0"))
    assert first.wait(20)
    for number in range(1, 100):
        planner.want(paths, ContainerSpec(image="localhost/base", name=f"n{number}"))
    gate.set()
    assert last.wait(20)
    assert answers == ["n0", "n99"]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("state", ["filled", "wrong", "plan"])
def test_how_it_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, size: tuple[int, int]) -> None:
    host = screens.replay(tmp_path, monkeypatch)
    app = host.app()

    async def go() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.press("n")
            await pilot.pause()
            form = app.screen
            assert isinstance(form, CreateScreen)
            texts = {"name": "web-9", "command": "httpd -f -p 80", "memory": "256m", "cpus": "0.5", "ports": "8080:80"}
            for name, text in texts.items():
                form.rows[name].input.value = text
            form.query_one("#toggle-init").focus()
            await pilot.press("space")
            form.rows["ports"].input.focus()
            await until(pilot, lambda: form._plan_state() == "nothing is made yet")
            if state == "wrong":
                await pilot.press("x")
            if state == "plan":
                await pilot.press("f2")
            await pilot.pause()
            await pilot.pause()
            if state != "plan" or size[0] < 120:
                await screens.compare(app, f"create-{state}-{size[0]}x{size[1]}")

    asyncio.run(go())
