"""The peers on this host, each with a root of its own and one small busybox image.

Everything runs in a private network and mount namespace (`bench.__main__` enters it), so that bridges
and firewall rules of docker and podman never touch the host's.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

ULIMITS = ("--ulimit", "nofile=1000:1000", "--ulimit", "nproc=1000:1000")


def rootfs(work: Path) -> Path:
    """A directory with a static busybox, and the same as a tar beside it."""
    top = work / "rootfs"
    (top / "bin").mkdir(parents=True)
    for name in ("proc", "sys", "dev", "tmp", "etc"):
        (top / name).mkdir()
    busybox = shutil.which("busybox")
    if busybox is None:
        raise SystemExit("bench: busybox is missing, apt install busybox-static")
    shutil.copy(busybox, top / "bin/busybox")
    for name in ("sh", "true", "sleep"):
        (top / "bin" / name).symlink_to("busybox")
    with tarfile.open(work / "rootfs.tar", "w") as tar:
        tar.add(top, arcname=".")
    return top


def bundle(work: Path, top: Path) -> Path:
    """An OCI bundle for the low-level runtimes: runc's own default configuration, running /bin/true."""
    directory = work / "bundle"
    directory.mkdir()
    subprocess.run(["runc", "spec"], cwd=directory, check=True)
    config = json.loads((directory / "config.json").read_text())
    config["root"] = {"path": str(top), "readonly": True}
    config["process"].update(terminal=False, args=["/bin/true"])
    config["process"].pop("rlimits", None)
    (directory / "config.json").write_text(json.dumps(config))
    return directory


class Podman:
    def __init__(self, work: Path) -> None:
        self.base = ["podman", "--root", f"{work}/podman", "--runroot", f"{work}/podman-run", "--runtime", "runc"]
        subprocess.run([*self.base, "import", f"{work}/rootfs.tar", "bench"], check=True, capture_output=True)

    def run(self, *flags: str) -> list[str]:
        return [*self.base, "run", "--rm", *ULIMITS, *flags, "bench", "/bin/true"]

    def sleeping(self, name: str) -> list[str]:
        return [*self.base, "run", "-d", "--name", name, *ULIMITS, "bench", "/bin/sleep", "600"]

    def inspect(self, name: str, what: str) -> str:
        return subprocess.run(
            [*self.base, "inspect", "-f", what, name], check=True, capture_output=True, text=True
        ).stdout.strip()

    def close(self) -> None:
        subprocess.run([*self.base, "rm", "-fa"], capture_output=True)


class Docker:
    def __init__(self, work: Path) -> None:
        self.socket = f"unix://{work}/docker.sock"
        self.base = ["docker", "-H", self.socket]
        self.log = (work / "docker.log").open("w")
        words = ["dockerd", "--data-root", f"{work}/docker", "--exec-root", f"{work}/docker-run"]
        words += ["-p", f"{work}/docker.pid", "-H", self.socket]
        self.daemon = subprocess.Popen(words, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 30
        while subprocess.run(["docker", "-H", self.socket, "version"], capture_output=True).returncode:
            if time.monotonic() > deadline or self.daemon.poll() is not None:
                self.close()
                raise RuntimeError(f"dockerd did not come up: {(work / 'docker.log').read_text()[-400:]}")
            time.sleep(0.1)  # dockerd gives no sign before its socket answers
        load = ["docker", "-H", self.socket, "import", f"{work}/rootfs.tar", "bench"]
        subprocess.run(load, check=True, capture_output=True)

    def run(self, *flags: str) -> list[str]:
        return ["docker", "-H", self.socket, "run", "--rm", *flags, "bench", "/bin/true"]

    def sleeping(self, name: str) -> list[str]:
        return [*self.base, "run", "-d", "--name", name, "bench", "/bin/sleep", "600"]

    def inspect(self, name: str, what: str) -> str:
        return subprocess.run(
            [*self.base, "inspect", "-f", what, name], check=True, capture_output=True, text=True
        ).stdout.strip()

    def close(self) -> None:
        left = subprocess.run([*self.base, "ps", "-aq"], capture_output=True, text=True).stdout.split()
        if left:
            subprocess.run([*self.base, "rm", "-f", *left], capture_output=True)
        self.daemon.terminate()
        self.daemon.wait(30)
        self.log.close()


def without_unified() -> None:
    """Between fork and exec: a mount namespace without the bare v2 tree, which crun refuses on hybrid hosts."""
    import os

    from pyctr.core.linux.const import CLONE_NEWNS
    from pyctr.core.linux.mount import umount
    from pyctr.core.linux.namespaces import unshare

    if os.path.isdir("/sys/fs/cgroup/unified"):
        unshare(CLONE_NEWNS)
        umount("/sys/fs/cgroup/unified", 2)
