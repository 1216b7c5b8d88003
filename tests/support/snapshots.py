"""A file system with snapshots in a file, and what a pyctr keeps on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time

import pytest

from pyctr.core.linux import zfs
from tests.support.host import Host

FORMATS = ("btrfs", "zfs")


class Disk:
    """The root of a pyctr on a file system of its own, or a skipped test where this kernel has none of that kind."""

    def __init__(self, host: Host, form: str) -> None:
        self.host = host
        self.form = form
        self.pool = os.path.basename(host.base)
        """Of zfs."""
        image = f"{host.base}/disk"
        with open(image, "wb") as file:
            file.truncate(400 << 20)
        if form == "btrfs":
            self._mount_btrfs(image)
        else:
            self._mount_zfs(image)
        host.env["PYCTR_STORAGE_DRIVER"] = form
        host.patience = 300  # a transaction group for each dataset that is made, in a guest that is emulated

    def _mount_btrfs(self, image: str) -> None:
        if shutil.which("mkfs.btrfs") is None:
            pytest.skip("needs mkfs.btrfs: apt install btrfs-progs")
        subprocess.run(["mkfs.btrfs", "-q", image], check=True, stderr=subprocess.DEVNULL)
        if subprocess.run(["mount", "-o", "loop", image, self.host.paths.root], capture_output=True).returncode:
            pytest.skip("this kernel has no btrfs")

    def _mount_zfs(self, image: str) -> None:
        if not zfs.program() or shutil.which("zpool") is None:
            pytest.skip("needs zfs and zpool: apt install zfsutils-linux")
        if not os.path.exists(zfs.DEVICE):
            pytest.skip("this kernel has no zfs: apt install zfs-dkms, modprobe zfs")
        words = ("create", "-o", "cachefile=none", "-O", "mountpoint=none", self.pool, image)
        subprocess.run(["zpool", *words], check=True)
        subprocess.run(["zfs", "create", "-o", "mountpoint=legacy", f"{self.pool}/root"], check=True)
        subprocess.run(["mount", "-t", "zfs", f"{self.pool}/root", self.host.paths.root], check=True)

    def settle(self) -> None:
        """Have what was written until now counted."""
        if self.form == "zfs":
            subprocess.run(["zpool", "sync", self.pool], check=True)
        else:
            subprocess.run(["sync", "-f", self.host.paths.root], check=True)

    def held(self) -> list[str]:
        """Subvolumes, or datasets with their snapshots, that this pyctr has made."""
        if self.form == "btrfs":
            words = ["btrfs", "subvolume", "list", self.host.paths.root]
            lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
            return [line.split(" path ", 1)[1] for line in lines]
        words = ["zfs", "list", "-H", "-o", "name", "-t", "all", "-r", f"{self.pool}/root"]
        lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
        return [line.removeprefix(f"{self.pool}/root/") for line in lines if line != f"{self.pool}/root"]

    def containers(self) -> list[str]:
        """Those of `held` that are containers'."""
        if self.form == "btrfs":
            return [path for path in self.held() if not path.startswith("snapshots/")]
        return [name for name in self.held() if "/c-" in name]

    def close(self) -> None:
        """Unmount; whatever of it is still in use fails the test."""
        subprocess.run(["umount", self.host.paths.root], check=True)
        if self.form == "zfs":
            deadline = time.monotonic() + 10
            while (done := subprocess.run(["zpool", "destroy", self.pool], capture_output=True)).returncode:
                assert time.monotonic() < deadline, done.stderr
                time.sleep(0.2)  # nobody tells when a superblock is gone
