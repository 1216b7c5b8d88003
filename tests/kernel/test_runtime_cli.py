"""`pyctr-runtime` carries a bundle through the OCI lifecycle."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.bundle import Bundle
from tests.support.host import Host


class Cli(Bundle):
    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Output goes to files: a created container holds on to it, so a pipe would have no end."""
        command = [sys.executable, "-m", "pyctr.cli.runtime", *words]
        files = [self.path / "out", self.path / "err"]
        with open(files[0], "w") as out, open(files[1], "w") as err:
            done = subprocess.run(command, env=self.host.env, stdout=out, stderr=err, timeout=60)
        return subprocess.CompletedProcess(command, done.returncode, *(file.read_text() for file in files))

    def write(self, *args: str) -> str:
        (self.path / "config.json").write_text(json.dumps(self.config(*args)))
        return str(self.path)

    def status(self, id: str) -> str:
        return str(json.loads(self("state", id).stdout)["status"])


@pytest.fixture
def cli(bare_host: Host) -> Iterator[Cli]:
    cli = Cli(bare_host)
    yield cli
    left = bare_host.census()
    assert not left, f"left behind: {left}"
    assert cli("list", "-q").stdout == ""


def test_run_passes_output_and_exit_code_on(cli: Cli) -> None:
    done = cli("run", "-b", cli.write("sh", "-c", "echo out; echo err >&2; exit 6"), "one")
    assert (done.returncode, done.stdout, done.stderr) == (6, "out\n", "err\n")


def test_create_start_state_kill_delete(cli: Cli) -> None:
    assert cli("create", "-b", cli.write("sleep", "100"), "one").returncode == 0
    assert cli.status("one") == "created"
    assert cli("start", "one").returncode == 0
    assert cli.status("one") == "running"
    assert cli("exec", "one", "sh", "-c", "exit 4").returncode == 4
    refused = cli("delete", "one")
    assert refused.returncode == 1 and "running" in refused.stderr
    assert cli("kill", "one", "KILL").returncode == 0
    assert cli("delete", "--force", "one").returncode == 0
    gone = cli("state", "one")
    assert gone.returncode == 1 and "does not exist" in gone.stderr


def test_a_created_container_can_be_deleted_unstarted(cli: Cli) -> None:
    cli("create", "-b", cli.write("sleep", "100"), "one")
    assert cli("delete", "one").returncode == 0


def test_a_missing_command_is_told_by_create_and_leaves_nothing(cli: Cli) -> None:
    done = cli("create", "-b", cli.write("nope"), "one")
    assert done.returncode == 1 and "'nope': executable file not found in $PATH" in done.stderr
    assert cli("state", "one").returncode == 1


def test_bad_requests_are_refused_with_a_reason(cli: Cli) -> None:
    assert "config.json" in cli("run", "-b", "/tmp", "one").stderr
    assert "invalid container ID" in cli("run", "-b", cli.write("true"), "../x").stderr
    cli("create", "-b", cli.write("sleep", "100"), "two")
    assert "exists" in cli("create", "-b", str(cli.path), "two").stderr
    cli("delete", "-f", "two")
