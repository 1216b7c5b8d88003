"""What is kept of a container is damaged while it runs: nobody is told nonsense, and `delete --force` still ends it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.caller import subreaper, wait
from tests.support.host import Host
from tests.support.oci import Oci


@pytest.fixture
def oci(bare_host: Host) -> Iterator[Oci]:
    oci = Oci(bare_host)
    with subreaper():
        yield oci
        oci.cli("delete", "--force", "one")
    left = bare_host.census()
    assert not left, f"left behind: {left}"


def begin(oci: Oci) -> tuple[int, Path]:
    """A running container: its pid and where its state is kept."""
    oci.write(oci.config("sleep", "1000"))
    pid = oci.path / "pid"
    done = oci.cli("run", "-d", "--bundle", str(oci.path), "--pid-file", str(pid), "one")
    assert done.returncode == 0, done.stderr
    return int(pid.read_text()), Path(oci.host.paths.run) / "runtime/one"


def truncated(record: dict[str, Any]) -> str:
    return json.dumps(record)[:40]


def of_another_type(record: dict[str, Any]) -> str:
    return json.dumps([record])


def with_everybodys_group(record: dict[str, Any]) -> str:
    """What would be killed by it is the whole host."""
    return json.dumps({**record, "group": "/"})


@pytest.mark.parametrize("damage", [truncated, of_another_type, with_everybodys_group])
def test_a_container_with_a_damaged_record_is_ended_by_force_alone(
    oci: Oci, damage: Callable[[dict[str, Any]], str]
) -> None:
    pid, directory = begin(oci)
    file = directory / "state.json"
    file.write_text(damage(json.loads(file.read_text())))
    for words in (("state", "one"), ("kill", "one"), ("exec", "one", "true"), ("pause", "one"), ("delete", "one")):
        done = oci.cli(*words)
        assert done.returncode in (1, 255), words
        assert str(file) in done.stderr and len(done.stderr.splitlines()) == 1, (words, done.stderr)
        assert "bug in pyctr" not in done.stderr and "Error" not in done.stderr
    done = oci.cli("list", "-q")
    assert (done.returncode, done.stdout) == (0, "") and str(file) in done.stderr
    os.kill(pid, 0)
    done = oci.cli("delete", "--force", "one")
    assert done.returncode == 0, done.stderr
    assert "hooks for after its end are not run" in done.stderr
    assert wait(pid) == -9
    assert not directory.exists() and not oci.host.groups()


def test_a_container_without_its_record_is_found_too(oci: Oci) -> None:
    pid, directory = begin(oci)
    (directory / "state.json").unlink()
    assert oci.cli("delete", "one").returncode == 1
    os.kill(pid, 0)
    assert oci.cli("delete", "--force", "one").returncode == 0
    assert wait(pid) == -9
    assert not directory.exists() and not oci.host.groups()


def test_what_cannot_be_found_is_left_and_said(oci: Oci) -> None:
    """Neither a guess at a group, nor a container that runs on and that nobody knows of."""
    pid, directory = begin(oci)
    kept = {name: (directory / name).read_bytes() for name in ("state.json", "process.marshal")}
    for name in kept:
        (directory / name).write_bytes(b"{")
    done = oci.cli("delete", "--force", "one")
    assert done.returncode == 1 and "what still runs of 'one' cannot be found" in done.stderr
    os.kill(pid, 0)
    for name, content in kept.items():
        (directory / name).write_bytes(content)
    assert oci.cli("delete", "--force", "one").returncode == 0
    assert wait(pid) == -9
