"""containerd's runc shim with `pyctr-runtime` as its binary, driven by ctr."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core import cgroups
from tests.support import manager as managers
from tests.support.manager import Manager
from tests.support.scenarios import SIZED

pytestmark = managers.needs("containerd", "ctr", "unshare", "nsenter", "ip", "busybox")

CONFIGURATION = """
version = 2
root = "{base}/c"
state = "{base}/cs"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{base}/c.sock"
[ttrpc]
address = "{base}/c.ttrpc"
"""
IMAGE = "docker.io/library/box:latest"


class Containerd(Manager):
    name = "ctr"
    configuration = CONFIGURATION

    def __init__(self) -> None:
        super().__init__()
        self.base_words = ("--connect-timeout", "2s", "-a", f"{self.base}/c.sock")
        self.run_words = ("--runc-binary", self.runtime, "--runc-root", self.states)

    def prepare(self) -> None:
        Path(f"{self.base}/c.toml").write_text(self.configuration.format(base=self.base, image=IMAGE))
        log = Path(f"{self.base}/c.log")
        words = self.enter("containerd", "-c", f"{self.base}/c.toml")
        with log.open("wb") as file:
            self.daemon = subprocess.Popen(words, env=self.env, stdout=file, stderr=file)
        deadline = time.monotonic() + 60
        while self("version", check=False).returncode:
            assert time.monotonic() < deadline and self.daemon.poll() is None, log.read_text()[-2000:]
            time.sleep(0.1)  # it gives no sign before its socket answers
        # our own archive: containerd reads what pyctr writes
        self.host.run("import", "-c", 'CMD ["/bin/sleep", "100000"]', self.rootfs, "box")
        self.host.run("save", "--format", "oci-archive", "-o", f"{self.base}/box.oci", "box")
        self("image", "import", f"{self.base}/box.oci")

    def run_box(self, name: str, *words: str, flags: tuple[str, ...] = (), check: bool = True) -> managers.Done:
        group = ("--cgroup", f"{self.group}/{name}")
        return self("run", *self.run_words, *group, *flags, IMAGE, name, *words, check=check)


@pytest.fixture(scope="module")
def ctr() -> Iterator[Containerd]:
    containerd = Containerd()
    try:
        containerd.prepare()
        yield containerd
        assert containerd("containers", "ls", "-q").stdout == ""
    finally:
        containerd.close()


def test_a_task_ends_with_the_commands_exit_code(ctr: Containerd) -> None:
    done = ctr.run_box("plain", "sh", "-c", "id -u; exit 3", flags=("--rm",), check=False)
    assert (done.returncode, done.stdout) == (3, "0\n"), done.stderr
    ctr.clear()


def test_a_task_that_cannot_be_made_says_why_and_leaves_nothing(ctr: Containerd) -> None:
    done = ctr.run_box("lost", "nothere", flags=("--rm",), check=False)
    assert done.returncode != 0
    assert "OCI runtime create failed" in done.stderr and "executable file not found in $PATH" in done.stderr
    ctr.clear()


def test_the_life_of_a_task(ctr: Containerd) -> None:
    flags = ("-d", "--memory-limit", str(32 << 20), "--cpus", "0.5", "--env", "A=b", "--cwd", "/tmp")
    ctr.run_box("living", "sh", "-c", "while :; do sleep 0.1; done", flags=flags)

    def status() -> str:
        return {line.split()[0]: line.split()[2] for line in ctr("task", "ls").stdout.splitlines()}["living"]

    assert status() == "RUNNING"
    layout = cgroups.detect()
    file = "memory.limit_in_bytes" if layout.version("memory") == 1 else "memory.max"
    assert Path(f"{layout.controllers['memory']}{ctr.group}/living/{file}").read_text() == f"{32 << 20}\n"
    done = ctr("task", "exec", "--exec-id", "one", "living", "sh", "-c", "id -u; pwd; echo $A; exit 5", check=False)
    assert (done.returncode, done.stdout.split()) == (5, ["0", "/tmp", "b"]), done.stderr
    code, said = ctr.with_terminal("task", "exec", "-t", "--exec-id", "two", "living", "sh", "-c", f"{SIZED}; exit 6")
    assert (code, said.split()) == (6, ["/dev/pts/0"]), said
    ctr("task", "pause", "living")
    assert status() == "PAUSED"
    ctr("task", "resume", "living")
    assert status() == "RUNNING"
    metrics = dict(line.split(None, 1) for line in ctr("task", "metrics", "living").stdout.splitlines() if line)
    used = metrics.get("cpuacct.usage") or metrics["cpu.usage_usec"]
    assert int(used) > 0, metrics
    assert len(ctr("task", "ps", "living").stdout.splitlines()) >= 2
    ctr("task", "kill", "-s", "KILL", "living")
    ctr.until(lambda: status() == "STOPPED", "the end of the task")
    assert ctr("task", "rm", "living", check=False).returncode in (0, 137)
    ctr("containers", "rm", "living")
    ctr.clear()


def test_a_terminal_and_the_standard_set_of_privileges(ctr: Containerd) -> None:
    script = f"{SIZED}; grep CapEff /proc/self/status; grep NoNewPrivs /proc/self/status; exit 7"
    code, said = ctr.with_terminal(
        *("run", *ctr.run_words, "--cgroup", f"{ctr.group}/tty", "--rm", "-t", IMAGE, "tty", "sh", "-c", script)
    )
    assert (code, said.split()) == (7, ["/dev/pts/0", "CapEff:", "00000000a80425fb", "NoNewPrivs:", "1"]), said
    said = ctr.run_box("strong", "grep", "CapEff", "/proc/self/status", flags=("--rm", "--privileged")).stdout
    assert int(said.split()[1], 16) & 1 << 21  # CAP_SYS_ADMIN
    ctr.clear()
