"""The screen of how well containers are shut in: its order, its filter, and the way from it to a container."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from pyctr.core.capture import strangers
from pyctr.core.confinement import Confinement, Shown
from pyctr.core.linux.capnames import number
from pyctr.tui.app import PyctrApp
from pyctr.tui.picture import text_of
from pyctr.tui.sources.posture import Ratings
from tests.support import screens
from tests.unit.test_posture import DEFAULT, KNOWN, TIGHT

Script = Callable[[PyctrApp, Pilot[None]], Awaitable[None]]

USUAL = TIGHT._replace(
    uid=0,
    inner_uid=0,
    capabilities={**TIGHT.capabilities, "effective": DEFAULT},
    readonly_root=False,
    packages="/usr/bin/apt-get",
)
CONFINED = {
    "proxy": USUAL._replace(
        capabilities={**TIGHT.capabilities, "effective": KNOWN},
        seccomp=0,
        no_new_privs=False,
        label="",
        shared=("user", "pid", "net", "cgroup"),
        mounts=(Shown("/run/docker.sock", "/run/docker.sock", True, socket=True), Shown("/etc", "/host/etc", True)),
        devices=(("sda", True), ("kmsg", False), ("fuse", False)),
        memory_limit=None,
        pids_limit=None,
        cpu_limit=None,
    ),
    "api-1": USUAL._replace(secrets=("DB_PASSWORD", "STRIPE_TOKEN"), no_new_privs=False, cpu_limit=None),
    "api-2": USUAL._replace(
        capabilities={**TIGHT.capabilities, "effective": DEFAULT | 1 << number("sys_ptrace")},
        mounts=(Shown("/srv/www\x1b[31m", "/www", True),),
    ),
    "batch-7": USUAL._replace(pids_limit=None, cpu_limit=None),
    "db": TIGHT,
}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> screens.Replay:
    made = screens.replay(tmp_path, monkeypatch)
    answer(made, CONFINED)
    return made


def answer(host: screens.Replay, confined: dict[str, Confinement]) -> None:
    """As a recording tells what confined them."""
    pids = {row.name: row.pid for row in host.snapshot.containers}
    told = {str(pids[name]): strangers.plain(it._replace(pid=pids[name])) for name, it in confined.items()}
    Path("answers.json").write_text(json.dumps({"confined": told}))


def run(host: screens.Replay, script: Script, size: tuple[int, int] = (120, 40)) -> None:
    app = host.app()

    async def go() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.press("8")
            app.take(host.poller.collect())
            await pilot.pause()
            await script(app, pilot)

    asyncio.run(go())


def names(app: PyctrApp) -> list[str]:
    return [one.name for one in app.screen.table.rows]  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_picture(host: screens.Replay, size: tuple[int, int]) -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        await screens.compare(app, f"posture-{size[0]}x{size[1]}")

    run(host, script, size)


def test_the_worst_is_first_and_what_does_not_run_is_counted_alone(host: screens.Replay) -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        assert names(app) == ["proxy", "api-2", "api-1", "batch-7", "db"]
        assert "4 not running" in text_of(app)
        proxy = app.screen.table.rows[0]  # type: ignore[attr-defined]
        assert proxy.count("bad") >= 6 and proxy.gaps[0].level == "bad"
        text = text_of(app)
        assert "privileged" in text and "without --privileged" in text and "raw devices" in text
        await pilot.press("G")
        await pilot.pause()
        assert "nothing to mend: every practice is kept" in text_of(app)

    run(host, script)


def test_enter_opens_the_container_with_what_confines_it(host: screens.Replay) -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        await pilot.press("j", "enter")
        await pilot.pause()
        assert app.current_mode == "containers"
        row = app.main_screen.current_row()  # type: ignore[union-attr]
        assert row is not None and row.name == "api-2"
        assert app.screen.detail.tab == "security"  # type: ignore[attr-defined]

    run(host, script)


@pytest.mark.parametrize(
    ("typed", "left"),
    [
        ("api", ["api-2", "api-1", "batch-7"]),  # the image, too
        ("!api", ["proxy", "db"]),
        ("name:api", ["api-2", "api-1"]),
        ("level:bad", ["proxy", "api-2"]),
        ("kind:secrets", ["api-1"]),
        ("engine", ["proxy"]),  # in the title of a gap
        ("engine:pyctr", ["proxy", "api-2", "api-1", "batch-7", "db"]),
        ("engine:docker", []),
    ],
)
def test_the_filter(host: screens.Replay, typed: str, left: list[str]) -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        await pilot.press("slash", *("colon" if char == ":" else char for char in typed), "enter")
        await pilot.pause()
        assert names(app) == left
        if not left:
            assert "nothing matches" in text_of(app)
        await pilot.press("escape")
        await pilot.pause()
        assert len(names(app)) == 5

    run(host, script)


def test_tab_leads_to_the_gaps_which_then_scroll(host: screens.Replay) -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        pane = app.screen.document  # type: ignore[attr-defined]
        await pilot.press("tab", "j", "j")
        await pilot.pause()
        assert app.screen.table.current.name == "proxy" and pane.scroll_offset.y == 2  # type: ignore[attr-defined]
        await pilot.press("escape", "j")
        await pilot.pause()
        assert app.screen.table.current.name == "api-2" and pane.scroll_offset.y == 0  # type: ignore[attr-defined]

    run(host, script, (80, 24))


def test_a_title_sorts_by_its_number(host: screens.Replay) -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        grid = app.screen.table  # type: ignore[attr-defined]
        good = next(column for column in grid.chosen_columns if column.key == "good")
        grid.post_message(grid.SortRequested(grid, good))
        await pilot.pause()
        assert names(app)[0] == "db"
        grid.post_message(grid.SortRequested(grid, good))
        await pilot.pause()
        assert names(app)[0] == "proxy"

    run(host, script)


def test_nothing_here_changes_anything() -> None:
    from pyctr.tui import keys
    from pyctr.tui.screens.posture import PostureScreen

    assert not [action.name for action in keys.in_scopes(*PostureScreen.SCOPES) if action.changes]


def test_a_long_list_is_looked_at_by_turns_and_new_ones_at_once(
    host: screens.Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyctr.tui.sources import posture

    monkeypatch.setattr(posture, "AGAIN", 1)

    def look() -> dict[str, float]:
        host.clock.since += 10
        host.clock.epoch += 10
        document = host.focus(sources=("posture",)).scenes["posture"].document
        assert isinstance(document, Ratings)
        return {one.name: one.taken for one in document.rated}

    first = look()
    assert len(first) == 5 and len(set(first.values())) == 1
    seen = [look() for _ in range(5)]
    assert [len([name for name in now if now[name] == max(now.values())]) for now in seen] == [1] * 5
    assert min(seen[-1].values()) > min(first.values()), "everybody has had a turn"
