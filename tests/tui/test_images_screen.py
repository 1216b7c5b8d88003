"""The images screen on a recorded host and on made-up trees: finding, another name, what nobody uses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from pyctr.core.images.model import Image
from pyctr.core.images.tree import CONTAINER, IMAGE, LAYER, Node
from pyctr.tui import picture
from pyctr.tui.app import PyctrApp
from pyctr.tui.finding import Search
from pyctr.tui.screens.image_verbs import unused
from pyctr.tui.screens.images import ImagesScreen
from tests.support import screens

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
