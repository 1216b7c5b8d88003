"""A real systemd for tests: process 1 of namespaces of its own, where it sees its own part of the cgroup tree."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.host import REPOSITORY

PROGRAM = "/lib/systemd/systemd"
_SCRIPT = f"""
top=$1 keep=$2 code=$3
echo 0 >$top/cgroup.procs
exec unshare --cgroup sh -ec '
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/systemd/system /run/keep /run/code
mount --rbind $0 /run/keep
mount --bind $1 /run/code
for place in /tmp /var/tmp /var/cache; do mount -t tmpfs tmpfs $place; done
mkdir -p $0 $1
mount --move /run/keep $0
mount --move /run/code $1
mount -o remount,bind,ro $1
if [ -d /etc/docker ]; then mount -t tmpfs tmpfs /etc/docker; fi
mount -o remount,bind,ro /
printf "[Unit]\\nDefaultDependencies=no\\n" >/run/systemd/system/nothing.target
umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
container=other exec {PROGRAM} --system --unit=nothing.target --log-target=null --show-status=0' "$keep" "$code"
"""
"""Its target wants nothing, and of this host only one directory can be written to: what a boot does otherwise, such as
emptying /tmp, would happen to this host. A cgroup of v2 will do on hybrid hosts, too: there it has no controllers."""


def unified() -> Path:
    """Where cgroup v2 is mounted. Skips where it is not."""
    for place in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
        if os.path.exists(f"{place}/cgroup.controllers"):
            return Path(place)
    pytest.skip("needs cgroup v2, beside v1 or alone")


class Systemd:
    """`prefix` is how a command gets to where it is PID 1, `top` the directory of its cgroup tree, from here."""

    def __init__(self, name: str, keep: str, prefix: list[str] | None = None) -> None:
        """In the cgroup `name`, which must not have processes; `keep` stays writable. `prefix` enters other namespaces
        before."""
        if not os.path.exists(PROGRAM) or not shutil.which("systemctl"):
            pytest.skip("systemd is not installed: apt install systemd")
        self.top = unified() / name
        for controller in (unified() / "cgroup.controllers").read_text().split():
            try:
                (unified() / "cgroup.subtree_control").write_text(f"+{controller}")
            except OSError:
                continue  # one that is in use by v1
        self.top.mkdir(exist_ok=True)
        words = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "sh", "-ec", _SCRIPT, "sh"]
        self.outer = subprocess.Popen(
            [*(prefix or []), *words, str(self.top), keep, str(REPOSITORY)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            self.pid = self._pid()
        except BaseException:
            self.close()
            raise
        self.prefix = ["nsenter", f"--target={self.pid}", "--mount", "--cgroup", "--pid", "--net", "--"]

    def _pid(self) -> int:
        pid = 0
        deadline = time.monotonic() + 120
        while not pid or not os.path.exists(f"/proc/{pid}/root/run/systemd/private"):
            if self.outer.poll() is not None:
                assert self.outer.stderr is not None
                raise AssertionError(f"systemd did not come up: {self.outer.stderr.read().decode()}")
            assert time.monotonic() < deadline, "systemd did not come up"
            children = Path(f"/proc/{self.outer.pid}/task/{self.outer.pid}/children").read_text().split()
            pid = int(children[0]) if children else 0
            time.sleep(0.1)  # a socket in another mount namespace appears without a sign
        return pid

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([*self.prefix, *words], capture_output=True, text=True, timeout=60)
        assert not check or done.returncode == 0, f"{words} -> {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def show(self, unit: str, *names: str) -> dict[str, str]:
        told = self.run("systemctl", "show", unit, f"--property={','.join(names)}").stdout
        return dict(line.split("=", 1) for line in told.splitlines() if "=" in line)

    def close(self) -> None:
        self.outer.send_signal(signal.SIGKILL)
        self.outer.wait(30)
        assert self.outer.stderr is not None
        self.outer.stderr.close()
        (self.top / "cgroup.kill").write_text("1")
        emptied(self.top)
        for directory in sorted(
            (path for path in self.top.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts)
        ):
            directory.rmdir()
        self.top.rmdir()


def emptied(group: Path) -> None:
    """Until no process is in it or below."""
    with open(group / "cgroup.events") as file:
        poll = select.poll()
        poll.register(file, select.POLLPRI)
        while "populated 1" in file.read():
            poll.poll(10_000)
            file.seek(0)
