"""Logs in the journal: files as systemd-journal-remote wrote them, read by the real journalctl."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from pyctr.core import errors
from pyctr.core.engines import output
from pyctr.core.engines.model import Foreign, Log
from tests.support.enginetree import GOLDEN, EngineTree
from tests.unit.engines.test_locallog import Followed

ID = "c0ffee" * 10 + "beef"
NS = 1795216447412345000
"""One second before its first line; a second lies between two entries."""
SECOND = 1_000_000_000
LINES = [b"ready\n", b"cannot reach db\n", b"a long line\n", "größe \x1b[31mred\n".encode(), b"\xff\xfe raw\n"]
LINES += [b"x" * 6000 + b"\n", b"last\n"]

pytestmark = pytest.mark.skipif(not shutil.which("journalctl"), reason="needs journalctl")


def journal(directory: Path, name: str = "docker") -> None:
    directory.mkdir(parents=True, exist_ok=True)
    made = directory / f".{name}"
    made.write_bytes(gzip.decompress((GOLDEN / f"{name}.journal.gz").read_bytes()))
    made.rename(directory / f"{name}.journal")


@pytest.fixture
def one(tmp_path: Path) -> Foreign:
    journal(tmp_path)
    return Foreign("docker", ID, "web", log=Log("journal", f"{tmp_path}/CONTAINER_ID_FULL={ID}"))


def test_its_lines_and_nobody_elses(one: Foreign) -> None:
    found = list(output.read(one))
    assert [line for _, _, line in found] == LINES
    assert [stream for _, stream, _ in found] == ["stdout", "stderr", *["stdout"] * 5]
    assert found[0][0] == NS + SECOND


@pytest.mark.parametrize("count", [0, 1, 4, 5, 7, 100])
def test_the_tail_counts_lines_not_entries(one: Foreign, count: int) -> None:
    assert [line for _, _, line in output.read(one, tail=count)] == (LINES[-count:] if count else [])


def test_times_bound_it(one: Foreign) -> None:
    found = output.read(one, since=NS + 2 * SECOND, until=NS + 5 * SECOND)
    assert [line for _, _, line in found] == LINES[1:3]


def test_the_tail_is_that_of_a_moment(one: Foreign) -> None:
    found = output.read(one, tail=2, until=NS + 5 * SECOND)
    assert [line for _, _, line in found] == LINES[1:3]


def test_it_is_followed(one: Foreign, tmp_path: Path) -> None:
    followed = Followed(one, tail=1)
    followed.until("last\n")
    journal(tmp_path, "docker-later")
    followed.until("last\n", "later\n", "and worse\n")
    assert followed.stop() == ["last\n", "later\n", "and worse\n"]


def test_dockers_record_leads_to_it(tmp_path: Path) -> None:
    tree = EngineTree(tmp_path)
    store = "/var/lib/docker/containers"
    tree.write(f"{store}/{ID}/config.v2.json", {"ID": ID, "Name": "/web"})
    tree.write(f"{store}/{ID}/hostconfig.json", {"LogConfig": {"Type": "journald"}})
    journal(tmp_path / "var/log/journal")
    [found] = tree.finder().look()
    assert [line for _, _, line in output.read(found, tail=1)] == [b"last\n"]


def test_without_journalctl_that_is_said(one: Foreign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(errors.Unsupported, match="there is no journalctl"):
        list(output.read(one))


def test_what_journalctl_complains_of_is_told(tmp_path: Path) -> None:
    gone = Foreign("docker", ID, "web", log=Log("journal", f"{tmp_path}/none/CONTAINER_ID_FULL={ID}"))
    with pytest.raises(errors.Unsupported) as refused:
        list(output.read(gone))
    assert "No such file" in refused.value.hint


def test_a_recording_has_it_as_lines(one: Foreign) -> None:
    lines = output.tail(one.log, 1 << 20).splitlines()
    assert lines[1] == b"2026-11-20T23:14:09.412345000Z stderr F cannot reach db"
    short = output.tail(one.log, 200).splitlines()
    assert len(short) < len(lines) and short[-1].endswith(b" stdout F last")
