"""Another time on the screen: it shows what was then, says so, and nothing can be done to it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from pyctr.core import heaviest, hosthistory, hostrecord, ring
from pyctr.core.cgroupstats import HostSample, Sample
from pyctr.core.engines.model import Foreign
from pyctr.core.errors import UsageError
from pyctr.core.linux.procfs import Stat
from pyctr.core.onset import onset
from pyctr.core.paths import Paths
from pyctr.core.thresholds import USUAL
from pyctr.core.triage import Disk, Machine, Patient
from pyctr.tui import format as f
from pyctr.tui import header, theming
from pyctr.tui.app import PyctrApp
from pyctr.tui.format import Glyphs
from pyctr.tui.main import parser
from pyctr.tui.once import once
from pyctr.tui.others import Stranger
from pyctr.tui.picture import text_of
from pyctr.tui.snapshot import ContainerRow, Focus, HostRow, Snapshot
from pyctr.tui.sources import Sources
from pyctr.tui.sources.triage import Ward
from tests.support import screens


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> screens.Replay:
    return screens.replay(tmp_path, monkeypatch)


def write(path: str, begin: float, seconds: int, percent: int, memory: int) -> None:
    writer = ring.Writer(path)
    for moment in range(0, seconds, 5):
        sample = Sample()
        sample.monotonic = float(moment)
        sample.cpu_usage_us = moment * percent * 10_000
        sample.memory_current = sample.memory_working_set = memory
        writer.add(begin + moment, 1, 7, sample)


def write_host(paths: Paths, begin: float, seconds: int, percent: int) -> None:
    """Two cores, of which so many percent are busy, and three eighths of the memory taken."""
    writer = hosthistory.Writer(paths, 1)
    for moment in range(0, seconds, 5):
        sample = HostSample()
        sample.cpus, sample.load = 2, (1.75, 1.0, 1.0)
        sample.cpu_busy_us = moment * percent * 20_000
        sample.memory_total, sample.memory_used = 8 << 30, 3 << 30
        sample.psi = {"memory": (0.0, 0.0, moment * 120_000, moment * 20_000)}
        writer.add(begin + moment, begin % 100_000 + moment, sample)


async def show(app: PyctrApp, host: screens.Replay, pilot: object) -> str:
    app.take(host.poller.collect())
    await pilot.pause()  # type: ignore[attr-defined]
    return text_of(app)


def test_the_header_and_the_host_page_are_of_that_time(host: screens.Replay) -> None:
    now = host.clock.time()
    write_host(host.paths, now - 1000, 500, 37)
    app = host.app()

    async def go() -> None:
        async with app.run_test(size=(160, 44)) as pilot:
            host.poller.travel(now - 600)
            head = (await show(app, host, pilot)).splitlines()[0]
            assert "THE PAST" in head and "cpu 37%  mem 38%  psi -/12/-  load 1.75" in head and "T now" in head
            await pilot.press("5")
            await pilot.pause()
            text = await show(app, host, pilot)
            assert "37% of 2 cores" in text and "3.0G of 8.0G" in text
            assert "not recorded" in text, "what takes the disk"
            assert "swap" not in text and "kernel" not in text, "neither is on record"
            (line,) = [line for line in text.splitlines() if "12.0" in line]
            assert line.split().count("12.0") == 3 and "2.0" in line.split(), "some, and all of it"
            assert f.clock(now - 600) in text, "where the charts end"
            host.poller.travel(now - 100)
            text = await show(app, host, pilot)
            assert "cpu" not in text.splitlines()[0] and "37%" not in text, "nobody recorded then"

    asyncio.run(go())


def test_the_header_of_the_past_fits_80_columns() -> None:
    host = HostRow(cpus=2, cpu=37.0, memory_total=8.0, memory_percent=38.0, psi_cpu=1.0, psi_memory=0.0, psi_io=22.0)
    rows = tuple(ContainerRow(id=str(number), name="web", status="running") for number in range(3))
    line = header.host_line(Snapshot(past=1_800_000_000.0, host=host, containers=rows), 80, Glyphs())
    text = "".join(span[0] for span in line)
    assert len(text) == 80 and "cpu 37%  mem 38%  psi 1.0/0/22" in text and "T now" in text


def test_who_was_sick_then_is_told_by_the_same_rules(host: screens.Replay) -> None:
    now = host.clock.time()
    api, worker = host.id("api-1"), host.id("db")
    writer = ring.Writer(host.paths.container(api, ring.FILE))
    for moment in range(0, 500, 5):
        sample = Sample()
        sample.monotonic, sample.pids, sample.pids_limit = float(moment), 64, 64
        sample.cpu_usage_us = sample.memory_current = moment
        writer.add(now - 1000 + moment, 1, 7, sample)
    events = [
        {"time_ns": int((now - 1100) * 1e9), "action": "start", "id": api, "name": "api-1"},
        {"time_ns": int((now - 1100) * 1e9), "action": "start", "id": worker, "name": "db"},
        {"time_ns": int((now - 700) * 1e9), "action": "oom", "id": worker, "name": "db", "attributes": {"kills": "1"}},
        {"time_ns": int((now - 699) * 1e9), "action": "die", "id": worker, "name": "db",
         "attributes": {"exitCode": "137", "oom_killed": "True"}},
        {"time_ns": int((now - 100) * 1e9), "action": "die", "id": api, "name": "api-1",
         "attributes": {"exitCode": "3"}},
    ]  # fmt: skip
    Path(host.paths.events).write_text("".join(json.dumps({**one, "type": "container"}) + "\n" for one in events))
    host.poller.look_at(Focus(sources=("triage",)))

    def told(at: float) -> dict[str, str]:
        host.poller.travel(at)
        ward = host.poller.collect().scenes["triage"].document
        assert isinstance(ward, Ward)
        return {case.name: case.worst.kind for case in ward.cases if case.name in ("api-1", "db")}

    assert told(now - 600) == {"api-1": "pids", "db": "oom"}
    assert told(now - 900) == {"api-1": "pids"}, "what came later nobody knew"
    assert told(now - 50)["api-1"] == "failed"


def test_what_was_so_before_anybody_looked_has_its_time_from_the_record(host: screens.Replay) -> None:
    id, now = host.id("api-1"), host.clock.time()
    host.poller.look_at(Focus(sources=("triage",)))

    def since() -> float:
        host.poller.sources = Sources(host.poller.engine, host.clock.time, host.poller.wake)  # somebody comes anew
        ward = host.poller.collect().scenes["triage"].document
        assert isinstance(ward, Ward)
        (case,) = [case for case in ward.cases if case.id == id]
        assert case.worst.kind == "throttled"
        return case.worst.since

    assert since() == 0.0, "nothing is on record"
    writer = ring.Writer(host.paths.container(id, ring.FILE))
    for moment in range(0, 600, 5):
        sample = Sample()
        sample.monotonic, sample.cpu_limit = float(moment), 0.3
        sample.cpu_usage_us = sample.cpu_periods = moment * 10
        # from the three hundredth second on nine tenths of its periods, but for one record
        sample.cpu_throttled = max(0, moment - 300) * 9 if moment != 450 else 1306
        writer.add(now - 600 + moment, 1, 7, sample)
    assert since() == pytest.approx(now - 300, abs=6)


PATIENT = Patient("running", rates=None)


def test_who_was_starved_is_told_by_the_machines_record_too(host: screens.Replay) -> None:
    now, place = host.clock.time(), host.paths.container(host.id("api-1"), ring.FILE)
    writer = ring.Writer(place)
    for moment in range(0, 600, 5):
        sample = Sample()
        sample.monotonic, sample.cpu_usage_us = float(moment), moment * 1000
        sample.psi = {"cpu": (0.0, None, moment * 900_000, None)}  # it waits all the time
        writer.add(now - 600 + moment, 1, 7, sample)

    def since() -> float:
        return onset(place, PATIENT, "starved", Machine(2, 99.0), now, USUAL, hosthistory.place(host.paths))

    Path(hosthistory.place(host.paths)).unlink(missing_ok=True)
    assert since() == 0.0, "nobody knows what the machine did"
    write_host(host.paths, now - 600, 300, 50)
    write_host(host.paths, now - 300, 300, 97)  # only then nobody left it a core
    assert since() == pytest.approx(now - 300, abs=11)
    Path(hosthistory.place(host.paths)).unlink()
    write_host(host.paths, now - 600, 100, 97)
    assert since() == 0.0, "what the machine did long before says nothing of now"


def test_since_when_a_disk_fills_and_zombies_are_left_is_on_record(tmp_path: Path) -> None:
    now, place = 1_700_000_400.0, str(tmp_path / ring.FILE)
    writer, processes = ring.Writer(place), heaviest.Writer(str(tmp_path / heaviest.FILE))
    for moment in range(0, 900, 20):
        sample = Sample()
        sample.monotonic = float(moment)
        # ten minutes of nothing, then a megabyte a second
        sample.layer, sample.log = max(0, moment - 600) << 20, 4096
        writer.add(now - 900 + moment, 1, 7, sample)
        processes.add(now - 900 + moment, 1, 7, [], 1, 3 if moment < 500 else 9)
    disk = Disk(280 << 20, 4096, 1 << 30, 8 << 30, float(1 << 20))
    sick = PATIENT._replace(disk=disk, zombies=9)
    assert onset(place, sick, "disk", Machine(), now, USUAL) == pytest.approx(now - 300, abs=41)
    assert onset(place, sick, "zombies", Machine(), now, USUAL) == pytest.approx(now - 400, abs=21)


def test_zombies_are_followed_back_to_where_the_record_has_one_look_in_ten_minutes(tmp_path: Path) -> None:
    now, place = 1_700_000_400.0, str(tmp_path / ring.FILE)
    processes = heaviest.Writer(str(tmp_path / heaviest.FILE))
    for moment in range(0, 4000, 20):
        processes.add(now - 4000 + moment, 1, 7, [], 1, 3 if moment < 1000 else 9)
    since = onset(place, PATIENT._replace(zombies=9), "zombies", Machine(), now, USUAL)
    assert since == pytest.approx(now - 3000, abs=601)


def test_the_list_and_the_charts_are_of_that_time_and_the_present_is_one_key_away(host: screens.Replay) -> None:
    now = host.clock.time()
    id = host.id("api-1")
    write(host.paths.container(id, ring.FILE), now - 1000, 500, 42, 123 << 20)
    line = {"time_ns": int((now - 1100) * 1e9), "action": "start", "id": id, "name": "api-1", "type": "container"}
    gone = {"time_ns": int((now - 900) * 1e9), "action": "start", "id": "f" * 64, "name": "bygone", "type": "container"}
    end = {**gone, "time_ns": int((now - 300) * 1e9), "action": "destroy"}
    Path(host.paths.events).write_text("".join(json.dumps(one) + "\n" for one in (line, gone, end)))
    app = host.app()

    async def go() -> None:
        async with app.run_test(size=(160, 44)) as pilot:
            await pilot.press("t")
            await pilot.pause()
            await pilot.press(*["backspace"] * 3, *"600s", "enter")
            await pilot.pause()
            text = await show(app, host, pilot)
            assert "THE PAST" in text.splitlines()[0]
            row = app.snapshot.find(id)
            assert row is not None and row.status == "running"
            assert row.cpu == pytest.approx(42) and row.memory == 123 << 20
            assert "bygone" in text, "what is gone by now was there then"
            (detail,) = [app.snapshot.detail]
            app.screen.select(id)  # type: ignore[attr-defined]
            text = await show(app, host, pilot)
            detail = app.snapshot.detail
            assert detail is not None and detail.series["cpu"][-1][0] <= now - 600
            assert "now" not in text.split("-5m", 1)[1].splitlines()[0], "the chart ends then"
            host.poller.travel(now - 86400)
            assert "no containers then" in await show(app, host, pilot)
            host.poller.travel(now - 600)
            await pilot.press("comma")
            assert host.poller.at == now - 615
            await pilot.press("full_stop")
            assert host.poller.at == now - 600
            await pilot.press("T")
            text = await show(app, host, pilot)
            assert host.poller.at is None and "THE PAST" not in text and "bygone" not in text

    asyncio.run(go())


def test_nothing_is_done_to_what_is_shown_of_the_past(host: screens.Replay) -> None:
    app = host.app()

    async def go() -> None:
        async with app.run_test(size=(160, 44)) as pilot:
            host.poller.travel(host.clock.time() - 5)
            await show(app, host, pilot)
            for key in ("s", "d", "K", "n", "p"):
                await pilot.press(key)
                await pilot.pause()
                assert app.screen is app.main_screen, f"{key} opened something"
            assert app.acts.running == 0 or not app.acts.running
            assert any("the past" in str(note.message) for note in app._notifications)
            footer = text_of(app).splitlines()[-1]
            assert "stop" not in footer and "remove" not in footer

    asyncio.run(go())


def test_what_was_not_recorded_is_not_shown_as_it_is_now(host: screens.Replay) -> None:
    app = host.app()

    async def go() -> None:
        async with app.run_test(size=(160, 44)) as pilot:
            app.screen.select(host.id("api-1"))  # type: ignore[attr-defined]
            host.poller.travel(host.clock.time() - 1)
            app.screen.open_tab("processes")  # type: ignore[attr-defined]
            text = await show(app, host, pilot)
            assert "not recorded" in text
            await pilot.press("3")
            text = await show(app, host, pilot)
            assert "not recorded" in text and "THE PAST" in text

    asyncio.run(go())


def seen(path: str, moment: float) -> None:
    """Two looks: the second one is of a shell whose child has worked since the first."""
    writer = heaviest.Writer(path)
    for back, ticks in ((20, 0), (0, 800)):
        found = [
            Stat(f"{pid} ({name}) {state} {parent} 1 1 0 -1 0 0 0 0 0 {used} 0 0 0 20 0 1 0 9 0 256".encode())
            for pid, parent, name, state, used in ((700, 1, "sh", "S", 0), (702, 700, "wo\x1brker", "D", ticks))
        ]
        writer.add(moment - back, 1, 700, found, 2 if back else 31)


def test_processes_of_that_time_are_shown_with_when_they_were_seen(host: screens.Replay) -> None:
    app = host.app()
    at = host.clock.time() - 1
    seen(host.paths.container(host.id("api-1"), heaviest.FILE), at - 12)

    async def go() -> None:
        async with app.run_test(size=(120, 40)) as pilot:
            app.screen.select(host.id("api-1"))  # type: ignore[attr-defined]
            host.poller.travel(at)
            app.screen.open_tab("processes")  # type: ignore[attr-defined]
            text = await show(app, host, pilot)
            assert "12s before: the 2 heaviest of 31" in text and "THE PAST" in text
            (shell,) = [line for line in text.splitlines() if " 700 " in line]
            (worker,) = [line for line in text.splitlines() if " 702 " in line]
            assert "40.0" in worker and "waits for disk" in worker and "1.0M" in worker and "  wo" in worker
            assert "\x1b" not in text and "sleeps" in shell

    asyncio.run(go())


def test_one_frame_of_another_time_in_every_form(host: screens.Replay, capsys: pytest.CaptureFixture[str]) -> None:
    seen(host.paths.container(host.id("api-1"), heaviest.FILE), host.clock.time() - 13)

    def told(*more: str) -> str:
        words = ["--once", "--engine", "pyctr", "--at", "1s", "--select", "api-1", "--tab", "processes", *more]
        arguments = parser().parse_args(words)
        assert once(host.poller, theming.load("dusk"), arguments, (120, 40)) == 0
        host.poller.travel(None)
        return capsys.readouterr().out

    text = told("--text")
    assert "THE PAST" in text and "12s before: the 2 heaviest of 31" in text
    document = json.loads(told("--json"))["detail"]["document"]
    assert (document["total"], [one["cpu"] for one in document["rows"]]) == (31, [0.0, 40.0])
    assert told("--csv").splitlines()[2].startswith("702,700,wo")
    with pytest.raises(UsageError, match="not in the past"):
        once(host.poller, theming.load("dusk"), parser().parse_args(["--once", "--at", "now"]), (120, 40))


def test_a_time_to_come_is_refused(host: screens.Replay) -> None:
    host.poller.travel(host.clock.time() + 60)
    assert host.poller.at is None


def test_another_engines_container_has_the_past_that_was_recorded_of_it(host: screens.Replay) -> None:
    now = host.clock.time()
    one = Foreign("docker", "c" * 64, "theirs", "nginx", "running", 7, "/docker/theirs")
    path = Path(hostrecord.place(host.paths, one.group))
    path.parent.mkdir(parents=True)
    write(str(path), now - 1000, 500, 30, 1 << 20)
    poller = host.poller
    poller.others.known[one.key] = Stranger(one)
    poller.travel(now - 600)
    poller.look_at(Focus(selected=one.key, tab="overview"))
    snapshot = poller.collect()
    row = snapshot.find(one.key)
    assert row is not None and (row.name, row.engine, row.status) == ("theirs", "docker", "running")
    assert row.cpu == pytest.approx(30)
    assert snapshot.detail is not None and snapshot.detail.series["cpu"]
    seen(str(path.parent / heaviest.FILE), now - 610)
    poller.look_at(Focus(selected=one.key, tab="processes"))
    detail = poller.collect().detail
    assert detail is not None and isinstance(detail.document, heaviest.Seen) and detail.document.total == 31
    poller.travel(now - 100)
    assert poller.collect().find(one.key) is None, "nothing is known of it then"
