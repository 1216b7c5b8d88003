"""A container as CRI-O starts one: a real conmon and runc, with the words and annotations that CRI-O gives them."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core import cgroups
from tests.support import manager as managers
from tests.support.host import Host

pytestmark = managers.needs("conmon", "runc", "busybox")
TICKS = "while :; do echo tick; echo tock >&2; sleep 0.2; done"


class Crio:
    """What CRI-O does for one container (internal/oci/runtime_oci.go), its pod's sandbox left aside."""

    def __init__(self, host: Host) -> None:
        self.id = secrets.token_hex(32)
        self.pod = f"shop-{host.paths.bridge}"
        self.bundle, self.runs = Path(host.base, "userdata"), f"{host.base}/runc"
        self.log = f"{host.base}/pods/prod_{self.pod}_u/app/0.log"
        self.group = f"/{host.paths.cgroup_parent}/kubepods/burstable/podu/crio-{self.id}"
        self._host = host
        root = self.bundle / "rootfs"
        for directory in ("bin", "proc", "sys", "dev", "etc"):
            (root / directory).mkdir(parents=True)
        shutil.copy("/bin/busybox", root / "bin/busybox")
        for name in ("sh", "sleep", "echo", "id"):
            (root / "bin" / name).symlink_to("busybox")
        Path(self.log).parent.mkdir(parents=True)
        subprocess.run(["runc", "spec"], cwd=self.bundle, check=True, timeout=20)
        spec = json.loads((self.bundle / "config.json").read_text())
        spec["process"] |= {"args": ["/bin/sh", "-c", TICKS], "terminal": False}
        spec["linux"]["cgroupsPath"] = self.group
        spec["linux"]["resources"]["memory"] = {"limit": 64 << 20}
        key = "io.kubernetes.cri-o."
        spec["annotations"] = {
            "io.kubernetes.container.name": "app",
            "io.kubernetes.pod.name": self.pod,
            "io.kubernetes.pod.namespace": "prod",
            f"{key}ContainerType": "container",
            f"{key}ImageName": "acme/shop:2",
            f"{key}LogPath": self.log,
            f"{key}Labels": json.dumps({"team": "red"}),
            f"{key}Name": f"k8s_app_{self.pod}_prod_u_0",
        }
        (self.bundle / "config.json").write_text(json.dumps(spec))
        (self.bundle / "exits").mkdir()

    def start(self) -> None:
        files = ["-P", f"{self.bundle}/conmon.pid", "-p", f"{self.bundle}/pid"]
        words = ["conmon", "-b", str(self.bundle), "-c", self.id, "-u", self.id, "-n", f"k8s_app_{self.pod}_prod_u_0"]
        words += ["-l", self.log, "-r", shutil.which("runc") or "", *files, "--exit-dir", f"{self.bundle}/exits"]
        words += ["--runtime-arg", f"--root={self.runs}", "--socket-dir-path", str(self.bundle)]
        subprocess.run(words, check=True, timeout=30)
        deadline = time.monotonic() + 30
        while subprocess.run(["runc", "--root", self.runs, "start", self.id], capture_output=True).returncode:
            assert time.monotonic() < deadline, "runc has not created it"
            time.sleep(0.05)  # conmon goes to the background before its runc is done

    @property
    def conmon(self) -> int:
        return int((self.bundle / "conmon.pid").read_text())

    def close(self) -> None:
        subprocess.run(["runc", "--root", self.runs, "delete", "-f", self.id], stderr=subprocess.DEVNULL, timeout=30)
        cgroups.manager(cgroups.detect(), self.group).kill()
        for group in sorted(self._host.groups(), key=len, reverse=True):
            try:
                os.rmdir(group)
            except FileNotFoundError:
                pass  # it went with its container


@pytest.fixture
def crio() -> Iterator[tuple[Host, Crio]]:
    host = Host()
    try:
        made = Crio(host)
        try:
            made.start()
            yield host, made
        finally:
            made.close()
    finally:
        host.close()


def test_a_container_of_crio_is_known_by_its_pod_with_its_log(crio: tuple[Host, Crio]) -> None:
    host, made = crio
    ref = f"cri-o:{made.id}"
    deadline = time.monotonic() + 30
    while host.run("logs", ref).stdout.count("tick") < 2:
        assert time.monotonic() < deadline
    # conmon is all that CRI-O leaves beside a container: even that may be stopped
    os.kill(made.conmon, signal.SIGSTOP)
    try:
        [row] = [
            json.loads(line)
            for line in host.run("ps", "--no-trunc", "--engine", "cri-o", "--format", "json").stdout.splitlines()
            if made.id in line
        ]
        assert (row["Names"], row["Pod"]) == (f"{made.pod}/app", f"prod/{made.pod}")
        assert (row["Image"], row["State"], row["Labels"]) == ("acme/shop:2", "running", "team=red")
        [document] = json.loads(host.run("inspect", ref).stdout)
        assert (document["CgroupPath"], document["LogPath"]) == (made.group, made.log)
        assert document["State"]["Pid"] == int((made.bundle / "pid").read_text())
        stats = json.loads(host.run("stats", "--no-stream", "--format", "json", ref).stdout)
        assert stats["MemUsage"].endswith("/ 64MiB")
        said = host.run("logs", "-n", "4", ref)
        assert "tick" in said.stdout and "tock" in said.stderr
        assert host.run("exec", f"cri-o:{made.pod}/app", "sh", "-c", "echo inside").stdout == "inside\n"
    finally:
        os.kill(made.conmon, signal.SIGCONT)
