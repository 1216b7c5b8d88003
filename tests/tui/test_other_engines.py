"""Containers of other engines on the main screen: what a key has done by their engine, and only after a question."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from pyctr.tui import picture
from pyctr.tui.app import PyctrApp
from pyctr.tui.engine import Poller
from pyctr.tui.screens.containers import ContainersScreen
from pyctr.tui.widgets.dialogs import Confirm
from tests.support.enginetree import EngineTree

ID = "0123456789abcdef" * 4
Script = Callable[[PyctrApp, Pilot[None]], Awaitable[None]]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineTree:
    """One container of docker that runs, and a docker command that writes down what it is told."""
    made = EngineTree(Path(os.path.realpath(tmp_path)))
    store = made.top / "var/lib/docker"
    made.write("/etc/docker/daemon.json", {"data-root": str(store)})
    # the record's place on this host, which acting looks at, is the recorded one
    made.paths.host = ""
    made.write(f"{store}/containers/{ID}/config.v2.json".removeprefix(str(made.top)), {"ID": ID, "Name": "/web"})
    made.process(60, "dockerd", "dockerd", "--data-root", str(store))
    made.group(f"/docker/{ID}", 70)
    made.process(70, "httpd", group=f"/docker/{ID}", inner=1)
    command = made.write(
        "/bin/docker", f'#!/bin/sh\necho "$*" >> {made.top}/told\n[ ! -e {made.top}/hung ] || exec sleep 1000\n'
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{made.top}/bin:{os.environ['PATH']}")
    return made


def run(tree: EngineTree, script: Script) -> None:
    poller = Poller(tree.paths, engines=("pyctr", "docker"))
    app = PyctrApp(poller, first=poller.collect(), live=False)

    async def go() -> None:
        async with app.run_test(size=(140, 40)) as pilot:
            await pilot.pause()
            assert isinstance(app.main_screen, ContainersScreen)
            app.main_screen.select(f"docker:{ID}")
            await script(app, pilot)

    asyncio.run(go())


async def until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        await pilot.pause(0.05)


def test_a_stop_shows_the_command_first_and_is_carried_out_by_docker(tree: EngineTree) -> None:
    told = tree.top / "told"

    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        text = picture.text_of(app)
        assert "ENGINE" in text and "docker" in text
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert f"docker stop {ID[:12]}" in picture.text_of(app)
        assert "stop" not in told.read_text()
        await pilot.press("right", "enter")
        await until(pilot, lambda: f"stop {ID}" in told.read_text())

    run(tree, script)


def test_a_docker_that_hangs_is_said_and_nothing_is_asked(tree: EngineTree, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyctr.core.engines import acting

    monkeypatch.setattr(acting, "ANSWER", 0.2)
    (tree.top / "hung").touch()
    said: list[str] = []

    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        monkeypatch.setattr(app, "complain", lambda title, hint="": said.append(f"{title}: {hint}"))
        await pilot.press("s")
        await until(pilot, lambda: bool(said))
        assert not isinstance(app.screen, Confirm)

    run(tree, script)
    assert "docker does not answer" in said[0]


def test_what_is_known_of_its_death_is_its_engines(tree: EngineTree) -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        await pilot.press("F")
        await pilot.pause()
        assert "docker keeps no more of its deaths" in picture.text_of(app)

    run(tree, script)


def test_keys_that_would_change_it_themselves_say_why_not(tree: EngineTree) -> None:
    said: list[str] = []

    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        app.say = lambda text, undo=False: said.append(text)  # type: ignore[method-assign,assignment]
        await pilot.press("R")
        await pilot.pause()

    run(tree, script)
    assert said == ["web is docker's: that is not done from here"]
