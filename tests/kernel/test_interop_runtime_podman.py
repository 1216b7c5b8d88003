"""Podman with `pyctr-runtime`: what its users do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support import manager as managers
from tests.support.manager import Manager
from tests.support.scenarios import Scenarios

pytestmark = managers.needs("podman", "conmon", "unshare", "nsenter", "ip", "busybox")

CONFIGURATION = """
[containers]
default_ulimits = ["nofile=1000:1000", "nproc=1000:1000"]
log_driver = "k8s-file"
{init}
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


class Podman(Manager):
    name = "podman"
    own_mounts = ("p/overlay",)

    def __init__(self) -> None:
        super().__init__()
        init = shutil.which("catatonit") or shutil.which("tini-static")
        words = CONFIGURATION.format(init=f'init_path = "{init}"' if init else "")
        Path(f"{self.base}/containers.conf").write_text(words)
        storage = f'[storage]\ndriver = "overlay"\nrunroot = "{self.base}/pr"\ngraphroot = "{self.base}/p"\n'
        Path(f"{self.base}/storage.conf").write_text(storage)
        self.roots = ("--root", f"{self.base}/p", "--runroot", f"{self.base}/pr", "--tmpdir", f"{self.base}/pt")
        self.base_words = (*self.roots, "--runtime", self.runtime)
        self.run_words = ("--cgroup-parent", self.group, "--network=none")

    def prepare(self) -> None:
        self("import", "-q", self.rootfs, "box")

    @property
    def env(self) -> Mapping[str, str]:
        base = self.base
        files = {"CONTAINERS_CONF": f"{base}/containers.conf", "CONTAINERS_STORAGE_CONF": f"{base}/storage.conf"}
        return {**super().env, **files, "XDG_RUNTIME_DIR": f"{base}/home"}

    def groups(self) -> list[str]:
        """Without the one for conmons, and those that it makes for pods and forgets where they are on v2 beside v1."""
        return [path for path in super().groups() if "/libpod-" in path]

    def with_runc(self) -> list[str]:
        return ["--runtime", f"{self.base}/runc", "run", *self.run_words]


@pytest.fixture(scope="module")
def manager() -> Iterator[Podman]:
    podman = Podman()
    try:
        podman.prepare()
        yield podman
        assert podman("ps", "-aq").stdout == ""
    finally:
        podman.close()


class TestPodman(Scenarios):
    def test_a_health_check_runs_in_the_container(self, manager: Podman) -> None:
        flags = ("--health-cmd", "test -e /tmp/well", "--health-interval", "disable", "--health-retries", "1")
        manager.run("-d", "--name", "probed", *flags, "box", "sleep", "1000")
        assert manager("healthcheck", "run", "probed", check=False).returncode == 1
        manager("exec", "probed", "touch", "/tmp/well")
        assert manager("healthcheck", "run", "probed").returncode == 0
        assert manager.state("probed", "{{.State.Health.Status}}") == "healthy"
        manager.remove("probed")

    def test_a_systemd_finds_what_it_needs(self, manager: Podman) -> None:
        said = manager.inside(
            "for place in /run /run/lock /tmp; do stat -f -c %T $place; done; id -u", "--systemd=always"
        )
        assert said.split() == ["tmpfs", "tmpfs", "tmpfs", "0"]

    def test_users_are_mapped(self, manager: Podman) -> None:
        flags = ("--uidmap", "0:200000:5000", "--gidmap", "0:200000:5000")
        said = manager.inside("id -u; cat /proc/self/uid_map; touch /made && stat -c %u /made /", *flags).split()
        assert said == ["0", "0", "200000", "5000", "0", "0"]

    def test_a_pod_shares_its_namespaces(self, manager: Podman) -> None:
        parent = ("--cgroup-parent", manager.group)
        manager(
            *("pod", "create", "--name", "pod", "--share", "uts,ipc,net", "--hostname", "common", "--network", "none"),
            *("--infra-image", "box", "--infra-command", "/bin/sleep 1000", *parent),
        )
        manager("run", "-d", "--pod", "pod", "--name", "member", "box", "sh", "-c", "echo 7 >/dev/shm/x; sleep 1000")
        read = ("run", "--rm", "--pod", "pod", "box", "sh", "-c", "hostname; cat /dev/shm/x")
        manager.until(lambda: manager(*read, check=False).stdout == "common\n7\n", "what the other one wrote")
        assert manager("pod", "ps", "--format", "{{.Status}} {{.NumberOfContainers}}").stdout == "Running 2\n"
        manager("pod", "stop", "-t", "0", "pod")
        assert manager("pod", "ps", "--format", "{{.Status}}").stdout == "Exited\n"
        manager("pod", "rm", "pod")
