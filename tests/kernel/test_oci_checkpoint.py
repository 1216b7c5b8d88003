"""`pyctr-runtime checkpoint` and `restore` with the real criu, where it and the kernel get on with each other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.caller import Console, subreaper, wait
from tests.support.host import Host
from tests.support.oci import Oci


def why_not() -> str:
    """Why criu cannot work here, "" if it can."""
    if not shutil.which("criu"):
        return "criu is not installed: apt install criu"
    done = subprocess.run(["criu", "check"], capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if "Error" in line]
    return f"criu cannot work on this kernel: {lines[0] if lines else done.stderr}" if done.returncode else ""


@pytest.fixture(scope="module")
def able() -> None:
    if reason := why_not():
        pytest.skip(reason)


@pytest.fixture
def oci(bare_host: Host) -> Iterator[Oci]:
    oci = Oci(bare_host)
    (oci.path / "shared").mkdir()
    yield oci
    for line in oci.cli("list", "-q").stdout.split():
        oci.cli("delete", "--force", line)
    left = bare_host.census()
    assert not left, f"left behind: {left}"


SCRIPT = """
secret=$(cat /proc/sys/kernel/random/uuid)
echo $secret >/shared/first
while [ ! -e /shared/go ]; do sleep 0.1; done
echo $secret >/shared/second
"""


def begin(oci: Oci, script: str = SCRIPT) -> int:
    """A container with a secret in its memory that it has told once: its pid."""
    config = oci.config("sh", "-c", script)
    config["mounts"].append(oci.mount("/shared", "bind", str(oci.path / "shared"), "rbind", "rw"))
    config["linux"]["resources"] = {**config["linux"].get("resources", {}), "pids": {"limit": 50}}
    oci.write(config)
    quiet(oci, "run", "--detach", "--bundle", str(oci.path), "--pid-file", str(oci.path / "pid"), "one")
    appears(oci.path / "shared/first")
    return int((oci.path / "pid").read_text())


def quiet(oci: Oci, *words: str) -> None:
    """A command whose container gets no file of the host's as its output: criu could not find that again."""
    null = subprocess.DEVNULL
    done = subprocess.run(oci.command(*words), env=oci.host.env, stdin=null, stdout=null, stderr=null, timeout=120)
    log = oci.path / "images/restore.log"
    assert done.returncode == 0, log.read_text()[-3000:] if log.exists() else words


def appears(path: Path) -> str:
    """The file's content once there is some."""
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, f"no {path}"
        time.sleep(0.05)  # written inside the container, by a program that gives no other sign
    return path.read_text()


def status(oci: Oci) -> str:
    return str(json.loads(oci.cli("state", "one").stdout)["status"])


def restore(oci: Oci, *flags: str) -> int:
    words = ["--image-path", str(oci.path / "images"), "--bundle", str(oci.path), "--pid-file", str(oci.path / "pid")]
    quiet(oci, "restore", "--detach", *words, *flags, "one")
    return int((oci.path / "pid").read_text())


def checkpoint(oci: Oci, *flags: str, images: str = "images") -> None:
    done = oci.cli("checkpoint", "--image-path", str(oci.path / images), *flags, "one")
    log = oci.path / images / "dump.log"
    assert done.returncode == 0, done.stderr + (log.read_text()[-3000:] if log.exists() else "")


@pytest.mark.usefixtures("able")
def test_a_container_goes_on_from_its_images_where_it_was(oci: Oci) -> None:
    """Its memory, its mounts and limits, its place in list and exec; and it was deleted in between."""
    with subreaper():
        pid = begin(oci)
        checkpoint(oci)
        wait(pid)
        assert oci.cli("list", "-q").stdout == ""
        assert not oci.host.groups()
        pid = restore(oci)
        assert status(oci) == "running"
        inside = oci.cli(
            "exec", "one", "sh", "-c", "cat /proc/sys/kernel/hostname; wc -c </proc/kcore; cat /proc/1/comm"
        )
        assert inside.stdout.split()[1:] == ["0", "sh"], inside.stderr
        limits = [Path(group) / "pids.max" for group in oci.host.groups() if group.endswith("/one")]
        assert "50" in [file.read_text().strip() for file in limits if file.exists()]
        (oci.path / "shared/go").touch()
        assert wait(pid) == 0
        assert (oci.path / "shared/second").read_text() == (oci.path / "shared/first").read_text()
        assert oci.cli("delete", "one").returncode == 0


@pytest.mark.usefixtures("able")
def test_a_container_can_run_on_after_its_images_were_made(oci: Oci) -> None:
    """Memory ahead, the rest with it as the parent; in the end both the old one and a copy have the same secret."""
    with subreaper():
        pid = begin(oci)
        checkpoint(oci, "--pre-dump", images="images/before")
        assert status(oci) == "running"
        checkpoint(oci, "--parent-path", "before", "--leave-running")
        assert status(oci) == "running"
        (oci.path / "shared/go").touch()
        assert wait(pid) == 0
        secret = (oci.path / "shared/second").read_text()
        (oci.path / "shared/second").unlink()
        assert oci.cli("delete", "one").returncode == 0
        pid = restore(oci)
        assert wait(pid) == 0
        assert (oci.path / "shared/second").read_text() == secret
        assert oci.cli("delete", "one").returncode == 0


@pytest.mark.usefixtures("able")
def test_a_restore_in_the_foreground_gives_the_exit_code_and_new_pipes(oci: Oci) -> None:
    script = "echo begun; echo x >/shared/first; while [ ! -e /shared/go ]; do sleep 0.1; done; echo ended; exit 42"
    config = oci.config("sh", "-c", script)
    config["mounts"].append(oci.mount("/shared", "bind", str(oci.path / "shared"), "rbind", "rw"))
    oci.write(config)
    run = [*oci.command("run", "--bundle", str(oci.path), "one")]
    with subprocess.Popen(run, env=oci.host.env, stdin=subprocess.DEVNULL, stdout=-1, stderr=-1) as first:
        appears(oci.path / "shared/first")
        checkpoint(oci)
        assert first.communicate(timeout=60)[0] == b"begun\n"
    (oci.path / "shared/go").touch()
    words = ["restore", "--image-path", str(oci.path / "images"), "--bundle", str(oci.path), "one"]
    second = subprocess.run(
        oci.command(*words), env=oci.host.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=120
    )
    assert (second.returncode, second.stdout) == (42, b"ended\n"), second.stderr


@pytest.mark.usefixtures("able")
def test_a_terminal_goes_to_the_console_socket_of_the_restore(oci: Oci) -> None:
    """The old master is gone with who had it; the container has its own terminal still, and somebody else serves it."""
    script = "echo one; echo begun >/shared/first; read line; echo got $line; tty; read line; exit 7"
    with subreaper():
        first = Console(str(oci.path / "first"))
        config = oci.config("sh", "-c", script, terminal=True)
        config["mounts"].append(oci.mount("/shared", "bind", str(oci.path / "shared"), "rbind", "rw"))
        oci.write(config)
        places = ["--bundle", str(oci.path), "--pid-file", str(oci.path / "pid")]
        quiet(oci, "run", "--detach", *places, "--console-socket", first.path, "one")
        pid = int((oci.path / "pid").read_text())
        first.accept()
        first.read(b"one")
        appears(oci.path / "shared/first")
        checkpoint(oci)
        wait(pid)
        first.close()
        second = Console(str(oci.path / "second"))
        pid = restore(oci, "--console-socket", second.path)
        second.accept()
        os.write(second.master, b"hello\n")
        second.read(b"got hello")
        second.read(b"/dev/pts/0")
        os.write(second.master, b"\n")
        assert wait(pid) == 7
        second.close()
        assert oci.cli("delete", "one").returncode == 0


def test_without_criu_the_error_says_so_and_the_container_runs_on(oci: Oci) -> None:
    with subreaper():
        pid = begin(oci)
        done = oci.cli("--criu", "/nowhere/criu", "checkpoint", "--image-path", str(oci.path / "images"), "one")
        assert done.returncode == 1
        assert "need criu, which is not installed: '/nowhere/criu'" in done.stderr
        assert status(oci) == "running"
        assert not (oci.path / "images").exists()
        assert oci.cli("delete", "--force", "one").returncode == 0
        wait(pid)


def test_what_criu_says_of_a_failed_dump_is_told_and_the_container_runs_on(oci: Oci) -> None:
    """Something that is no criu answers nothing."""
    with subreaper():
        pid = begin(oci)
        done = oci.cli("--criu", "/bin/true", "checkpoint", "--image-path", str(oci.path / "images"), "one")
        assert done.returncode == 1
        assert "criu could not dump: criu ended without an answer" in done.stderr
        assert status(oci) == "running"
        assert oci.cli("delete", "--force", "one").returncode == 0
        wait(pid)


def test_a_restore_that_fails_leaves_nothing(oci: Oci) -> None:
    (oci.path / "images").mkdir()
    oci.write(oci.config("true"))
    words = ["restore", "--detach", "--image-path", str(oci.path / "images"), "--bundle", str(oci.path), "one"]
    done = oci.cli("--criu", "/bin/true", *words)
    assert done.returncode == 1 and "criu could not restore" in done.stderr
    assert not oci.host.groups() and oci.cli("list", "-q").stdout == ""
    assert not [name for name in os.listdir(Path(oci.host.paths.run) / "runtime") if name == "one"]
