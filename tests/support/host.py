"""A pyctr of its own for one test: roots, cgroup parent and bridge that nobody else uses, and a census of leftovers."""

from __future__ import annotations

import errno
import os
import secrets
import select
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from pyctr.core.paths import Paths

REPOSITORY = Path(__file__).resolve().parents[2]


class Host:
    """Isolated `Paths`, the environment that selects them, and what is left of them on the machine."""

    def __init__(self, images_from: Paths | None = None) -> None:
        name = "pt" + secrets.token_hex(3)
        # short: a unix socket's path below it must stay within 108 bytes
        self.base = f"/tmp/{name}"
        os.mkdir(self.base, 0o755)
        self.paths = Paths(root=f"{self.base}/r", run=f"{self.base}/v", cgroup_parent=name, bridge=name)
        self.patience = 60.0
        """Seconds for a command that is not given any others."""
        os.mkdir(self.paths.root, 0o700)
        os.mkdir(self.paths.run, 0o700)
        if images_from is not None:
            os.symlink(images_from.images, self.paths.images)
            os.symlink(images_from.layers, self.paths.layers)
        # a name that is not here must not lead a test to a registry of the world
        configuration = f"{self.base}/registries.conf"
        Path(configuration).write_text('[[registry]]\nprefix = "docker.io"\nblocked = true\n')
        self.env = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PYCTR_")},
            "PYCTR_ROOT": self.paths.root,
            "PYCTR_RUNROOT": self.paths.run,
            "PYCTR_CGROUP_PARENT": name,
            "PYCTR_BRIDGE": name,
            "PYCTR_ENGINES": "pyctr",
            "CONTAINERS_REGISTRIES_CONF": configuration,
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONSAFEPATH": "1",
        }

    def command(self, *words: str) -> list[str]:
        """The argument vector of a pyctr command, for Popen with `env`."""
        return [sys.executable, "-m", "pyctr", *words]

    def run(
        self, *words: str, check: bool = True, input: str | None = None, timeout: float = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run a pyctr command to its end; with `check` a failure shows what it said."""
        done = subprocess.run(
            self.command(*words),
            env=self.env,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=timeout or self.patience,
        )
        if check and done.returncode:
            raise AssertionError(f"pyctr {' '.join(words)} -> {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def groups(self) -> list[str]:
        """Every cgroup below our parent, in every hierarchy."""
        found = []
        for mount in [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]:
            if mount[2] not in ("cgroup", "cgroup2"):
                continue
            top = Path(mount[1]) / self.paths.cgroup_parent
            if top.is_dir():
                found += [str(directory) for directory in top.rglob("*") if directory.is_dir()]
        return found

    def processes(self) -> list[str]:
        """Processes in our cgroups, or shims serving our containers. A shim that has given its last answer to a
        client and is on its way out gets five seconds."""
        deadline = time.monotonic() + 5
        while (found := self._processes()) and time.monotonic() < deadline:
            ended = select.poll()
            watched = []
            for pid in found:
                try:
                    watched.append(os.pidfd_open(pid))
                except ProcessLookupError:
                    continue  # just now
                ended.register(watched[-1], select.POLLIN)
            # not longer: a launcher gets its name a moment after its birth
            ended.poll(200)
            for fd in watched:
                os.close(fd)
        return [f"{pid} {what}" for pid, what in found.items()]

    def _processes(self) -> dict[int, str]:
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                mine = f"/{self.paths.cgroup_parent}/" in (entry / "cgroup").read_text()
                words = (entry / "cmdline").read_bytes()
                comm = (entry / "comm").read_text()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except (FileNotFoundError, ProcessLookupError):
                continue
            # a launcher knows no container and goes by itself
            if (mine or f"{self.base}/".encode() in words) and state != "Z" and comm != "pyctr-launcher\n":
                found[int(entry.name)] = repr(words[:200])
        return found

    def mounts(self) -> list[str]:
        return [line for line in Path("/proc/self/mounts").read_text().splitlines() if self.base in line]

    def links(self) -> list[str]:
        """Ports of our bridge. Those of removed containers get two seconds: a namespace is taken down by the kernel's
        own worker after its last process, and each link's end is announced."""
        from pyctr.core import netns

        directory = Path("/sys/class/net") / self.paths.bridge / "brif"
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as events:
            events.bind((0, 1))  # RTMGRP_LINK
            events.settimeout(2)
            while True:
                ports = [port.name for port in directory.iterdir()] if directory.is_dir() else []
                known = (
                    {name[:8] for name in os.listdir(self.paths.containers)}
                    if os.path.isdir(self.paths.containers)
                    else set()
                )
                if all(netns.owner(name) in known for name in ports):
                    return ports
                try:
                    events.recv(65536)
                except TimeoutError:
                    return ports

    def rules(self) -> list[str]:
        """Ports that the firewall still forwards to a container, and bounds of links whose container is gone."""
        from pyctr.core import firewall, netns, ruleview
        from pyctr.core.linux import nftables

        known = {name[:8] for name in os.listdir(self.paths.containers)} if os.path.isdir(self.paths.containers) else ()
        chains = []
        if firewall.spoken():
            with nftables.Nft() as socket:
                chains = [one for one in socket.chains(nftables.NETDEV) if one.table.startswith(self.paths.bridge)]
        bounds = [f"bound of {chain.name}" for chain in chains if netns.owner(chain.name) not in known]
        return [str(forward) for forward in ruleview.published(self.paths.bridge)] + bounds

    def leases(self) -> list[str]:
        """Containers that still hold an address or a port."""
        directory = Path(self.paths.run) / "networks" / "ids"
        return [path.name for path in directory.iterdir()] if directory.is_dir() else []

    def files(self) -> list[str]:
        found = []
        for top in (self.paths.containers, f"{self.paths.run}/containers"):
            if os.path.isdir(top):
                found += [os.path.join(top, name) for name in os.listdir(top)]
        return found

    def census(self) -> dict[str, list[str]]:
        """All that containers may leave behind, by kind; empty kinds are left out."""
        counted = {
            "processes": self.processes(),
            "cgroups": self.groups(),
            "mounts": self.mounts(),
            "links": self.links(),
            "rules": self.rules(),
            "leases": self.leases(),
            "files": self.files(),
        }
        return {kind: found for kind, found in counted.items() if found}

    def close(self) -> None:
        """Remove everything; raises AssertionError if something cannot be removed."""
        from pyctr.core import containers, lifecycle, networks
        from pyctr.core.engine import Engine
        from pyctr.core.runtime import launcher, offices

        engine = Engine(self.paths)
        try:
            launcher.dismiss(self.paths.run)
            for container in containers.all(engine):
                lifecycle.remove(engine, container.id, force=True, volumes=True)
            networks.remove_all(self.paths)
            left = self.census()
            assert not left, f"left behind after removal: {left}"
            assert not os.path.exists(f"/sys/class/net/{self.paths.bridge}"), "the bridge is left behind"
        finally:
            # it is in our parent group
            offices.wait_until_left(f"{self.paths.run}/{offices.STEWARD}", 10)
            for group in sorted(self.groups(), key=len, reverse=True):
                try:
                    os.rmdir(group)
                except OSError:
                    continue  # not empty: the census above has said so
            shutil.rmtree(self.base, ignore_errors=True)
            for mount in [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]:
                if mount[2] in ("cgroup", "cgroup2"):
                    _remove(f"{mount[1]}/{self.paths.cgroup_parent}")


def _remove(group: str) -> None:
    """Unless it was never made, or somebody stays in it: a steward that has said it goes is there for a moment more."""
    deadline = time.monotonic() + 3
    while True:
        try:
            os.rmdir(group)
        except OSError as error:
            if error.errno == errno.EBUSY and time.monotonic() < deadline:
                time.sleep(0.02)
                continue
        return
