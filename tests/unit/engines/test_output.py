"""Logs of other engines, read as ours are."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
from pathlib import Path

import pytest

from pyctr.core import errors, logentries
from pyctr.core.engines import output
from pyctr.core.engines.model import Foreign, Log
from tests.unit.engines.test_locallog import Followed

STAMP = "2026-11-20T23:14:07.412345678Z"
NS = 1795216447412345678


def docker(path: Path, *texts: str, stream: str = "stdout") -> Foreign:
    lines = [json.dumps({"log": text, "stream": stream, "time": STAMP}, ensure_ascii=False) for text in texts]
    path.write_text("".join(f"{line}\n" for line in lines))
    return Foreign("docker", "a" * 64, "web", log=Log("json-file", str(path)))


def test_dockers_entries_are_lines_and_long_ones_are_put_together(tmp_path: Path) -> None:
    one = docker(tmp_path / "log", "one\n", "a long ", "line\n", "größe\n", "rest")
    assert list(output.read(one)) == [
        (NS, "stdout", b"one\n"),
        (NS, "stdout", b"a long line\n"),
        (NS, "stdout", "größe\n".encode()),
        (NS, "stdout", b"rest"),
    ]


def test_the_tail_counts_lines_not_entries(tmp_path: Path) -> None:
    one = docker(tmp_path / "log", *(f"{n}\n" for n in range(5000)), "a long ", "line\n", "last\n")
    assert [line for _, _, line in output.read(one, tail=2)] == [b"a long line\n", b"last\n"]


def test_torn_and_strange_entries_are_passed_over(tmp_path: Path) -> None:
    one = docker(tmp_path / "log", "one\n")
    with (tmp_path / "log").open("a") as file:
        file.write(
            '[1]\n{"log": 3, "stream": "stdout", "time": "x"}\n{"log":"x","stream":"other","time":"'
            + STAMP
            + '"}\n{"lo'
        )
    assert [line for _, _, line in output.read(one)] == [b"one\n"]


def test_a_rotated_log_of_docker_is_one(tmp_path: Path) -> None:
    docker(tmp_path / "log", "old\n")
    (tmp_path / "log").rename(tmp_path / "log.1")
    assert [line for _, _, line in output.read(docker(tmp_path / "log", "new\n"))] == [b"old\n", b"new\n"]


def test_podmans_local_times_are_the_same_moments(tmp_path: Path) -> None:
    file = tmp_path / "ctr.log"
    file.write_text(
        "2026-11-21T01:14:07.412345678+02:00 stderr F one\n2026-11-20T18:14:07.412345678-05:00 stdout F two\n"
    )
    one = Foreign("podman", "b" * 64, "web", log=Log("cri", str(file)))
    assert list(output.read(one)) == [(NS, "stderr", b"one\n"), (NS, "stdout", b"two\n")]
    assert logentries.timestamp_ns(STAMP.encode()) == NS


def test_a_link_or_a_fifo_in_the_place_of_a_log_is_neither_followed_nor_waited_for(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{STAMP} stdout F password\n")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "fifo"):
        with pytest.raises(OSError):
            list(output.read(Foreign("podman", "b" * 64, "web", log=Log("cri", str(tmp_path / name))), tail=10))


def test_where_there_is_no_file_it_is_said_why() -> None:
    with pytest.raises(errors.Unsupported) as refused:
        output.read(Foreign("docker", "a" * 64, "web", log=Log(why="docker gives them to its 'syslog' log driver")))
    assert "syslog" in refused.value.hint


def packed(path: Path, number: int) -> None:
    """Rotate as docker does with `compress=true`: moved up, a compressed copy made, and the other one removed."""
    path.rename(f"{path}.{number}")
    Path(f"{path}.{number}.gz").write_bytes(gzip.compress(Path(f"{path}.{number}").read_bytes()))
    os.unlink(f"{path}.{number}")


@pytest.mark.parametrize("count", [None, 0, 1, 3, 4000, 9000])
def test_compressed_files_of_docker_are_part_of_its_log(tmp_path: Path, count: int | None) -> None:
    path = tmp_path / "log"
    for number in (2, 1, 0):
        first = (2 - number) * 3000
        one = docker(path, *(f"{n}\n" for n in range(first, first + 3000)))
        if number:
            packed(path, number)
    expected = [b"%d\n" % n for n in range(9000)]
    found = [line for _, _, line in output.read(one, tail=count)]
    assert found == (expected if count is None else expected[9000 - count :])


def test_what_is_rotated_twice_and_compressed_before_the_follower_looks_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "log"
    followed = Followed(docker(path, "one\n"))
    followed.until("one\n")
    # one wake-up for all of it: the directory is another one until everything is in its place
    aside = tmp_path / "aside"
    aside.mkdir()
    with path.open("a") as file:
        file.write(path.read_text().replace("one", "two"))
    followed.until("one\n", "two\n")
    docker(aside / "log.1", "three\n", "four\n")
    (tmp_path / "log.1.gz").write_bytes(gzip.compress((aside / "log.1").read_bytes()))
    (tmp_path / "log.2.gz").write_bytes(gzip.compress(path.read_bytes()))
    docker(aside / "log", "five\n")
    (aside / "log").rename(path)
    followed.until("one\n", "two\n", "three\n", "four\n", "five\n")
    assert followed.stop() == ["one\n", "two\n", "three\n", "four\n", "five\n"]


def test_a_log_that_docker_empties_is_followed_from_its_new_beginning(tmp_path: Path) -> None:
    path = tmp_path / "log"
    followed = Followed(docker(path, "a long first line\n", "two\n"))
    followed.until("a long first line\n", "two\n")
    docker(path, "three\n")  # opened with O_TRUNC
    followed.until("a long first line\n", "two\n", "three\n")
    followed.stop()


def test_kubelets_rotated_files_are_read_by_their_times(tmp_path: Path) -> None:
    for name, text in (("0.log.20261120-010000.gz", "one"), ("0.log.20261120-020000", "two"), ("0.log", "three")):
        line = f"{STAMP} stdout F {text}\n".encode()
        (tmp_path / name).write_bytes(gzip.compress(line) if name.endswith(".gz") else line)
    one = Foreign("kubernetes", "c" * 64, "web", log=Log("cri", str(tmp_path / "0.log")))
    assert [line for _, _, line in output.read(one)] == [b"one\n", b"two\n", b"three\n"]
    assert [line for _, _, line in output.read(one, tail=2)] == [b"two\n", b"three\n"]


def test_a_compressed_log_of_any_size_is_read_in_little_memory(tmp_path: Path) -> None:
    """Of lines, and of one line without an end."""
    path = tmp_path / "log"
    one = docker(path, *("x" * 16_000 + "\n" for _ in range(1500)))
    packed(path, 2)
    path.write_bytes(b"x" * (16 << 20))
    packed(path, 1)
    docker(path, "end\n")
    tracemalloc.start()
    try:
        count = sum(1 for _ in output.read(one))
        assert [line for _, _, line in output.read(one, tail=1)] == [b"end\n"]
        assert [len(line) for _, _, line in output.read(one, tail=3)] == [16_001, 16_001, 4]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 1501
    assert peak < 8 << 20


def test_a_recording_of_long_lines_takes_little_memory(tmp_path: Path) -> None:
    one = docker(tmp_path / "log", *("x" * 500_000 + "\n" for _ in range(60)), "y" * 500_000 + "\n")
    tracemalloc.start()
    try:
        found = output.tail(one.log, 1 << 20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [len(line) for line in found.splitlines()] == [500_040] * 2 and found.endswith(b"y\n")
    assert peak < 9 << 20
    assert output.tail(one.log, 1000) == b""
