"""A real systemd-nspawn, in the groups that systemd would have made for it, seen without machined."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core import cgroups
from tests.support import manager as managers
from tests.support.host import Host

pytestmark = managers.needs("systemd-nspawn", "unshare", "busybox")

INSIDE = """
for directory in $GROUPS_OF; do mkdir -p "$directory"; echo $$ > "$directory/cgroup.procs"; done
mount -t tmpfs tmpfs /run && exec systemd-nspawn --register=no --keep-unit -q --private-network --read-only "$@"
"""
"""What nspawn leaves in /run goes with its mount namespace. Its groups are those that systemd gives to a machine."""


class Machine:
    def __init__(self, host: Host) -> None:
        self.host = host
        self.name = f"box-{host.paths.bridge}"
        root = Path(host.base) / "rootfs"
        for directory in ("bin", "etc", "usr", "proc", "sys", "dev", "run", "tmp", "var", "root"):
            (root / directory).mkdir(parents=True)
        (root / "etc/os-release").write_text("ID=box\n")
        shutil.copy("/bin/busybox", root / "bin/busybox")
        for name in ("sh", "sleep", "cat", "id"):
            (root / "bin" / name).symlink_to("busybox")
        layout = cgroups.detect()
        mounts = {layout.controllers["memory"], layout.controllers["pids"], *filter(None, [layout.unified])}
        # v1's own hierarchy of systemd, which has no controller
        mounts |= {path for path in ("/sys/fs/cgroup/systemd",) if os.path.isdir(path)}
        # a unit's name escapes hyphens, systemd.unit(5)
        escaped = self.name.replace("-", r"\x2d")
        self.group = f"/{host.paths.cgroup_parent}/machine-{escaped}.scope"
        self.groups = [f"{mount}{self.group}" for mount in sorted(mounts)]
        words = ["unshare", "--mount", "sh", "-ec", INSIDE, "sh", "-D", str(root), "-M", self.name]
        self.process = subprocess.Popen(
            [*words, "/bin/sh", "-c", "echo ready; exec sleep 1000"],
            env={**os.environ, "GROUPS_OF": " ".join(self.groups)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
        cgroups.manager(cgroups.detect(), self.group).kill()
        for group in self.host.groups()[::-1]:
            shutil.rmtree(group, ignore_errors=True)


@pytest.fixture
def machine() -> Iterator[Machine]:
    host = Host()
    try:
        made = Machine(host)
        try:
            yield made
        finally:
            made.close()
    finally:
        host.close()


def test_a_machine_of_nspawn_is_seen_and_joined(machine: Machine) -> None:
    assert machine.process.stdout is not None and machine.process.stderr is not None
    if machine.process.stdout.readline().strip() != "ready":
        pytest.skip(f"systemd-nspawn does not run here: {machine.process.stderr.read()[-300:]}")
    own, ref = machine.host.run, f"nspawn:{machine.name}"
    [row] = [
        json.loads(line)
        for line in own("ps", "--engine", "nspawn", "--format", "json").stdout.splitlines()
        if machine.name in line
    ]
    assert (row["Names"], row["State"]) == (machine.name, "running")
    [document] = json.loads(own("inspect", ref).stdout)
    pid = document["State"]["Pid"]
    assert Path(f"/proc/{pid}/comm").read_text() == "sleep\n", "its first process, not nspawn's own"
    stats = json.loads(own("stats", "--no-stream", "--format", "json", ref).stdout)
    assert int(stats["PIDs"]) >= 1
    assert "sleep 1000" in own("top", ref).stdout
    assert own("exec", ref, "cat", "/etc/os-release").stdout == "ID=box\n"
    levels = {
        row["Title"]: row["Level"]
        for row in map(json.loads, own("posture", "--format", "json", ref).stdout.splitlines())
    }
    assert levels["read-only root"] == "good" and levels["runs as root"] == "warn"
    machine.process.send_signal(signal.SIGTERM)
    machine.process.wait(30)
    assert machine.name not in own("ps", "--engine", "nspawn", "--format", "{{.Names}}").stdout
