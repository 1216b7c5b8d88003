"""The container log: what was written comes back, byte for byte, through partial lines, rotation and following."""

from __future__ import annotations

import gzip
import itertools
import os
import threading
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyctr.core import logentries, logfiles, logreading, logs, logtail

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
    logtail.seek([file], [file.size], logtail.Tail(3), logentries.CRI)
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


ENTRIES = st.lists(st.tuples(STREAMS, st.sampled_from("PF"), st.integers(0, 3)), max_size=30)
"""Stream, tag, and seconds since the entry before."""


@settings(max_examples=400, deadline=None)
@given(
    entries=ENTRIES,
    cuts=st.lists(st.integers(0, 30), max_size=3),
    packed=st.lists(st.booleans(), min_size=3, max_size=3),
    count=st.integers(0, 12),
    until=st.none() | st.integers(0, 40),
)
def test_the_tail_is_the_last_lines_as_they_were_at_a_moment(
    tmp_path_factory: pytest.TempPathFactory,
    entries: list[tuple[str, str, int]],
    cuts: list[int],
    packed: list[bool],
    count: int,
    until: int | None,
) -> None:
    """Of both streams, over rotations between any two entries, compressed or not."""
    path = tmp_path_factory.mktemp("log") / "ctr.log"
    moments = itertools.accumulate(step for _, _, step in entries)
    texts = [
        f"1970-01-01T00:{at // 60:02d}:{at % 60:02d}Z {stream} {tag} {number}.\n"
        for number, ((stream, tag, _), at) in enumerate(zip(entries, moments, strict=True))
    ]
    places = [0, *sorted(min(cut, len(texts)) for cut in cuts), len(texts)]
    files = ["".join(texts[begin:end]) for begin, end in itertools.pairwise(places)]
    for number, text in enumerate(reversed(files)):
        if number and packed[number - 1]:
            Path(f"{path}.{number}.gz").write_bytes(gzip.compress(text.encode()))
        else:
            Path(f"{path}.{number}" if number else path).write_text(text)
    form = logentries.Form(logentries.parse, packed=True)
    bound = None if until is None else until * 1_000_000_000
    everything = list(logreading.read(str(path), until=bound, form=form))
    # a line is as old as what was written of it last
    last = sorted(everything, key=lambda line: int(line[2].rstrip(b".\n").split(b".")[-1]))
    last = last[max(0, len(last) - count) :]
    assert list(logreading.read(str(path), tail=count, until=bound, form=form)) == [
        line for line in everything if line in last
    ]


def test_a_line_of_the_tail_is_whole_though_others_were_written_into_it(tmp_path: Path) -> None:
    path = tmp_path / "ctr.log"
    begin, end = "2026-01-01T00:00:00Z stderr P the beginning \n", "2026-01-01T00:00:03Z stderr F and the end\n"
    path.write_text(begin + "2026-01-01T00:00:01Z stdout F a\n" * 9 + end)
    assert [line for _, _, line in logreading.read(str(path), tail=2)] == [b"a\n", b"the beginning and the end\n"]


def test_a_log_as_it_was_has_what_was_unfinished_then(tmp_path: Path) -> None:
    path = tmp_path / "ctr.log"
    lines = [f"2026-01-01T00:{n // 60:02d}:{n % 60:02d}Z stdout {'P' if n == 9 else 'F'} {n}\n" for n in range(3600)]
    path.write_text("".join(lines))
    until = logentries.timestamp_ns(b"2026-01-01T00:00:09Z")
    for wishes in ({"tail": 2}, {"since": until - 1_000_000_000}, {"since": until - 1_000_000_000, "follow": True}):
        found = [line for _, _, line in logreading.read(str(path), until=until, **wishes)]
        assert found == [b"8\n", b"9"]


@pytest.mark.parametrize("wishes", [{}, {"tail": 10}, {"tail": 10, "until": 1 << 62}])
def test_a_line_without_end_is_read_in_little_memory(tmp_path: Path, wishes: dict[str, int]) -> None:
    path = tmp_path / "ctr.log"
    with path.open("w") as file:
        for _ in range(2000):
            file.write(f"2026-01-01T00:00:00Z stdout P {'x' * 16_000}\n")
        file.write("2026-01-01T00:00:00Z stdout F end\n")
    size = 0
    tracemalloc.start()
    try:
        for _, _, line in logreading.read(str(path), **wishes):
            size += len(line)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert line.endswith(b"end\n")
    assert size == 2000 * 16_000 + 4 if not wishes else 9 << 20 < size < 12 << 20
    assert peak < 6 << 20


def test_a_tag_with_more_in_it_is_that_of_kubelet(tmp_path: Path) -> None:
    path = tmp_path / "ctr.log"
    path.write_text("".join(f"2026-01-01T00:00:00Z stdout {tag} {tag};\n" for tag in ("P:x", "F:x", "P", "X", "F")))
    lines = [b"P:x;F:x;\n", b"P;X;\n", b"F;\n"]
    assert [line for _, _, line in logreading.read(str(path))] == lines
    assert [line for _, _, line in logreading.read(str(path), tail=2)] == lines[1:]


def test_a_stream_that_was_silent_for_long_is_not_looked_for_through_the_whole_log(tmp_path: Path) -> None:
    path = tmp_path / "ctr.log"
    quiet = "2026-01-01T00:00:00Z stderr F warn\n"
    path.write_text(quiet + "2026-01-01T00:00:01Z stdout F a line\n" * 100_000 + quiet)
    assert [line for _, _, line in logreading.read(str(path), tail=2)] == [b"a line\n", b"warn\n"]
    [file] = logfiles.chain(str(path))
    logtail.seek([file], [file.size], logtail.Tail(2), logentries.CRI)
    assert file.size - file.position < 1 << 20
    file.close()
