"""`pyctr-runtime --systemd-cgroup` with a real systemd: the host's own, or one that is started here in namespaces."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.host import Host
from tests.support.oci import Done, Oci
from tests.support.systemd import Systemd, unified


class Booted:
    """The host's own systemd, which runs already."""

    prefix: tuple[str, ...] = ()
    top = "/sys/fs/cgroup"

    def show(self, unit: str, *names: str) -> dict[str, str]:
        words = ["systemctl", "show", unit, f"--property={','.join(names)}"]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
        return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


@pytest.fixture(scope="module")
def systemd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Systemd | Booted]:
    if Path("/run/systemd/private").exists():
        yield Booted()
        return
    if unified() != Path("/sys/fs/cgroup"):
        pytest.skip("systemd does not run here, and one of our own needs a host with cgroup v2 only")
    made = Systemd(f"pt-systemd-{os.getpid()}", "/tmp")
    try:
        yield made
    finally:
        made.close()


class InScope(Oci):
    """Its commands run where that systemd is PID 1."""

    systemd: Systemd | Booted

    def command(self, *words: str) -> list[str]:
        return [*self.systemd.prefix, *super().command("--systemd-cgroup", *words)]


@pytest.fixture
def oci(bare_host: Host, systemd: Systemd | Booted) -> Iterator[InScope]:
    oci = InScope(bare_host)
    oci.systemd = systemd
    yield oci
    for line in oci.cli("list", "-q").stdout.split():
        oci.cli("delete", "--force", line)
    left = bare_host.census()
    assert not left, f"left behind: {left}"


def test_a_container_is_a_scope_with_its_limits_and_leaves_none(oci: InScope) -> None:
    unit = f"{oci.host.paths.cgroup_parent}-one.scope"
    group = Path(f"{oci.systemd.top}/machine.slice/machine-x.slice/{unit}")
    config = oci.config("sleep", "1000")
    config["linux"]["cgroupsPath"] = f"machine-x.slice:{oci.host.paths.cgroup_parent}:one"
    config["linux"]["resources"] = {"pids": {"limit": 50}, "memory": {"limit": 64 << 20}, "cpu": {"shares": 512}}
    config["annotations"] = {"org.systemd.property.TimeoutStopUSec": "uint64 5000000"}
    oci.write(config)

    def started(id: str) -> Done:
        return oci.cli("run", "--detach", "--bundle", str(oci.path), id)

    done = started("one")
    assert done.returncode == 0, done.stderr
    assert oci.systemd.show(unit, "ActiveState", "Slice", "Delegate", "TasksMax", "MemoryMax", "TimeoutStopUSec") == {
        "ActiveState": "active",
        "Slice": "machine-x.slice",
        "Delegate": "yes",
        "TasksMax": "50",
        "MemoryMax": str(64 << 20),
        "TimeoutStopUSec": "5s",
    }
    assert oci.cli("exec", "one", "cat", "/proc/self/cgroup").stdout == "0::/\n"
    subprocess.run([*oci.systemd.prefix, "systemctl", "daemon-reload"], check=True, timeout=60)
    assert (group / "pids.max").read_text() == "50\n", "systemd put its own over ours"

    assert oci.cli("update", "--pids-limit", "33", "one").returncode == 0
    assert (group / "pids.max").read_text() == "33\n"
    assert oci.systemd.show(unit, "TasksMax") == {"TasksMax": "33"}

    second = started("two")
    assert second.returncode == 1 and f"systemd has a unit '{unit}' already" in second.stderr
    assert oci.systemd.show(unit, "ActiveState") == {"ActiveState": "active"}, "the first one pays for the second"

    assert oci.cli("delete", "--force", "one").returncode == 0
    assert not group.exists()
    assert oci.systemd.show(unit, "ActiveState") == {"ActiveState": "inactive"}


def test_a_cgroups_path_of_another_kind_is_refused(oci: InScope) -> None:
    config = oci.config("true")
    config["linux"]["cgroupsPath"] = "/a/b"
    oci.write(config)
    done = oci.cli("run", "--bundle", str(oci.path), "one")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "pyctr-runtime: linux.cgroupsPath: '/a/b' is not 'slice:prefix:name'"


def test_without_systemd_that_is_what_is_said(bare_host: Host) -> None:
    if Path("/run/systemd/private").exists():
        pytest.skip("systemd runs here")
    oci = Oci(bare_host)
    oci.write(oci.config("true"))
    done = oci.cli("--systemd-cgroup", "run", "--bundle", str(oci.path), "one")
    assert done.returncode == 1
    assert done.stderr.startswith("pyctr-runtime: --systemd-cgroup: systemd does not run here: ")
    assert not bare_host.census()
