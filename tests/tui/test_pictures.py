"""The main screen and every tab of it, from a recorded host read by the real code, at three sizes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support import screens

SIZES = [(80, 24), (120, 40), (200, 60)]
TABS = {
    "overview": "api-1",
    "logs": "api-2",
    "processes": "proxy",
    "layers": "db",
    "network": "api-2",
    "mounts": "db",
    "security": "proxy",
    "inspect": "worker-3",
    "events": "worker-3",
}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> screens.Replay:
    return screens.replay(tmp_path, monkeypatch)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_list(host: screens.Replay, size: tuple[int, int]) -> None:
    app = host.app()

    async def go() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            app.take(host.poller.collect())
            await pilot.pause()
            await screens.compare(app, f"containers-{size[0]}x{size[1]}")

    asyncio.run(go())


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("tab", TABS)
def test_a_tab(host: screens.Replay, tab: str, size: tuple[int, int]) -> None:
    app = host.app()

    async def go() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            app.screen.show_tab(host.id(TABS[tab]), tab)  # type: ignore[attr-defined]
            await pilot.pause()
            app.take(host.poller.collect())
            await pilot.pause()
            if tab == "logs":
                view = app.screen.detail.content  # type: ignore[attr-defined]
                log = host.paths.container(host.id(TABS[tab]), "log", "ctr.log")
                written = len(Path(log).read_bytes().splitlines())
                # the follower is a thread, its first batch may be a part of the log, a layout may still be under way
                for _ in range(2000):
                    end = view.scroll_offset.y + view.size.height
                    if len(view.entries) >= written and end >= view.virtual_size.height:
                        break
                    await asyncio.sleep(0.01)
                await pilot.pause()
                await pilot.pause()
            await screens.compare(app, f"{tab}-{size[0]}x{size[1]}")

    asyncio.run(go())


@pytest.mark.parametrize("theme", ["paper", "contrast", "sixteen", "forest"])
def test_a_theme_at_80x24(host: screens.Replay, theme: str) -> None:
    from pyctr.tui import theming

    app = host.app(theme=theming.load(theme))

    async def go() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            await screens.compare(app, f"theme-{theme}-80x24")

    asyncio.run(go())


def test_the_dialog_of_a_removal(host: screens.Replay) -> None:
    app = host.app()

    async def go() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            app.screen.select(host.id("db"))  # type: ignore[attr-defined]
            await pilot.press("d")
            await pilot.pause()
            await screens.compare(app, "remove-80x24")

    asyncio.run(go())


def test_the_recording_has_one_of_every_kind(host: screens.Replay) -> None:
    kinds = {(row.status, row.failed) for row in host.snapshot.containers}
    assert kinds >= {("running", False), ("paused", False), ("stopped", False), ("stopped", True), ("created", False)}
    rows = {row.name: row for row in host.snapshot.containers}
    assert rows["worker-3"].oom_killed
    assert rows["api-1"].cpu is not None and rows["api-1"].cpu > 5
    assert rows["api-1"].throttled is not None and rows["api-1"].throttled > 5
    assert rows["db"].memory_of_limit is not None and rows["db"].memory_of_limit > 50
    assert rows["api-2"].net_rx
    assert rows["fresh"].cpu is None


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_volumes(host: screens.Replay, size: tuple[int, int]) -> None:
    app = host.app()

    async def go() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await app.action_screen("volumes")
            await pilot.pause()
            app.take(host.poller.collect())
            await pilot.pause()
            await screens.compare(app, f"volumes-{size[0]}x{size[1]}")

    asyncio.run(go())


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_triage(host: screens.Replay, size: tuple[int, int]) -> None:
    app = host.app()

    async def go() -> None:
        async with app.run_test(size=size) as pilot:
            await app.action_screen("triage")
            await pilot.pause()
            app.take(host.poller.collect())
            await pilot.pause()
            await screens.compare(app, f"triage-{size[0]}x{size[1]}")

    asyncio.run(go())
