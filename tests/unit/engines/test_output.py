"""Logs of other engines, read as ours are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pyctr.core import errors, logs
from pyctr.core.engines import output
from pyctr.core.engines.model import Foreign, Log

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
    assert logs.timestamp_ns(STAMP.encode()) == NS


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
