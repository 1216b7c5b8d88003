"""A container's past on disk survives whatever happens to its writer, and never shows what was not measured."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyctr.core import ring
from pyctr.core.cgroupstats import Sample, rates

BEGIN = 1_700_000_400.0
"""A multiple of every step."""


def sample(moment: float, **values: object) -> Sample:
    made = Sample()
    made.monotonic = moment
    made.__dict__.update(values)
    return made


def write(path: Path, seconds: float, every: float = 5.0, begin: float = BEGIN, pid: int = 7) -> None:
    writer = ring.Writer(str(path))
    for number in range(int(seconds // every)):
        moment = number * every
        writer.add(
            begin + moment, 1, pid, sample(begin - BEGIN + moment, cpu_usage_us=int(moment * 500_000), pids=number)
        )


def test_what_was_measured_comes_back_and_what_was_not_stays_unknown(tmp_path: Path) -> None:
    values = {
        "cpu_usage_us": 5_000_000_000,
        "cpu_limit": 1.5,
        "cpu_throttled": 3,
        "memory_current": 1 << 40,
        "memory_working_set": 0,
        "memory_events": {"oom": 2, "oom_kill": 1, "high": 9},
        "pids": 4,
        "io": {"8:0": (1, 2, 3, 4)},
        "io_read_bytes": 1,
        "io_write_bytes": 2,
        "net": {"lo": (9,) * 8, "eth0": (5, 6, 0, 0, 0, 0, 0, 0), "eth1": (1, 1, 0, 0, 0, 0, 0, 0)},
        "psi": {"memory": (1.0, 2.0, 30, 40)},
        "memory_refaults": 1 << 33,
        "layer": 1 << 35,
        "log": 0,
        "open_files": 12,
        "waiting": 2,
        "stuck": 31.26,
    }
    ring.Writer(str(tmp_path / "r")).add(BEGIN, 1 << 40, 42, sample(12.5, **values))
    (reading,) = ring.read(str(tmp_path / "r"))
    assert (reading.time, reading.pid, reading.step) == (BEGIN, 42, 5)
    got = reading.sample
    assert (got.monotonic, got.cpu_usage_us, got.cpu_limit, got.cpu_throttled) == (12.5, 5_000_000_000, 1.5, 3)
    assert (got.memory_current, got.memory_working_set, got.memory_limit) == (1 << 40, 0, None)
    assert got.memory_events == {"oom": 2, "oom_kill": 1}
    assert (got.pids, got.pids_limit, got.cpu_user_us) == (4, None, None)
    assert (got.io_read_bytes, got.io_write_bytes) == (1, 2)
    assert got.net == {"all": (6, 7, 0, 0, 0, 0, 0, 0)}
    assert got.psi == {"memory": (0.0, None, 30, 40)}
    assert (got.memory_refaults, got.layer, got.log, got.open_files, got.waiting) == (1 << 33, 1 << 35, 0, 12, 2)
    assert (got.stuck, got.processes, got.load, got.pids_failures) == (31.3, None, None, None)


def test_a_file_never_grows_beyond_its_size_and_keeps_days(tmp_path: Path) -> None:
    path = tmp_path / "r"
    write(path, 9 * 86400, every=30)
    assert path.stat().st_size == ring.SIZE * (1 + sum(slots for _, slots in ring.TIERS)) == 500_220
    readings = ring.read(str(path))
    last = BEGIN + 9 * 86400 - 30
    assert readings[0].time == pytest.approx(last - 1024 * 600, abs=600)
    assert readings[-1].time == last
    steps = [reading.step for reading in readings]
    assert steps[0] == 600 and steps[-1] == 5 and set(steps) == {5, 60, 600}
    assert [reading.time for reading in readings] == sorted({reading.time for reading in readings})


def test_rates_between_coarse_records_are_the_mean_of_all_that_happened(tmp_path: Path) -> None:
    write(tmp_path / "r", 3600)
    coarse = [reading for reading in ring.read(str(tmp_path / "r")) if reading.step == 60]
    assert rates(coarse[0].sample, coarse[-1].sample).cpu_percent == pytest.approx(50)


def test_a_coarse_record_remembers_the_peak(tmp_path: Path) -> None:
    writer = ring.Writer(str(tmp_path / "r"))
    for number in range(400):
        high = 900 if number == 20 else 100
        writer.add(BEGIN + number * 5, 1, 7, sample(number * 5.0, memory_working_set=high, pids=high))
    coarse = [reading for reading in ring.read(str(tmp_path / "r")) if reading.step == 60]
    peaks = [reading.time - BEGIN for reading in coarse if reading.sample.memory_working_set == 900]
    assert peaks == [120.0], "in the record that follows it, and only there"


def test_a_closer_look_is_in_its_own_record_and_in_the_coarse_one_that_follows(tmp_path: Path) -> None:
    writer = ring.Writer(str(tmp_path / "r"))
    for number in range(20):
        looked = {"layer": 4096, "waiting": 1} if number == 7 else {}
        writer.add(BEGIN + number * 5, 1, 7, sample(number * 5.0, **looked))
    readings = ring.read(str(tmp_path / "r"))
    assert [one.time - BEGIN for one in readings if one.sample.layer is not None] == [35.0]
    os.truncate(tmp_path / "r", ring.SIZE * 193 + 768 * ring.SIZE)
    with (tmp_path / "r").open("r+b") as file:
        file.seek(ring.SIZE)
        file.write(bytes(192 * ring.SIZE))  # the fine tier is overwritten in time
    coarse = ring.read(str(tmp_path / "r"))
    assert [(one.time - BEGIN, one.sample.layer) for one in coarse] == [(0.0, None), (60.0, 4096)]


def test_a_file_of_an_earlier_format_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "r"
    write(path, 25)
    old = bytearray(path.read_bytes())
    old[8] -= 1
    path.write_bytes(old)
    assert ring.read(str(path)) == []
    write(path, 10, begin=BEGIN + 600)
    assert [one.time - BEGIN for one in ring.read(str(path))] == [600.0, 605.0]


def test_a_torn_record_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "r"
    write(path, 25)
    whole = ring.read(str(path))
    at = ring.SIZE * (1 + int(whole[2].time // 5) % 192)
    with path.open("r+b") as file:
        file.seek(at + 32)
        file.write(b"\xff" * 30)  # the second half of a write that did not come to its end
    assert [reading.time for reading in ring.read(str(path))] == [
        reading.time for reading in whole if reading is not whole[2]
    ]


def test_a_file_cut_short_gives_what_is_whole_in_it(tmp_path: Path) -> None:
    path = tmp_path / "r"
    write(path, 900)
    os.truncate(path, ring.SIZE * 100 + 57)
    times = [reading.time for reading in ring.read(str(path))]
    assert times and len(times) < 180
    os.truncate(path, 3)
    assert ring.read(str(path)) == []
    write(path, 25)
    assert len(ring.read(str(path))) == 5, "a writer puts the header back"


def test_something_else_in_its_place_is_no_history(tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_bytes(os.urandom(400_000))
    assert ring.read(str(path)) == []
    assert ring.read(str(tmp_path / "none")) == []


def test_a_window_is_cut_out(tmp_path: Path) -> None:
    write(tmp_path / "r", 900)
    readings = ring.read(str(tmp_path / "r"), BEGIN + 100, BEGIN + 200)
    assert [reading.time for reading in readings] == [BEGIN + moment for moment in range(100, 201, 5)]


@pytest.mark.parametrize("seconds", [1, 60, 900, 4000, 50_000])
def test_a_short_window_is_read_by_its_slots_alone(tmp_path: Path, seconds: int) -> None:
    path = str(tmp_path / "r")
    write(tmp_path / "r", 86400, every=20)
    everything = ring.read(path)
    for since in range(int(BEGIN), int(BEGIN) + 86400, 7919):
        until = since + seconds
        wanted = [one.time for one in everything if since <= one.time <= until]
        assert [one.time for one in ring.read(path, since, until)] == wanted


def test_a_second_writer_goes_on_where_the_first_was_killed(tmp_path: Path) -> None:
    write(tmp_path / "r", 60)
    write(tmp_path / "r", 60, begin=BEGIN + 300, pid=8)
    readings = ring.read(str(tmp_path / "r"))
    assert [reading.pid for reading in readings] == [7] * 12 + [8] * 12
    assert readings[12].time - readings[11].time == pytest.approx(245)
