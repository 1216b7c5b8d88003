"""What a power cut takes of the rings is put back, and nothing else is: a cut is a ring that is older than it was."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from pyctr.core import redo, ring
from pyctr.core.cgroupstats import Sample
from pyctr.core.paths import Paths
from pyctr.core.redo import Redo

BEGIN = 1_700_000_400.0


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    for name in ("run", "root/containers/one", "root/containers/two"):
        (tmp_path / name).mkdir(parents=True)
    return Paths(root=str(tmp_path / "root"), run=str(tmp_path / "run"))


class Recorder:
    """Writes of two containers, as the recorder does."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.redo = Redo(paths, redo.CONTAINERS)
        self.writers = [ring.Writer(paths.container(id, ring.FILE), self.redo) for id in ("one", "two")]

    def record(self, interval: int, count: int = 1) -> None:
        for number in range(interval, interval + count):
            sample = Sample()
            sample.monotonic, sample.pids = 100.0 + number * 5, number
            for writer in self.writers:
                writer.add(BEGIN + number * 5, 1, 7, sample)
            self.redo.flush(sync=True)
            while (flusher := self.redo._flusher) and flusher.busy():
                os.sched_yield()


def times(paths: Paths, id: str = "one") -> list[float]:
    return [(one.time - BEGIN) / 5 for one in ring.read(paths.container(id, ring.FILE))]


def cut(paths: Paths, saved: Path) -> None:
    """The rings as they were when the kernel had written them out last."""
    for id in ("one", "two"):
        shutil.copy(saved / id, paths.container(id, ring.FILE))


@pytest.fixture
def interrupted(paths: Paths, tmp_path: Path) -> Paths:
    """Ten intervals, of which the last six are gone from the rings."""
    recorder = Recorder(paths)
    recorder.record(0, 4)
    for id in ("one", "two"):
        shutil.copy(paths.container(id, ring.FILE), tmp_path / id)
    recorder.record(4, 6)
    recorder.redo.close()
    cut(paths, tmp_path)
    assert times(paths) == [0, 1, 2, 3]
    return paths


def test_a_power_cut_costs_no_interval_that_was_finished(interrupted: Paths) -> None:
    assert redo.mend(interrupted) == 12
    assert times(interrupted) == times(interrupted, "two") == list(range(10))
    assert [one.sample.pids for one in ring.read(interrupted.container("one", ring.FILE))] == list(range(10))


def test_coarse_records_come_back_with_their_peaks(paths: Paths) -> None:
    recorder = Recorder(paths)
    recorder.record(0, 25)
    kept = [one.sample.pids for one in ring.read(paths.container("one", ring.FILE)) if one.step == 5]
    whole = Path(paths.container("one", ring.FILE)).read_bytes()
    os.unlink(paths.container("one", ring.FILE))
    assert redo.mend(paths) == 29, "three of them for minutes, one for ten of them"
    assert Path(paths.container("one", ring.FILE)).read_bytes().rstrip(b"\0") == whole.rstrip(b"\0")
    assert kept == list(range(25))


def test_it_is_done_once_in_a_boot(interrupted: Paths, tmp_path: Path) -> None:
    assert redo.mend(interrupted)
    cut(interrupted, tmp_path)
    assert redo.mend(interrupted) == 0 and times(interrupted) == [0, 1, 2, 3]
    os.unlink(f"{interrupted.run}/{redo.MENDED}")  # as a reboot does
    assert redo.mend(interrupted) == 12


def test_a_torn_block_costs_its_interval_and_no_other(interrupted: Paths) -> None:
    path = f"{interrupted.root}/{redo.CONTAINERS}"
    with open(path, "r+b") as file:
        file.seek(9 * 4096 + 400)
        file.write(os.urandom(60))
        file.seek(6 * 4096)
        file.write(bytes(4096))
    redo.mend(interrupted)
    assert times(interrupted) == [0, 1, 2, 3, 4, 5, 7, 8]


@pytest.mark.parametrize("damage", [b"", b"\0" * 50_000, None])
def test_another_file_in_its_place_changes_nothing(interrupted: Paths, damage: bytes | None) -> None:
    Path(interrupted.root, redo.CONTAINERS).write_bytes(os.urandom(50_000) if damage is None else damage)
    assert redo.mend(interrupted) == 0
    Recorder(interrupted).record(20, 2)
    assert times(interrupted) == [0, 1, 2, 3, 20, 21]


def test_what_is_newer_is_left_and_what_is_gone_stays_gone(interrupted: Paths) -> None:
    newer = Recorder(interrupted)
    newer.redo = Redo(interrupted, "elsewhere")
    newer.record(192 + 5)  # in the slot of the sixth
    shutil.rmtree(interrupted.container("two"))
    assert redo.mend(interrupted) == 5
    assert times(interrupted) == [0, 1, 2, 3, 4, 6, 7, 8, 9, 197]
    assert not os.path.exists(interrupted.container("two"))


def test_names_do_not_lead_out_of_the_root(paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    log = Redo(paths, redo.CONTAINERS)
    ring.Writer(f"{paths.root}/../other/history", log).add(BEGIN, 1, 7, Sample())
    log.flush(sync=True)
    os.unlink(tmp_path / "other/history")
    assert list(redo.entries(f"{paths.root}/{redo.CONTAINERS}")) and redo.mend(paths) == 0
    assert not os.listdir(tmp_path / "other")


def test_the_next_recorder_goes_on_in_the_file_which_never_grows(paths: Paths) -> None:
    """For two minutes nothing is overwritten, whoever writes."""
    path = f"{paths.root}/{redo.CONTAINERS}"
    sizes = set()
    for turn in range(40):
        recorder = Recorder(paths)
        recorder.record(turn * 5, 5)
        recorder.redo.close()
        sizes.add(os.stat(path).st_size)
    assert len(sizes) == 1 and sizes.pop() < 300_000
    there = {(name, int.from_bytes(record[8:16], "little")) for name, tier, record in redo.entries(path) if not tier}
    for number in range(200 - 24, 200):
        assert (f"containers/two/{ring.FILE}", int(BEGIN + number * 5) * 1000) in there


def test_nobody_waits_for_a_disk_that_does_not_answer_and_what_is_held_meanwhile_is_bounded(paths: Paths) -> None:
    recorder = Recorder(paths)
    recorder.record(0, 2)
    flusher = recorder.redo._flusher
    assert flusher is not None
    asked, flusher.busy = flusher.busy, lambda: True  # type: ignore[method-assign]
    path = f"{paths.root}/{redo.CONTAINERS}"
    before = Path(path).read_bytes()
    for number in range(2, 4000):
        for writer in recorder.writers:
            writer.add(BEGIN + number * 5, 1, 7, Sample())
        recorder.redo.flush(sync=True)
    assert Path(path).read_bytes() == before and len(recorder.redo._entries) < 1.1 * redo._HELD
    flusher.busy = asked  # type: ignore[method-assign]
    recorder.redo.flush(sync=True)
    there = {int.from_bytes(record[8:16], "little") for name, tier, record in redo.entries(path) if not tier}
    assert {int(BEGIN + number * 5) * 1000 for number in range(1000)} <= there


def test_what_a_disk_has_refused_is_written_again_but_not_for_ever(paths: Paths) -> None:
    recorder = Recorder(paths)
    recorder.record(0, 3)
    path = f"{paths.root}/{redo.CONTAINERS}"
    whole = Path(path).read_bytes()
    flusher = recorder.redo._flusher
    assert flusher is not None

    def blocks() -> int:
        return len({number for at, number, size in redo._heads(recorder.redo._fd, os.stat(path).st_size)})

    flusher.failed = errno.EIO
    # what it holds for written is not there
    with open(path, "r+b") as file:
        file.seek(2 * 4096)
        file.write(bytes(4096))
    assert Path(path).read_bytes() != whole and blocks() == 2
    recorder.record(3)
    found = [int.from_bytes(record[8:16], "little") / 1000 for *_, record in redo.entries(path)]
    assert sorted({(one - BEGIN) / 5 for one in found}) == [0, 1, 2, 3]
    recorder.record(4)
    finest = sum(1 for _, tier, _ in redo.entries(path) if not tier)
    assert (blocks(), finest) == (4, 10), "that one was done"
    for number in range(5, 50):
        flusher.failed = errno.EIO
        recorder.record(number)
    sizes = [size for _, _, size in redo._heads(recorder.redo._fd, os.stat(path).st_size)]
    assert max(sizes) < 4 * min(sizes), "it becomes more and more"


def test_a_disk_may_sleep_where_that_is_wanted(paths: Paths) -> None:
    recorder = Recorder(paths)
    off = Path(paths.root, redo.OFF)
    off.touch()
    recorder.record(0, 3)
    assert not os.path.exists(f"{paths.root}/{redo.CONTAINERS}") and times(paths) == [0, 1, 2]
    off.unlink()
    recorder.record(3, 2)
    off.touch()
    recorder.record(5, 3)
    found = {int.from_bytes(record[8:16], "little") / 1000 for *_, record in redo.entries(f"{paths.root}/redo")}
    assert {(one - BEGIN) / 5 for one in found} == {3, 4, 5}, "the one during which it was said is still written"
