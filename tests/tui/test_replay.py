"""A recording that is opened: marked as one, complete, and nothing that is done there reaches this machine."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from pyctr.core.capture import archive
from pyctr.core.capture.moments import Recording, from_json
from pyctr.core.errors import StorageError
from pyctr.tui import main, picture
from pyctr.tui.app import PyctrApp
from pyctr.tui.replay import Replay
from pyctr.tui.room import Room
from tests.support import screens


@pytest.fixture
def file(tmp_path: Path) -> str:
    """The tests' own host as an archive."""
    golden = from_json(str(screens.HOST))
    out = bytearray()
    archive.pack(Recording({"host": "web-01", "root": "/var/lib/pyctr"}, golden.moments), out.extend)
    path = tmp_path / "web-01.capture"
    path.write_bytes(out)
    return str(path)


@pytest.fixture
def replay(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Replay]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    opened = Replay(file)
    yield opened
    opened.close()
    assert not list(tmp_path.glob("pyctr-replay-*")), "nothing of it stays behind"


def seen(replay: Replay, *keys: str, size: tuple[int, int] = (120, 40)) -> tuple[str, list[str]]:
    """What the screen shows after these keys, and what was said in a corner."""
    app = PyctrApp(replay.poller, first=replay.poller.collect(), live=False)
    text, told = "", list[str]()

    async def go() -> None:
        nonlocal text, told
        async with app.run_test(size=size, notifications=True) as pilot:
            for key in keys:
                await pilot.press(key)
                await until_quiet(app, pilot)
            text, told = picture.text_of(app), [one.message for one in app._notifications]

    asyncio.run(go())
    return text, told


async def until_quiet(app: PyctrApp, pilot: Pilot[None]) -> None:
    for _ in range(2):
        app.take(app.poller.collect())
        await pilot.pause(0.05)


def test_every_picture_says_that_it_is_the_past(replay: Replay) -> None:
    for key in "1234567":
        for size in ((80, 24), (120, 40)):
            first = seen(replay, key, size=size)[0].splitlines()[0]
            assert "web-01" in first
            assert "recorded 20" in first


def test_all_acts_are_refused_in_one_line(replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    touched: list[str] = []

    def act(*words: object) -> None:
        touched.append(str(words))

    monkeypatch.setattr("pyctr.tui.acts.Acts.carry_out", act)
    monkeypatch.setattr("pyctr.tui.acts.Acts.call", act)
    for key in ("s", "p", "r", "K", "d", "e", "n", "m"):
        _, told = seen(replay, key)
        assert len(told) == 1, key
        assert told[0].startswith("a recording of web-01, "), key
        assert told[0].endswith(": nothing is changed from here"), key
    assert seen(replay, "3", "c")[1][0].endswith(": nobody answers there")
    assert not touched


def test_charts_begin_where_the_recording_does_and_stay_at_its_end(replay: Replay) -> None:
    first = replay.poller.collect()
    again = replay.poller.collect()
    assert again.time == first.time == archive.unpack(file_of(replay)).moments[-1].time
    spinner = next(row for row in again.containers if row.name == "api-1")
    assert spinner.cpu is not None and spinner.cpu > 10
    assert len([value for value in spinner.spark if value is not None]) >= 3


def file_of(replay: Replay) -> str:
    return str(Path(replay.poller.stage.directory).parent / "web-01.capture")


def test_paths_are_those_of_the_host_it_was(replay: Replay) -> None:
    document = replay.poller.engine.recorded
    assert document is not None
    here = f"{replay.poller.paths.root}/volumes/pgdata"
    assert document.shown({"path": [here]}) == {"path": ["/var/lib/pyctr/volumes/pgdata"]}


def test_what_is_no_recording_ends_in_one_line_and_a_hint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "text").write_text("no archive at all " * 100)
    code = main.main(["--once", "--replay", str(tmp_path / "text")])
    told = capsys.readouterr()
    assert code == 125 and told.out == ""
    assert [line.split(":")[0] for line in told.err.splitlines()] == ["pyctr-tui", "  hint"]


def test_an_archive_that_fails_leaves_nothing(tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    opened = archive.unpack

    def broken(path: str) -> Recording:
        moment = opened(path).moments[0]
        # no host at all: nothing to find the groups in
        return Recording({}, (moment._replace(changed={"proc/stat": b""}),))

    monkeypatch.setattr(archive, "unpack", broken)
    before: Callable[[], list[str]] = lambda: sorted(os.listdir(tmp_path))  # noqa: E731
    names = before()
    code = main.main(["--once", "--json", "--replay", file])
    assert code in (0, 1, 125)
    assert before() == names


def test_what_a_killed_viewer_left_goes_when_the_next_one_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    code = "from pyctr.tui.room import Room; print(Room().path, flush=True); input()"
    environment = {**os.environ, "PYTHONPATH": str(screens.HERE.parent)}
    words = [sys.executable, "-c", code]
    killed = subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with killed:
        assert killed.stdout is not None
        left = Path(killed.stdout.readline().strip())
        (left / "root").mkdir()
        mine = tmp_path / "mine"
        mine.mkdir()
        (tmp_path / "pyctr-replay-link").symlink_to(mine)
        (tmp_path / "pyctr-replay-shared").mkdir(mode=0o755)
        room = Room()
        assert left.is_dir(), "its owner lives"
        killed.kill()
    room.close()
    Room().close()
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "pyctr-replay-link", "pyctr-replay-shared"}


def test_a_recording_made_to_harm_is_not_laid_out(tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    golden = from_json(str(screens.HOST))
    evil = golden.moments[0]._replace(changed={**golden.moments[0].changed, "root/names/x@": b"../../../../etc"})
    out = bytearray()
    archive.pack(Recording({}, (evil,)), out.extend)
    Path(file).write_bytes(out)
    with pytest.raises(StorageError, match="leads out of the recording"):
        Replay(file)
    assert not list(tmp_path.glob("pyctr-replay-*"))
