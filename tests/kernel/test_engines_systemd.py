"""Containers of docker and podman whose groups are units of a real systemd, and its plain services, seen without it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyctr.core.linux import procfs
from tests.kernel.test_engines import PODMAN, Dockerd, Podman
from tests.support import manager as managers
from tests.support.manager import Manager
from tests.support.systemd import Systemd

pytestmark = managers.needs("unshare", "nsenter", "ip", "busybox", "runc", "systemctl", "systemd-run")


class Booted(Manager):
    """A manager where a systemd is process 1, with pyctr beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.slice = f"{self.host.paths.cgroup_parent}.slice"
        self.systemd = Systemd(self.host.paths.cgroup_parent, self.base, super().enter())

    def enter(self, *words: str) -> list[str]:
        return [*self.systemd.prefix, *words] if hasattr(self, "systemd") else super().enter(*words)

    def groups(self) -> list[str]:
        """Without the slices and services, which go with systemd."""
        return [path for path in super().groups() if path.endswith(".scope") and "/init.scope" not in path]

    def pyctr(self, *words: str) -> str:
        command = self.enter(*self.host.command(*words))
        done = subprocess.run(command, env=self.host.env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{words} -> {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def listed(self, *words: str) -> dict[str, dict[str, Any]]:
        rows = self.pyctr("ps", "--no-trunc", "--format", "json", *words).splitlines()
        return {row["Names"]: row for row in map(json.loads, rows)}

    def stop(self) -> None:
        if self.daemon is not None:
            # nsenter waits for it, stops when it is stopped, and passes no signal on
            for pid in procfs.children(self.daemon.pid):
                os.kill(pid, signal.SIGTERM)
            os.kill(self.daemon.pid, signal.SIGCONT)
            self.daemon.wait(30)
            self.daemon = None
        self.systemd.close()


class BootedDocker(Booted, Dockerd):
    network_words = (*Dockerd.network_words, "--exec-opt", "native.cgroupdriver=systemd")

    def prepare(self) -> None:
        self.group = self.slice
        super().prepare()

    def daemons(self) -> list[int]:
        """Without the nsenter that started it."""
        assert self.daemon is not None
        [dockerd] = procfs.children(self.daemon.pid)
        return [dockerd, *procfs.children(dockerd)]


class BootedPodman(Booted, Podman):
    def __init__(self) -> None:
        super().__init__()
        # a cgroup v2 beside v1 has no controller for podman's own limit; and /etc cannot be written to here
        settings = PODMAN.replace("[containers]", "[containers]\npids_limit = 0")
        settings += f'[network]\nnetwork_config_dir = "{self.base}/networks"\n'
        Path(f"{self.base}/containers.conf").write_text(settings)
        self.base_words = (*self.base_words, "--cgroup-manager", "systemd")
        self.run_words = ("-d", "--cgroup-parent", self.slice, "--network=none")

    def daemons(self) -> list[int]:
        return []


@pytest.fixture(params=[BootedDocker, BootedPodman], ids=["docker", "podman"])
def booted(request: pytest.FixtureRequest) -> Iterator[BootedDocker | BootedPodman]:
    programs = ("dockerd", "docker") if request.param is BootedDocker else ("podman", "conmon")
    if not all(map(shutil.which, programs)):
        pytest.skip(f"needs {', '.join(programs)}")
    found: BootedDocker | BootedPodman = request.param()
    try:
        found.prepare()
        yield found
        for id in found("ps", "-aq").stdout.split():
            found("rm", "-f", id)
    finally:
        found.close()


def test_scopes_of_systemd_are_its_containers_and_services_come_on_request(
    booted: BootedDocker | BootedPodman,
) -> None:
    id = booted.run("--name", "web", "box", "sleep", "1000").stdout.strip()
    booted.systemd.run("systemd-run", "--unit=plain", "sleep", "1000")
    kind = "docker" if booted.name == "docker" else "libpod"
    shown = booted.systemd.show(f"{kind}-{id}.scope", "ActiveState", "ControlGroup")
    assert shown == {"ActiveState": "active", "ControlGroup": f"/{booted.slice}/{kind}-{id}.scope"}
    ref = f"{booted.name}:{id}"
    pid_inside = int(booted.state("web", "{{.State.Pid}}"))
    stopped = [booted.systemd.pid, *booted.daemons()]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        rows = booted.listed("-A")
        assert set(rows) == {"web"}
        assert (rows["web"]["ID"], rows["web"]["Engine"], rows["web"]["State"]) == (id, booted.name, "running")
        [document] = json.loads(booted.pyctr("inspect", ref))
        assert (document["CgroupPath"], document["State"]["Pid"]) == (shown["ControlGroup"], pid_inside)
        assert "sleep 1000" in booted.pyctr("top", ref)
        assert booted.pyctr("exec", ref, "sh", "-c", "echo inside") == "inside\n"
        stats = json.loads(booted.pyctr("stats", "--no-stream", "--format", "json", ref))
        assert stats["CPUPerc"].endswith("%")
        booted.pyctr("pause", ref)
        assert booted.listed("-A")["web"]["State"] == "paused"
        booted.pyctr("unpause", ref)
        services = booted.listed("--engine", "systemd")
        assert services["plain.service"]["State"] == "running"
        assert "sleep 1000" in booted.pyctr("top", "systemd:plain.service")
    finally:
        for pid in reversed(stopped):
            os.kill(pid, signal.SIGCONT)
    booted.pyctr("kill", "--all", ref)
    booted.until(lambda: "web" not in booted.listed("-A"), "its end")
    assert not Path(f"{booted.systemd.top}{shown['ControlGroup']}/cgroup.procs").exists()
    booted.systemd.run("systemctl", "stop", "plain.service")
    assert "plain.service" not in booted.listed("--engine", "systemd")
