"""The screen of who needs somebody: its order, its keys, and the way from it to a container."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from pyctr.tui.picture import text_of
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


def test_f_shows_how_a_container_died(host: screens.Replay) -> None:
    app = host.app()

    async def go() -> None:
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.press("7")
            app.take(host.poller.collect())
            await pilot.pause()
            row = app.screen.current_row()  # type: ignore[attr-defined]
            said = "\x1b[31mbye"
            document = {
                "version": 1, "cause": "oom", "id": row.id, "name": row.name, "image": "", "command": ["x"], "pid": 7,
                "started_at": 1.0, "finished_at": 2.0, "code": 137, "signal": 9, "oom_killed": True, "error": "",
                "restarts": 0, "memory": {"limit": 1 << 28, "peak": 1 << 28, "events": None, "events_before": None},
                "kernel": {"oom": [], "faults": []}, "samples": [], "log": [[0, "stderr", said]], "events": [],
            }  # fmt: skip
            place = Path(host.paths.container(row.id, "deaths"))
            place.mkdir()
            (place / "1-x.json").write_text(json.dumps(document))
            await pilot.press("F")
            while not any("OOM-killed" in str(line) for line in app.screen.lines.lines):  # type: ignore[attr-defined]
                await pilot.pause(0.02)
            text = text_of(app)
            assert "1 on record" in text and "bye" in text and "\x1b" not in text
            await pilot.press("escape")
            await pilot.press("j", "F")
            while not any("no death" in str(line) for line in app.screen.lines.lines):  # type: ignore[attr-defined]
                await pilot.pause(0.02)

    asyncio.run(go())
