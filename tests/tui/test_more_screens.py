"""Networks, host and events: their pictures from the recorded host, and what keys do there."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from pyctr.core.doctor import GOOD, WARNING, Finding
from pyctr.core.netgraph import Counters, Edge, Graph, Node, Rail
from pyctr.core.paths import Paths
from pyctr.tui import picture
from pyctr.tui.app import PyctrApp
from pyctr.tui.engine import Poller
from pyctr.tui.screens.containers import ContainersScreen
from pyctr.tui.screens.events import EventsScreen
from pyctr.tui.screens.networks import NetworksScreen
from pyctr.tui.snapshot import Focus, Snapshot
from pyctr.tui.sources import WANTED, Scene
from pyctr.tui.sources.networks import Rails
from pyctr.tui.sources.space import Kind, Space
from tests.support import screens
from tests.tui import rows

SIZES = [(80, 24), (120, 40), (200, 60)]
SIZE = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
Script = Callable[[PyctrApp, Pilot[None]], Awaitable[None]]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> screens.Replay:
    return screens.replay(tmp_path, monkeypatch)


def drive(app: PyctrApp, size: tuple[int, int], script: Script) -> None:
    async def go() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await script(app, pilot)

    asyncio.run(go())


async def filled(app: PyctrApp, pilot: Pilot[None]) -> EventsScreen:
    """The events screen, once the follower has read the whole journal."""
    await pilot.press("6")
    await pilot.pause()
    screen = app.main_screen
    assert isinstance(screen, EventsScreen)
    with open(app.poller.paths.events, "rb") as file:
        lines = sum(1 for _ in file)
    await until(lambda: len(screen.grid.rows) == lines, pilot)
    return screen


def again(host: screens.Replay, screen: str) -> None:
    """Look at the last two moments with this screen open, so that there are rates."""
    host.poller.look_at(Focus(sources=WANTED[screen]))
    for number in (-3, -2, -1):
        host.show(number % len(host.moments))


@SIZE
def test_the_picture_of_networks(host: screens.Replay, size: tuple[int, int]) -> None:
    again(host, "networks")

    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        await pilot.press("3")
        await pilot.pause()
        app.take(host.poller.collect())
        await pilot.pause()
        await screens.compare(app, f"networks-{size[0]}x{size[1]}")

    drive(host.app(), size, script)


FINDINGS = (
    Finding(topic="privileges", level=GOOD, text="root"),
    Finding(topic="kernel", level=GOOD, text="Linux 6.1.0 on x86_64"),
    Finding(topic="storage", level=GOOD, text="overlayfs"),
    Finding(topic="firewall", level=WARNING, text="no nf_tables: no published ports", hint="modprobe nf_tables"),
)
SPACE = Space(
    "/var/lib/pyctr",
    100 << 30,
    12 << 30,
    (
        Kind("images", 5, 4, 2 << 30, 300 << 20),
        Kind("writable layers", 9, 5, 96 << 20, 12 << 20),
        Kind("volumes", 1, 1, 40 << 20, 0),
    ),
)


@SIZE
def test_the_picture_of_the_host(host: screens.Replay, size: tuple[int, int]) -> None:
    again(host, "host")
    # the disk and the kernel below a recording are those of whoever runs the test
    machine = host.snapshot.scenes["machine"]
    machine = machine._replace(document=machine.document._replace(kernel="6.1.0"))  # type: ignore[attr-defined]
    scenes = {"machine": machine, "findings": Scene(FINDINGS), "space": Scene(SPACE)}

    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        await pilot.press("5")
        app.take(host.snapshot._replace(scenes=scenes))
        await pilot.pause()
        await screens.compare(app, f"host-{size[0]}x{size[1]}")

    drive(host.app(), size, script)


@SIZE
def test_the_picture_of_events(host: screens.Replay, size: tuple[int, int]) -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        screen = await filled(app, pilot)
        start = next(row for row in screen.grid.rows if row.event.action == "start")
        screen.grid.select(start.key)
        await pilot.pause()
        app.take(host.poller.collect())
        await pilot.pause()
        await screens.compare(app, f"events-screen-{size[0]}x{size[1]}")

    drive(host.app(), size, script)


def test_keys_go_through_the_network_and_enter_opens_the_container(host: screens.Replay) -> None:
    again(host, "networks")

    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        await pilot.press("3")
        app.take(host.poller.collect())
        await pilot.pause()
        screen = app.main_screen
        assert isinstance(screen, NetworksScreen)
        assert app.focused is screen.graph
        names = {row.id: row.name for row in app.snapshot.containers}
        seen = [names[screen.graph.cursor]]
        for key in ("l", "right", "h", "j", "k", "left"):
            await pilot.press(key)
            seen.append(names[screen.graph.cursor])
        assert seen[:4] == ["api-1", "api-2", "batch-7", "api-2"]
        assert seen[4] != seen[3], "down goes to those below"
        await pilot.press("g")
        wanted = names[screen.graph.cursor]
        assert wanted in picture.text_of(app).splitlines()[-3], "the line of facts is about it"
        await pilot.press("enter")
        await pilot.pause()
        main = app.main_screen
        assert isinstance(main, ContainersScreen)
        row = main.current_row()
        assert row is not None and row.name == wanted

    drive(host.app(), (120, 40), script)


def test_graph_or_table_as_one_likes_and_the_cursor_comes_along(host: screens.Replay) -> None:
    again(host, "networks")

    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        await pilot.press("3")
        app.take(host.poller.collect())
        await pilot.pause()
        screen = app.main_screen
        assert isinstance(screen, NetworksScreen)
        await pilot.press("l", "l")
        chosen = screen.chosen_id()
        await pilot.press("t")
        await pilot.pause()
        assert app.focused is screen.table and screen.chosen_id() == chosen
        await pilot.resize_terminal(80, 24)
        await pilot.press("t")
        await pilot.pause()
        assert app.focused is screen.graph and screen.chosen_id() == chosen
        assert "═" in picture.text_of(app)

    drive(host.app(), (120, 40), script)


def shown(script: Script, snapshot: Snapshot, size: tuple[int, int] = (120, 40)) -> None:
    nowhere = Paths(root="/nonexistent/pyctr", run="/nonexistent/pyctr-run")
    drive(PyctrApp(Poller(nowhere), first=snapshot, live=False), size, script)


def crowd(number: int, talked: int) -> Snapshot:
    containers = tuple(rows.running(f"web-{place:03d}") for place in range(number))
    counted = Counters(1, 1, 1, 1, 0, 0)
    graph = Graph(
        1000.0,
        (Rail("bridge", "pyctr0", "10.88.0.0/16", "10.88.0.1", False, True, counted),),
        tuple(Node(row.id, row.name, row.status, "bridge", "") for row in containers),
        tuple(
            Edge(row.id, "bridge", "veth", f"10.88.0.{place}/16", "", counted) for place, row in enumerate(containers)
        ),
        (),
        (),
    )
    talking = {row.id: 999.0 for row in containers[:talked]}
    return rows.snapshot(containers)._replace(scenes={"networks": Scene(Rails(graph, {}, talking))})


def test_a_crowd_is_a_graph_of_who_talks_beside_a_table_of_all() -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        await pilot.press("3")
        app.take(crowd(61, 3))
        await pilot.pause()
        await pilot.pause()
        screen = app.main_screen
        assert isinstance(screen, NetworksScreen)
        text = picture.text_of(app)
        assert "+ 58 quiet" in text and "58 quiet ones only counted" in text
        assert len(screen.table.rows) == 61 and screen.table.display
        await pilot.press("tab")
        assert app.focused is screen.table
        app.take(crowd(60, 3))
        await pilot.pause()
        await pilot.pause()
        assert not screen.has_class("-both") and app.focused is screen.graph

    shown(script, rows.snapshot(()))


def test_an_empty_network_says_what_to_do_and_an_unreadable_one_what_failed() -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        await pilot.press("3")
        await pilot.pause()
        assert "looking at the networks" in picture.text_of(app)
        empty = Rails(Graph(1.0, (), (), (), (), ()))
        app.take(rows.snapshot(())._replace(scenes={"networks": Scene(empty)}))
        await pilot.pause()
        assert "pyctr demo up" in picture.text_of(app)
        failed = Scene(None, "open: Input/output error '/var/lib'")
        app.take(rows.snapshot(())._replace(scenes={"networks": failed}))
        await pilot.pause()
        assert "the networks cannot be read" in picture.text_of(app)
        assert "Input/output error" in picture.text_of(app)

    shown(script, rows.snapshot(()))


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (100, 30), (200, 60), (400, 100)])
@pytest.mark.parametrize("digit", ["3", "5", "6"])
def test_no_screen_breaks_at_any_size_or_while_it_changes(
    host: screens.Replay, digit: str, size: tuple[int, int]
) -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        await pilot.press(digit)
        for width, height in (size, (81, 25), size):
            await pilot.resize_terminal(width, height)
            app.take(host.poller.collect())
            await pilot.press("j", "G", "g", "pagedown", "pageup", "enter", "escape")
            text = picture.text_of(app).splitlines()
            assert len(text) <= height and all(len(line) <= width for line in text)

    drive(host.app(), (120, 40), script)


def test_what_a_screen_needs_is_collected_only_while_it_is_open(host: screens.Replay) -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        assert host.poller.collect().scenes == {}
        await pilot.press("3")
        await pilot.pause()
        assert set(host.poller.collect().scenes) == {"networks"}
        await pilot.press("5")
        await pilot.pause()
        assert set(host.poller.collect().scenes) == {"machine", "findings", "space"}
        await pilot.press("1")
        await pilot.pause()
        assert host.poller.collect().scenes == {}

    drive(host.app(), (120, 40), script)


def append(paths: Paths, action: str, name: str, **attributes: str) -> None:
    event = {"time_ns": 1_795_230_900_000_000_000, "action": action, "id": "9" * 64, "name": name, "type": "container"}
    fd = os.open(paths.events, os.O_WRONLY | os.O_APPEND)
    os.write(fd, json.dumps({**event, "attributes": attributes}).encode() + b"\n")
    os.close(fd)


async def until(true: Callable[[], bool], pilot: Pilot[None]) -> None:
    for _ in range(3000):
        if true():
            break
        await asyncio.sleep(0.01)
    await pilot.pause()
    assert true()


def test_a_new_event_comes_by_itself_on_top_and_the_cursor_follows_only_there(host: screens.Replay) -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        screen = await filled(app, pilot)
        before = len(screen.grid.rows)
        append(host.paths, "oom", "first\x1b[31m")
        await until(lambda: len(screen.grid.rows) == before + 1, pilot)
        assert screen.grid.current.event.action == "oom"  # type: ignore[union-attr]
        assert "first␛[31m" in picture.text_of(app) and "\x1b" not in picture.text_of(app)
        await pilot.press("j", "j")
        chosen = screen.grid.cursor
        append(host.paths, "die", "second", exitCode="1")
        await until(lambda: len(screen.grid.rows) == before + 2, pilot)
        assert screen.grid.cursor == chosen, "who reads is not torn away"

    drive(host.app(), (120, 40), script)


def test_the_filter_of_events_and_escape(host: screens.Replay) -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        screen = await filled(app, pilot)
        total = len(screen.grid.rows)
        await pilot.press("slash")
        await pilot.pause()
        await pilot.press(*"name:worker")
        await pilot.press("enter")
        assert 0 < len(screen.grid.rows) < total
        assert {row.event.name for row in screen.grid.rows} == {"worker-3"}
        await pilot.press("escape")
        assert len(screen.grid.rows) == total

    drive(host.app(), (120, 40), script)


def test_a_start_shows_its_birth_certificate_and_an_older_one_does_not_borrow_it(host: screens.Replay) -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        screen = await filled(app, pilot)
        start = next(row for row in screen.grid.rows if row.event.action == "start" and row.event.name == "proxy")
        screen.grid.select(start.key)
        await pilot.pause()
        app.take(host.poller.collect())
        await pilot.pause()
        assert "root filesystem" in picture.text_of(app)
        start.event.time_ns -= 3_600_000_000_000
        app.take(host.poller.collect())
        await pilot.pause()
        text = picture.text_of(app)
        assert "root filesystem" not in text and "only the latest start keeps its certificate" in text

    drive(host.app(), (120, 40), script)


def test_c_goes_to_the_events_container(host: screens.Replay) -> None:
    async def script(app: PyctrApp, pilot: Pilot[None]) -> None:
        screen = await filled(app, pilot)
        wanted = next(row for row in screen.grid.rows if row.event.name == "db")
        screen.grid.select(wanted.key)
        await pilot.press("c")
        await pilot.pause()
        main = app.main_screen
        assert isinstance(main, ContainersScreen)
        row = main.current_row()
        assert row is not None and row.name == "db"

    drive(host.app(), (120, 40), script)
