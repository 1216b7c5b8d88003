"""Docker's `local` log driver, read without docker: entries of protobuf, rotated and compressed files."""

from __future__ import annotations

import gzip
import os
import struct
import threading
import time
from pathlib import Path

import pytest

from pyctr.core import logfiles
from pyctr.core.engines import locallog, output
from pyctr.core.engines.model import Foreign, Log

NS = 1795216447412345678


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def entry(text: str, *, stamp: int = NS, stream: str = "stdout", partial: bool = False, last: bool = False) -> bytes:
    line = text.encode()
    message = b"\x0a" + varint(len(stream)) + stream.encode() + b"\x10" + varint(stamp)
    message += b"\x1a" + varint(len(line)) + line
    if partial:
        meta = (b"\x08\x01" if last else b"") + b"\x12\x02id" + b"\x18\x01"
        message += b"\x20\x01\x2a" + varint(len(meta)) + meta
    return struct.pack(">I", len(message)) + message + struct.pack(">I", len(message))


def docker(path: Path, *entries: bytes) -> Foreign:
    path.write_bytes(b"".join(entries))
    return Foreign("docker", "a" * 64, "web", log=Log("local", str(path)))


def texts(one: Foreign, **wishes: object) -> list[str]:
    return [line.decode() for _, _, line in output.read(one, **wishes)]


def test_entries_are_lines_and_long_ones_are_put_together(tmp_path: Path) -> None:
    parts = (entry("a long ", partial=True), entry("line", partial=True, last=True))
    one = docker(tmp_path / "log", entry("one"), entry("bad", stream="stderr"), *parts, entry("rest", partial=True))
    assert list(output.read(one)) == [
        (NS, "stdout", b"one\n"),
        (NS, "stderr", b"bad\n"),
        (NS, "stdout", b"a long line\n"),
        (NS, "stdout", b"rest"),
    ]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5000, 100_000])
def test_the_tail_counts_lines_over_all_files_compressed_or_not(tmp_path: Path, count: int) -> None:
    path = tmp_path / "log"
    older = [entry(f"{n}") for n in range(3000)]
    (tmp_path / "log.2.gz").write_bytes(gzip.compress(b"".join(older)))
    (tmp_path / "log.1").write_bytes(b"".join(entry(f"{n}") for n in range(3000, 4000)))
    one = docker(path, *(entry(f"{n}") for n in range(4000, 6000)), entry("x", partial=True), entry("y"))
    expected = [*(f"{n}\n" for n in range(6000)), "xy\n"]
    assert texts(one, tail=count) == (expected[-count:] if count else [])


def test_times_bound_it(tmp_path: Path) -> None:
    one = docker(tmp_path / "log", *(entry(f"{n}", stamp=NS + n) for n in range(10)))
    assert texts(one, since=NS + 3, until=NS + 5) == ["3\n", "4\n", "5\n"]


def test_what_is_torn_is_passed_over_and_what_comes_after_it_is_not(tmp_path: Path) -> None:
    torn = entry("lost when the disk was full")[:-9]
    one = docker(tmp_path / "log", entry("one"), torn, entry("two"), struct.pack(">I", 1 << 31), entry("three"))
    assert texts(one) == ["one\n", "two\n", "three\n"]
    assert texts(one, tail=2) == ["two\n", "three\n"]
    assert texts(docker(tmp_path / "log", entry("one"), entry("still being written")[:-1])) == ["one\n"]
    assert texts(docker(tmp_path / "log", b"\0" * 100)) == []


def test_a_file_that_unpacks_without_end_is_left_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logfiles, "UNPACKED", 1 << 20)
    (tmp_path / "log.1.gz").write_bytes(gzip.compress(entry("old") + b"\0" * (8 << 20)))
    assert texts(docker(tmp_path / "log", entry("new"))) == ["old\n", "new\n"]


@pytest.mark.parametrize("name", ["link", "fifo"])
def test_no_link_is_followed_and_no_pipe_waited_for(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_bytes(entry("secret"))
    (tmp_path / "link").symlink_to("secret")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError):
        texts(Foreign("docker", "a" * 64, log=Log("local", str(tmp_path / name))), tail=5)


class Followed:
    """Lines as they come, until `stop`."""

    def __init__(self, one: Foreign, **wishes: object) -> None:
        self.lines: list[str] = []
        self._more = threading.Condition()
        self.current = threading.Event()
        self._read, self._write = os.pipe()
        self._thread = threading.Thread(target=self._run, args=(one, wishes))
        self._thread.start()
        assert self.current.wait(30)

    def _run(self, one: Foreign, wishes: dict[str, object]) -> None:
        for _, _, line in output.read(one, follow=True, stop=self._read, current=self.current.set, **wishes):
            with self._more:
                self.lines.append(line.decode())
                self._more.notify_all()

    def until(self, *lines: str) -> None:
        with self._more:
            assert self._more.wait_for(lambda: self.lines == list(lines), 30), self.lines

    def stop(self) -> list[str]:
        os.close(self._write)
        self._thread.join(30)
        assert not self._thread.is_alive()
        os.close(self._read)
        return self.lines


def test_it_is_followed_across_rotations_and_compression(tmp_path: Path) -> None:
    path = tmp_path / "log"
    followed = Followed(docker(path, entry("one"), entry("two")), tail=1)
    followed.until("two\n")
    with path.open("ab") as file:
        whole = entry("three")
        file.write(whole[:7])
        file.flush()
        file.write(whole[7:] + entry("last of the old"))
    followed.until("two\n", "three\n", "last of the old\n")
    path.rename(tmp_path / "log.1")
    path.write_bytes(entry("first of the new"))
    followed.until("two\n", "three\n", "last of the old\n", "first of the new\n")
    (tmp_path / "log.1.gz").write_bytes(gzip.compress((tmp_path / "log.1").read_bytes()))
    (tmp_path / "log.1").unlink()
    with path.open("ab") as file:
        file.write(entry("end"))
    assert followed.stop() == ["two\n", "three\n", "last of the old\n", "first of the new\n", "end\n"]


def test_one_that_has_not_written_yet_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    followed = Followed(Foreign("docker", "a" * 64, "web", log=Log("local", str(path))))
    path.write_bytes(entry("first"))
    followed.until("first\n")
    assert followed.stop() == ["first\n"]


def test_false_beginnings_cost_no_more_than_their_number() -> None:
    """Each has a length that may be, none ends where it says, and one of the two marks is nowhere."""

    def seconds(count: int) -> float:
        false = struct.pack(">I", 7) + b"\x0a\x06stdout" + b"\0" * 4
        begun = time.process_time()
        found, used = locallog.cut(false * count)
        assert not found and used > 16 * (count - 2)
        return time.process_time() - begun

    assert seconds(64_000) < 100 * min(seconds(4_000) for _ in range(3))


def test_a_log_that_is_emptied_while_it_is_read_from_its_end_is_read_from_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = docker(tmp_path / "log", entry("one"))
    size = logfiles.LogFile.size.fget  # type: ignore[attr-defined]
    monkeypatch.setattr(logfiles.LogFile, "size", property(lambda file: size(file) + 100))
    assert texts(one, tail=2) == ["one\n"]
