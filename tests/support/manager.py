"""Other container managers (podman, docker, containerd, buildah) with `pyctr-runtime` as their runtime.

    Yard           what any of them gets: directories, a cgroup, a network and a mount namespace of its own
    Manager        a Yard and the words that start its command line

What they do to bridges, firewall and mounts is theirs alone and goes with the namespaces.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import struct
import subprocess
import sys
import tarfile
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pyctr.core import cgroups

from .host import Host

Done = subprocess.CompletedProcess[str]

APPLETS = (
    "sh ls cat echo true false sleep id mount ps env grep head tail kill stty tty readlink stat touch mkdir hostname dd"
    " sed sort df nc test pwd rm"
)

_ENTER = """
mount --rbind /sys/fs/cgroup /media && mount -t sysfs sysfs /sys && mount --rbind /media /sys/fs/cgroup &&
umount -l /media && mount --bind "$0" "$0" && mount --make-shared "$0" && ip link set lo up && echo ready && exec cat
"""
"""A sysfs that shows the new network's links, a directory whose mounts can be passed on. Ends with its stdin."""


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skips a module on hosts without these programs."""
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


class Yard:
    own_mounts: tuple[str, ...] = ()
    """Below `base`, the manager's own."""

    def __init__(self) -> None:
        self.host = Host()
        self.base = self.host.base
        self.group = f"/{self.host.paths.cgroup_parent}"
        self.runtime = f"{self.base}/pyctr-runtime"
        self.states = f"{self.base}/states"
        """The runtime's --root, unless the manager says another one."""
        self.daemon: subprocess.Popen[bytes] | None = None
        os.mkdir(f"{self.base}/home")
        # conmon starts it with no environment at all: our roots would be the host's
        roots = " ".join(f"{name}='{value}'" for name, value in self.host.env.items() if name.startswith("PYCTR_"))
        script = Path(sys.executable).parent / "pyctr-runtime"
        assert script.exists(), "pyctr is not installed in this environment"
        self._script("pyctr-runtime", f"{roots} exec {script} --root {self.states}")
        self._script("runc", f"exec {shutil.which('runc')} --root {self.states}-of-runc")
        self.holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", _ENTER, self.base],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == b"ready\n"
        self.rootfs = self._rootfs()

    def _script(self, name: str, words: str) -> None:
        Path(f"{self.base}/{name}").write_text(f'#!/bin/sh\n{words} "$@"\n')
        os.chmod(f"{self.base}/{name}", 0o755)

    def _rootfs(self) -> str:
        """A tar with busybox and two users."""
        top = Path(self.base) / "rootfs"
        for name in ("bin", "etc", "proc", "sys", "dev", "tmp"):
            (top / name).mkdir(parents=True)
        os.chmod(top / "tmp", 0o1777)
        shutil.copy("/bin/busybox", top / "bin/busybox")
        for name in APPLETS.split():
            (top / "bin" / name).symlink_to("busybox")
        (top / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nsam:x:1000:1001::/:/bin/sh\n")
        (top / "etc/group").write_text("root:x:0:\nsam:x:1001:\nstaff:x:50:sam\n")
        with tarfile.open(f"{self.base}/rootfs.tar", "w") as tar:
            tar.add(top, arcname=".")
        return f"{self.base}/rootfs.tar"

    @property
    def env(self) -> Mapping[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {**kept, "HOME": f"{self.base}/home", "TMPDIR": self.base}

    def enter(self, *words: str) -> list[str]:
        return ["nsenter", "-t", str(self.holder.pid), "-n", "-m", *words]

    def mounts(self) -> list[str]:
        """In the yard, below its own directories."""
        places = [line.split()[1] for line in Path(f"/proc/{self.holder.pid}/mounts").read_text().splitlines()]
        own = [f"{self.base}/{path}" for path in self.own_mounts]
        return [place for place in places if place.startswith(f"{self.base}/") and place not in own]

    def containers(self) -> list[str]:
        """What the runtime has on record, wherever the manager lets it."""
        # not rglob: it fails when a directory of the manager goes meanwhile
        return [where for where, _, files in os.walk(self.base) if "process.marshal" in files]

    def groups(self) -> list[str]:
        """Those of containers."""
        return self.host.groups()

    def left(self) -> dict[str, list[str]]:
        """What containers have left behind, by kind."""
        found = {"mounts": self.mounts(), "containers": self.containers(), "cgroups": self.groups()}
        return {kind: entries for kind, entries in found.items() if entries}

    def clear(self, seconds: float = 20) -> None:
        """Fails if something of containers is left. Managers clean up after they have answered."""
        deadline = time.monotonic() + seconds
        while left := self.left():
            assert time.monotonic() < deadline, f"left behind: {left}"
            time.sleep(0.05)  # nobody announces the end of that

    def close(self) -> None:
        """The namespaces end with their holder, and the mounts in them."""
        try:
            self.clear()
        finally:
            self.stop()
            cgroups.manager(cgroups.detect(), self.group).kill()
            self.end_processes()
            assert self.holder.stdin is not None
            self.holder.stdin.close()
            self.holder.wait(20)
            for group in sorted(self.host.groups(), key=len, reverse=True):
                os.rmdir(group)
            self.host.close()

    def stop(self) -> None:
        """End the daemon, if there is one."""
        if self.daemon is not None:
            self.daemon.terminate()
            self.daemon.wait(30)
            self.daemon = None

    def end_processes(self) -> None:
        """Waits for those that manage the last container's end."""
        deadline = time.monotonic() + 20
        while found := self.host.processes():
            assert time.monotonic() < deadline, f"still there: {found}"


class Manager(Yard):
    """A command line like docker's. `base_words` start it, `run_words` follow "run" and "create"."""

    name = ""
    base_words: tuple[str, ...] = ()
    run_words: tuple[str, ...] = ()

    def command(self, *words: str) -> list[str]:
        return self.enter(self.name, *self.base_words, *words)

    def __call__(self, *words: str, check: bool = True, input: str | None = None) -> Done:
        done = subprocess.run(
            self.command(*words),
            env=self.env,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if check:
            assert done.returncode == 0, f"{' '.join(words)} -> {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def run(self, *words: str, check: bool = True, input: str | None = None) -> Done:
        return self("run", *self.run_words, *words, check=check, input=input)

    def with_runc(self) -> list[str]:
        """The words that run a container by runc instead."""
        raise NotImplementedError

    def inside(self, script: str, *flags: str) -> str:
        """What a shell in a throw-away container prints."""
        return self.run("--rm", *flags, "box", "sh", "-c", script).stdout

    def state(self, container: str, template: str) -> str:
        return self("inspect", "--format", template, container).stdout.strip()

    def remove(self, container: str) -> None:
        """At once: most commands here ignore the signal of a stop as process 1."""
        self("kill", container, check=False)
        self("rm", "-f", container)

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
        """Command lines have no event for most things."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"never: {what}"
            time.sleep(0.05)

    def with_terminal(self, *words: str, rows: int = 33, columns: int = 99) -> tuple[int, str]:
        """Exit code and output of a command on a terminal of that size."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        child = subprocess.Popen(
            self.command(*words), env=self.env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        said = b""
        try:
            while select.select([master], [], [], 60)[0]:
                try:
                    said += os.read(master, 4096)
                except OSError:
                    break  # nobody has it open any more
            return child.wait(20), said.decode()
        finally:
            child.kill()
            os.close(master)
