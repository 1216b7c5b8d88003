"""The screen of who needs somebody: its order, its keys, and the way from it to a container."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support import screens


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> screens.Replay:
    return screens.replay(tmp_path, monkeypatch)


def test_enter_and_l_open_the_container_under_the_cursor(host: screens.Replay) -> None:
    app = host.app()

    async def go() -> None:
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.press("7")
            app.take(host.poller.collect())
            await pilot.pause()
            assert [case.name for case in app.screen.grid.rows] == ["worker-3", "api-1", "seed", "batch-7"]  # type: ignore[attr-defined]
            await pilot.press("j", "l")
            await pilot.pause()
            assert app.current_mode == "containers"
            row = app.main_screen.current_row()  # type: ignore[union-attr]
            assert row is not None and row.name == "api-1"
            assert app.screen.detail.tab == "logs"  # type: ignore[attr-defined]
            await pilot.press("7", "enter")
            await pilot.pause()
            assert app.screen.detail.tab == "overview"  # type: ignore[attr-defined]

    asyncio.run(go())


def test_what_began_while_we_look_has_a_time_and_what_was_there_has_none(host: screens.Replay) -> None:
    app = host.app()

    async def go() -> None:
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.press("7")
            app.take(host.poller.collect())
            await pilot.pause()
            since = {case.name: case.worst.since for case in app.screen.grid.rows}  # type: ignore[attr-defined]
            assert since["api-1"] == 0 and since["seed"] > 0
            group = host.poller.engine.paths.cgroup_root
            for file in Path(group).glob(f"pids/pyctr/{host.id('db')}/pids.max"):
                file.write_text("10\n")
            for file in Path(group).glob(f"pids/pyctr/{host.id('db')}/pids.current"):
                file.write_text("10\n")
            host.clock.since += 10
            host.clock.epoch += 10
            app.take(host.poller.collect())
            await pilot.pause()
            sick = {case.name: case.worst for case in app.screen.grid.rows}  # type: ignore[attr-defined]
            assert sick["db"].kind == "pids" and sick["db"].since == host.clock.epoch

    asyncio.run(go())
