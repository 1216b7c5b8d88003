"""Which processes there were: those that matter are kept, and are told with when they were seen."""

from __future__ import annotations

import struct
from pathlib import Path

from pyctr.core import heaviest, redo, slots
from pyctr.core.heaviest import KEPT, Writer, at, choose, read
from pyctr.core.linux.procfs import Stat
from pyctr.core.paths import Paths

BEGIN = 1_700_000_400.0


def process(
    pid: int, ticks: int = 0, rss: int = 10, name: str = "sh", parent: int = 1, state: str = "S", start: int = 5
) -> Stat:
    fields = [state, parent, 1, 1, 0, -1, 0, 0, 0, 0, 0, ticks, 0, 0, 0, 20, 0, 3, 0, start, 1 << 20, rss]
    return Stat(f"{pid} ({name}) {' '.join(map(str, fields))}\n".encode())


def test_what_was_seen_comes_back_with_the_cpu_since_the_look_before(tmp_path: Path) -> None:
    path = str(tmp_path / "processes")
    writer = Writer(path)
    writer.add(BEGIN, 1, 100, [process(100), process(101, 500, name="a (b) \u00fc")], 2)
    writer.add(BEGIN + 20, 1, 100, [process(101, 1500, 256, name="a (b) \u00fc", parent=100, state="D")], 1)
    first, last = read(path)
    assert (first.time, first.total, first.first, first.boot) == (BEGIN, 2, 100, 1)
    assert [(one.pid, one.cpu) for one in first.rows] == [(100, None), (101, None)]
    (one,) = last.rows
    assert (one.pid, one.parent, one.name, one.state, one.threads) == (101, 100, "a (b) \u00fc", "D", 3)
    assert (one.cpu, one.cpu_ms, one.memory) == (50.0, 15_000, 256 * 4096)


def test_a_pid_that_is_another_process_has_no_cpu_of_the_one_before(tmp_path: Path) -> None:
    path = str(tmp_path / "processes")
    writer = Writer(path)
    writer.add(BEGIN, 1, 100, [process(101, 500)], 1)
    writer.add(BEGIN + 20, 1, 100, [process(101, 900, start=6)], 1)
    assert read(path)[-1].rows[0].cpu is None


def test_of_many_the_busiest_and_the_largest_are_kept() -> None:
    many = [process(pid, ticks=10_000 - pid) for pid in range(1, 100)]
    many[50] = process(51, ticks=7, rss=9000)
    kept, before = choose(many, {})
    assert len(kept) == KEPT and 51 in {one.pid for one in kept}
    # who has worked long ago is not who works now
    later = [process(one.pid, ticks=one.utime + (one.pid == 80) * 5) for one in many]
    kept, _ = choose(later, before)
    assert kept[0].pid == 80
    kept, _ = choose([*later, process(200, ticks=300)], before)
    assert kept[0].pid == 200, "all of it since the look before"
    few, before = choose(many[:KEPT], {})
    assert len(few) == KEPT and not before, "nothing to remember where all are kept"


def test_a_moment_has_what_was_seen_shortly_before_and_nothing_of_another_time(tmp_path: Path) -> None:
    path = str(tmp_path / "processes")
    writer = Writer(path)
    for number in range(600):
        writer.add(BEGIN + number * 20, 1, 100, [process(100, ticks=number)], 1)
    end = BEGIN + 599 * 20
    seen = at(path, end + 15)
    assert seen is not None and seen.time == end and seen.rows[0].cpu == 0.05
    old = at(path, BEGIN + 3 * 600 + 300)
    assert old is not None and old.time == BEGIN + 3 * 600, "the fine tier has been written over by then"
    assert old.rows[0].cpu == 0.05
    assert at(path, BEGIN - 1) is None and at(path, end + 3000) is None
    assert at(str(tmp_path / "none"), end) is None


def test_a_file_never_grows_beyond_its_size_and_a_torn_record_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "processes"
    writer = Writer(str(path))
    for number in range(20_000):
        writer.add(BEGIN + number * 20, 1, 100, [process(100)], 1)
    assert path.stat().st_size == heaviest.FORMAT.room == 207_368
    before = len(read(str(path)))
    data = bytearray(path.read_bytes())
    data[heaviest.SIZE * 10 + 60] ^= 1
    path.write_bytes(data)
    assert len(read(str(path))) == before - 1


def test_a_power_cut_costs_none_that_was_seen(tmp_path: Path) -> None:
    (tmp_path / "root/containers/one").mkdir(parents=True)
    (tmp_path / "run").mkdir()
    paths = Paths(root=str(tmp_path / "root"), run=str(tmp_path / "run"))
    place = paths.container("one", heaviest.FILE)
    log = redo.Redo(paths, redo.CONTAINERS)
    writer = Writer(place, log)
    writer.add(BEGIN, 1, 100, [process(100)], 1)
    log.flush(sync=True)
    Path(place).unlink()
    assert redo.mend(paths) == 2
    assert [one.time for one in read(place)] == [BEGIN]
    (step, record), *_ = slots.read(place, heaviest.FORMAT)
    assert step == 20 and slots.time_of(record) == BEGIN * 1000


def test_a_file_that_somebody_sent_is_not_believed(tmp_path: Path) -> None:
    """Its header may tell of more than there is, a state may be a byte that a terminal obeys."""
    path = tmp_path / "processes"
    Writer(str(path)).add(BEGIN, 1, 100, [process(100, state="\x1b")], 1)
    data = bytearray(path.read_bytes())
    data[14:22] = struct.pack("<II", 20, 0xFFFFFFFF)
    path.write_bytes(data)
    (seen,) = read(str(path))
    assert [one.state for one in seen.rows] == ["?"]
