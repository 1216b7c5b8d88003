"""The images screen on a recorded host and on made-up trees: finding, another name, what nobody uses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from pyctr.core.engine import Engine
from pyctr.core.images.model import Image
from pyctr.core.images.progress import DONE, DOWNLOADING, EXISTS, UNPACKING, WAITING, Progress
from pyctr.core.images.tree import CONTAINER, IMAGE, LAYER, Node
from pyctr.tui import picture, pulling
from pyctr.tui.app import PyctrApp
from pyctr.tui.finding import Search
from pyctr.tui.screens.image_verbs import unused
from pyctr.tui.screens.images import ImagesScreen
from pyctr.tui.widgets.page import Page
from pyctr.tui.widgets.pulldialog import PullDialog
from tests.support import screens
from tests.support.shelf import stocked

Script = Callable[[PyctrApp, ImagesScreen, Pilot[None]], Awaitable[None]]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> screens.Replay:
    return screens.replay(tmp_path, monkeypatch)


def layer(name: str, directory: Path, *files: str, below: Node | None = None) -> Node:
    for file in files:
        path = directory / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    node = Node(LAYER, f"chain-{name}", f"RUN {name}", 10, images=1, path=str(directory / name))
    if below is not None:
        node.lower = [below.path, *below.lower]
        below.children.append(node)
    return node


def image(name: str, on: Node, containers: int = 0) -> Node:
    model = Image.__new__(Image)
    node = Node(IMAGE, f"digest-{name}", name, 0, images=1, containers=containers, image=model)
    on.children.append(node)
    return node


def test_a_path_is_found_in_every_layer_that_has_it_and_in_no_other(tmp_path: Path) -> None:
    base = layer("base", tmp_path, "etc/passwd", "bin/sh")
    middle = layer("middle", tmp_path, "opt/tool", below=base)
    top = layer("top", tmp_path, "etc/passwd", below=middle)
    search = Search("etc/pass", [base], lambda: None)
    search._run()
    assert {key: [file.path.lstrip("/") for file in files] for key, files in search.found.files.items()} == {
        "layer chain-base": ["etc/passwd"],
        "layer chain-top": ["etc/passwd"],
    }
    assert search.found.files["layer chain-top"][0].change == "C"  # that is who shadowed it
    assert search.found.done
    assert not middle.path.startswith(top.path)


def test_a_search_that_is_no_longer_wanted_reads_no_further_layer(tmp_path: Path) -> None:
    base = layer("base", tmp_path, "x")
    layer("top", tmp_path, "x", below=base)
    told: list[Search] = []
    search = Search("x", [base], lambda: told[0].stop())
    told.append(search)
    search._run()
    assert list(search.found.files) == ["layer chain-base"]
    assert not search.found.done


def test_unused_is_what_no_container_has_and_frees_only_what_nobody_else_needs(tmp_path: Path) -> None:
    base = layer("base", tmp_path)
    base.images, base.size = 3, 100
    one, two = layer("one", tmp_path, below=base), layer("two", tmp_path, below=base)
    one.size, two.size = 20, 3
    used = image("used", one, containers=1)
    used.children = [Node(CONTAINER, "c", "web", 1, container="c", containers=1)]
    idle, other = image("idle", two), image("other", two)
    assert unused([base]) == ([idle, other], 3)
    used.containers = 0
    assert unused([base]) == ([used, idle, other], 123)


@pytest.fixture
def stock(host: screens.Replay) -> screens.Replay:
    """The recorded host with a few more images, which have files."""
    stocked(Engine(host.paths))
    return host


def run(host: screens.Replay, script: Script, size: tuple[int, int] = (120, 40)) -> None:
    app = host.app()

    async def go() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await app.action_screen("images")
            await pilot.pause()
            app.take(host.poller.collect())
            await pilot.pause()
            assert isinstance(app.screen, ImagesScreen)
            await script(app, app.screen, pilot)

    asyncio.run(go())


async def searched(screen: ImagesScreen, pilot: Pilot[None]) -> None:
    """The search is a thread: its end is an event of its own."""
    for _ in range(500):
        await pilot.pause()
        if screen._search is not None and screen._search.found.done:
            break
        await asyncio.sleep(0.01)
    await pilot.pause()


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_slash_finds_by_name_and_escape_shows_all_again(host: screens.Replay, size: tuple[int, int]) -> None:
    async def script(app: PyctrApp, screen: ImagesScreen, pilot: Pilot[None]) -> None:
        before = [row.node.title for row in screen.tree_grid.rows]
        await pilot.press("slash", *"proxy", "enter")
        await searched(screen, pilot)
        shown = screen.tree_grid.rows
        # what it stands on is there, what has nothing to do with it is not
        assert [row.node.kind for row in shown] == [LAYER, LAYER, IMAGE, CONTAINER]
        assert shown[-1].node.title == "proxy"
        assert screen.filter_text() == "proxy"
        await pilot.press("escape")
        await pilot.pause()
        assert [row.node.title for row in screen.tree_grid.rows] == before

    run(host, script, size)


def test_what_no_layer_has_is_said_so(host: screens.Replay) -> None:
    async def script(app: PyctrApp, screen: ImagesScreen, pilot: Pilot[None]) -> None:
        await pilot.press("slash", *"no-such-thing", "enter")
        await searched(screen, pilot)
        assert screen.tree_grid.rows == []
        assert "no layer has 'no-such-thing'" in picture.text_of(app)

    run(host, script)


SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)], ids=lambda size: f"{size[0]}x{size[1]}")


async def until(true: Callable[[], object], pilot: Pilot[None]) -> None:
    """Readers are threads: their end is an event of its own."""
    for _ in range(1500):
        await pilot.pause()
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


async def to(screen: ImagesScreen, title: str, pilot: Pilot[None]) -> None:
    """The cursor on a node, its files read."""
    row = next(row for row in screen.tree_grid.rows if row.node.title.startswith(title))
    screen.tree_grid.select(row.key)
    await until(lambda: screen.pane._ready and screen.pane.row is not None and screen.pane.row.key == row.key, pilot)
    await pilot.pause()


def names(screen: ImagesScreen) -> list[str]:
    return [row.name for row in screen.files.rows]


@SIZES
def test_the_picture_of_a_layer_and_its_files(stock: screens.Replay, size: tuple[int, int]) -> None:
    async def script(app: PyctrApp, screen: ImagesScreen, pilot: Pilot[None]) -> None:
        await to(screen, "COPY . /app", pilot)
        await screens.compare(app, f"images-{size[0]}x{size[1]}")
        await pilot.press("enter")
        await until(lambda: screen.files.has_focus, pilot)
        for row in screen.files.rows:
            if row.name == "main.py":
                screen.files.select(row.path)
        await pilot.pause()
        await screens.compare(app, f"images-files-{size[0]}x{size[1]}")

    run(stock, script, size)


def test_files_fold_and_are_filtered_by_what_was_done_to_them(stock: screens.Replay) -> None:
    async def script(app: PyctrApp, screen: ImagesScreen, pilot: Pilot[None]) -> None:
        await to(screen, "COPY . /app", pilot)
        assert names(screen) == [
            "app/",
            "main.py",
            "run",
            "etc/",
            "motd",
            "usr/lib/python3/site-packages/pandas/",
            "part0.py",
        ]
        await pilot.press("D")
        await pilot.pause()
        assert names(screen) == ["app/", "main.py", "run"]
        await pilot.press("D", "tab")
        await pilot.pause()
        await pilot.press("left")
        await pilot.pause()
        assert names(screen)[:2] == ["app/", "etc/"]
        await pilot.press("right", "A", "C", "D", "U")
        await pilot.pause()
        assert "tool-00" not in names(screen) and "bin/" in names(screen)  # crowded: it begins closed
        await pilot.press("U", "A", "C", "w")
        await until(lambda: screen.pane._ready and screen.pane._wish is not None and screen.pane._wish.whole, pilot)
        await pilot.pause()
        assert {"bin/", "passwd", "main.py"} <= set(names(screen)) and "motd" not in names(screen)

    run(stock, script)


def test_enter_shows_a_file_with_its_escapes_made_harmless(stock: screens.Replay) -> None:
    async def script(app: PyctrApp, screen: ImagesScreen, pilot: Pilot[None]) -> None:
        await to(screen, "ADD file", pilot)
        await pilot.press("tab")
        screen.files.select("/etc/motd")
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, Page) and "text, 26" in picture.text_of(app), pilot)
        assert "welcome to ␛[1mdebian␛[0m" in picture.text_of(app)
        await pilot.press("escape")
        await until(lambda: app.screen is screen, pilot)
        # a link leads nowhere: it is told, not followed
        await to(screen, "COPY . /app", pilot)
        screen.files.select("/app/run")
        await pilot.press("v")
        await pilot.pause()
        assert app.screen is screen

    run(stock, script)


def test_what_is_found_is_shown_alone_among_the_files(stock: screens.Replay) -> None:
    async def script(app: PyctrApp, screen: ImagesScreen, pilot: Pilot[None]) -> None:
        await pilot.press("slash", *"motd", "enter")
        await searched(screen, pilot)
        titles = [row.node.title for row in screen.tree_grid.rows if row.hits]
        assert {title.split()[0] for title in titles} == {"ADD", "COPY"}
        await to(screen, "COPY . /app", pilot)
        assert names(screen) == ["etc/", "motd"]
        await pilot.press("escape")
        await pilot.pause()
        await until(lambda: "main.py" in names(screen), pilot)

    run(stock, script)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_two_marked_images_are_compared(stock: screens.Replay, size: tuple[int, int]) -> None:
    async def script(app: PyctrApp, screen: ImagesScreen, pilot: Pilot[None]) -> None:
        for name in ("acme/api:2.4", "acme/api:2.5"):
            screen.tree_grid.select(next(row.key for row in screen.tree_grid.rows if row.node.title == name))
            await pilot.press("space")
        await pilot.press("c")
        await until(lambda: isinstance(app.screen, Page) and "1 changed" in picture.text_of(app), pilot)
        await screens.compare(app, f"images-compared-{size[0]}x{size[1]}")
        await pilot.press("A", "C")
        await pilot.pause()
        assert "VERSION" not in picture.text_of(app) and "- /app/run" in picture.text_of(app)

    run(stock, script, size)


@SIZES
def test_the_picture_of_a_pull(stock: screens.Replay, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, str]] = []

    def start(pull: pulling.Pull, name: str, platform: str = "") -> None:
        """What the core would tell, without a registry."""
        started.append((name, platform))
        pull.name, pull.state = name, pulling.RUNNING
        whats = ((EXISTS, 30), (DONE, 12), (UNPACKING, 41), (DOWNLOADING, 30), (DOWNLOADING, 84), (WAITING, 9))
        for number, (what, size) in enumerate(whats):
            digest = f"sha256:{f'{number}f3a' * 16}"
            done = {DOWNLOADING: size // 3, WAITING: 0}.get(what, size)
            pull.layers[digest] = Progress(what=what, digest=digest, done=done << 20, total=size << 20)

    monkeypatch.setattr(pulling.Pull, "start", start)

    async def script(app: PyctrApp, screen: ImagesScreen, pilot: Pilot[None]) -> None:
        await to(screen, "ADD file", pilot)
        await pilot.press("p")
        await until(lambda: isinstance(app.screen, PullDialog), pilot)
        await pilot.press(*"No", "enter")
        await pilot.pause()
        assert started == []  # that is no name, and said so
        await pilot.press("ctrl+u", *"acme", "enter")
        await pilot.pause()
        assert started == [("acme", "")]
        await screens.compare(app, f"images-pull-{size[0]}x{size[1]}")
        await pilot.press("escape")
        await until(lambda: app.screen is screen, pilot)
        assert screen.pull is not None and screen.pull.running
        await pilot.press("p")
        await until(lambda: isinstance(app.screen, PullDialog), pilot)
        assert app.screen.pull is screen.pull  # type: ignore[attr-defined]

    run(stock, script, size)
