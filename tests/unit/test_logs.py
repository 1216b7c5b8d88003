"""The container log: what was written comes back, byte for byte, through partial lines, rotation and following."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyctr.core import logentries, logfiles, logreading, logs

STREAMS = st.sampled_from(["stdout", "stderr"])
CHUNKS = st.lists(
    st.tuples(STREAMS, st.binary(min_size=1, max_size=60) | st.just(b"\n") | st.just(b"a\nb\n")), max_size=25
)


def joined(lines: list[logentries.Line], stream: str) -> bytes:
    return b"".join(line for _, name, line in lines if name == stream)


@settings(max_examples=150, deadline=None)
@given(chunks=CHUNKS, size=st.sampled_from([0, 120, 400]))
def test_every_byte_comes_back_in_order(tmp_path_factory: pytest.TempPathFactory, chunks: list, size: int) -> None:
    path = str(tmp_path_factory.mktemp("log") / "ctr.log")
    writer = logs.LogWriter(path, size, 1000)
    for stream, data in chunks:
        writer.write(stream, data)
    writer.close()
    lines = list(logreading.read(path))
    for stream in ("stdout", "stderr"):
        assert joined(lines, stream) == b"".join(data for name, data in chunks if name == stream)
    for _, _, line in lines:
        assert line.count(b"\n") <= 1
    for stream in ("stdout", "stderr"):
        assert joined(list(logreading.read(path, parts=True)), stream) == joined(lines, stream)


def test_a_carriage_return_does_not_end_a_line_of_the_tail(tmp_path: Path) -> None:
    path = str(tmp_path / "ctr.log")
    writer = logs.LogWriter(path, 0, 1)
    writer.write("stdout", b"first\n10%\r20%\r100%\n")
    writer.close()
    assert [line for _, _, line in logreading.read(path, tail=1)] == [b"10%\r20%\r100%\n"]


@settings(max_examples=150, deadline=None)
@given(
    words=st.lists(st.binary(max_size=40).map(lambda word: word.replace(b"\n", b"")), max_size=40),
    size=st.sampled_from([0, 150, 1000]),
    count=st.integers(0, 45),
)
def test_tail_is_the_end_of_everything(
    tmp_path_factory: pytest.TempPathFactory, words: list[bytes], size: int, count: int
) -> None:
    path = str(tmp_path_factory.mktemp("log") / "ctr.log")
    writer = logs.LogWriter(path, size, 1000)
    for word in words:
        for piece in (word[:5], word[5:] + b"\n"):
            writer.write("stdout", piece)
    writer.close()
    whole = list(logreading.read(path))
    assert list(logreading.read(path, tail=count)) == (whole[-count:] if count else [])


def test_tail_of_a_long_log_reads_only_its_end(tmp_path: Path) -> None:
    path = str(tmp_path / "ctr.log")
    writer = logs.LogWriter(path, 0)
    for number in range(0, 60_000, 100):
        writer.write("stdout", b"".join(b"line %d\n" % n for n in range(number, number + 100)))
    assert [line for _, _, line in logreading.read(path, tail=3)] == [b"line 59997\n", b"line 59998\n", b"line 59999\n"]
    [file] = logfiles.chain(path)
    logreading.seek_back([file], 3, logentries.CRI)
    assert file.size - file.position < 300
    file.close()


def test_since_and_until_cut_by_time(tmp_path: Path) -> None:
    path = tmp_path / "ctr.log"
    path.write_text("".join(f"2026-01-01T00:00:{n // 100:02d}.{n % 100:02d}Z stdout F {n}\n" for n in range(6000)))
    start = logentries.timestamp_ns(b"2026-01-01T00:00:20.00Z")
    end = logentries.timestamp_ns(b"2026-01-01T00:00:20.05Z")
    assert [line for _, _, line in logreading.read(str(path), since=start, until=end)] == [
        b"%d\n" % n for n in range(2000, 2006)
    ]


def test_rotation_keeps_the_asked_number_of_files(tmp_path: Path) -> None:
    path = str(tmp_path / "ctr.log")
    writer = logs.LogWriter(path, 500, 3)
    for number in range(100):
        writer.write("stdout", b"line %d\n" % number)
    assert sorted(os.listdir(tmp_path)) == ["ctr.log", "ctr.log.1", "ctr.log.2"]
    kept = [line for _, _, line in logreading.read(path)]
    assert kept[-1] == b"line 99\n" and len(kept) < 100
    assert kept == [b"line %d\n" % n for n in range(100 - len(kept), 100)]


def test_one_file_only_starts_over(tmp_path: Path) -> None:
    path = str(tmp_path / "ctr.log")
    writer = logs.LogWriter(path, 100, 1)
    for number in range(30):
        writer.write("stdout", b"line %d\n" % number)
    assert os.listdir(tmp_path) == ["ctr.log"]


def test_a_torn_entry_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "ctr.log"
    path.write_bytes(b"2026-01-01T00:00:00Z stdout F one\n2026-01-\n\n2026-01-01T00:00:01Z stderr F two\n2026-01-01T0")
    assert [line for _, _, line in logreading.read(str(path))] == [b"one\n", b"two\n"]


def test_follow_goes_on_over_rotations_until_told_to_stop(tmp_path: Path) -> None:
    path = str(tmp_path / "ctr.log")
    writer = logs.LogWriter(path, 2000, 200)
    writer.write("stdout", b"before\n")
    stop, stopper = os.pipe()
    seen: list[bytes] = []
    first = threading.Event()

    def run() -> None:
        for _, _, line in logreading.read(path, follow=True, stop=stop):
            seen.append(line)
            first.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert first.wait(10)
    for number in range(2000):
        writer.write("stdout", b"line %d\n" % number)
    os.write(stopper, b"x")
    thread.join(20)
    os.close(stop)
    os.close(stopper)
    assert seen == [b"before\n"] + [b"line %d\n" % n for n in range(2000)]


def test_follow_waits_for_a_log_that_is_not_there_yet(tmp_path: Path) -> None:
    path = str(tmp_path / "ctr.log")
    stop, stopper = os.pipe()
    seen: list[bytes] = []
    thread = threading.Thread(
        target=lambda: seen.extend(line for _, _, line in logreading.read(path, follow=True, stop=stop))
    )
    thread.start()
    logs.LogWriter(path).write("stdout", b"hello\nprompt> ")
    os.write(stopper, b"x")
    thread.join(20)
    os.close(stop)
    os.close(stopper)
    assert seen == [b"hello\n", b"prompt> "]


@pytest.mark.parametrize("name", ["ctr.log.1", "ctr.log.20261120-010000"])
def test_one_file_that_cannot_be_opened_leaves_no_other_open(tmp_path: Path, name: str) -> None:
    (tmp_path / "ctr.log").touch()
    (tmp_path / name).symlink_to(tmp_path / "ctr.log")
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError):
        logfiles.chain(str(tmp_path / "ctr.log"), os.O_NOFOLLOW, packed=True)
    assert os.listdir("/proc/self/fd") == before


def test_a_log_of_very_many_files_is_its_newest_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logfiles, "FILES", 3)
    for name in ("", ".1", ".2", ".3", ".4", *(f".2026112{day}-010000" for day in range(5))):
        (tmp_path / f"ctr.log{name}").write_text(f"2026-01-01T00:00:00Z stdout F {name}\n")
    files = logfiles.chain(str(tmp_path / "ctr.log"), packed=True)
    found = [line.decode().strip() for file in files for line in file.entries(logentries.cut_lines)]
    for file in files:
        file.close()
    assert [line.split()[3:] for line in found] == [
        [".20261122-010000"],
        [".20261123-010000"],
        [".20261124-010000"],
        [".2"],
        [".1"],
        [],
    ]
