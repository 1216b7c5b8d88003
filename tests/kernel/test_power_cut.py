"""Power cuts: what was recorded is still there, up to the last interval that was finished.

The cut is what file systems are tested with: an ext4 that is told to forget at once whatever it has not written to
its disk, journal included (EXT4_IOC_SHUTDOWN without flushing), and is mounted anew then.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyctr.core import containers, hosthistory, redo, ring
from pyctr.core.containers import Container
from pyctr.core.engine import Engine
from tests.support.bundle import gone
from tests.support.host import Host
from tests.support.processes import named

SHUTDOWN, NO_FLUSH = 0x8004587D, 2
"""EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH: fs/ext4/ext4.h"""


def eventually(what: Callable[[], Any], patience: float = 120) -> Any:
    deadline = time.monotonic() + patience
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert found, "it did not come to that"
    return found


class Disk:
    """An ext4 of its own as the root of a pyctr."""

    def __init__(self, host: Host) -> None:
        self.image, self.place = f"{host.base}/disk.img", host.paths.root
        with open(self.image, "wb") as file:
            file.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", self.image], check=True)

    def mount(self) -> None:
        if subprocess.run(["mount", "-o", "loop", self.image, self.place], stderr=subprocess.DEVNULL).returncode:
            pytest.skip("no loop devices here")

    def cut(self) -> None:
        """Everything in memory is lost."""
        place = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(place, SHUTDOWN, struct.pack("I", NO_FLUSH))
        finally:
            os.close(place)

    def unmount(self) -> None:
        """Namespaces that others made meanwhile have a copy of the mount, so what is mounted next is a copy of the
        disk: as much of it as was written."""
        eventually(lambda: not subprocess.run(["umount", self.place], stderr=subprocess.DEVNULL).returncode)
        shutil.copyfile(self.image, f"{self.image}.next")
        os.replace(f"{self.image}.next", self.image)

    def canary(self) -> str:
        """A file that is in memory alone."""
        path = f"{self.place}/canary"
        with open(path, "w") as file:
            file.write("here")
        return path


@pytest.fixture
def disk(host: Host) -> Iterator[Disk]:
    links = {name: os.readlink(f"{host.paths.root}/{name}") for name in ("images", "layers")}
    made = Disk(host)
    made.mount()
    try:
        os.chmod(host.paths.root, 0o700)
        for name, target in links.items():
            os.symlink(target, f"{host.paths.root}/{name}")
        os.sync()
        yield made
    finally:
        host.run("rm", "-f", *host.run("ps", "-aq").stdout.split(), check=False)
        for group in host.groups():
            if group.endswith("/@steward"):
                os.rmdir(group)  # nobody is left who would
        made.unmount()


def processes(container: Container) -> list[int]:
    process = container.reload().state.process
    assert process is not None
    return [process.shim_pid, process.pid]


def recorded(container: Container) -> list[float]:
    return [reading.time for reading in ring.read(container.path(ring.FILE)) if reading.step == ring.TIERS[0][0]]


def on_disk(host: Host, name: str) -> set[float]:
    """When the records of this ring were made that lie in the file which is forced to the disk."""
    try:
        found = list(redo.entries(f"{host.paths.root}/{redo.CONTAINERS}"))
    except FileNotFoundError:
        return set()
    return {
        int.from_bytes(record[8:16], "little") / 1000 for where, tier, record in found if where == name and not tier
    }


def test_the_power_goes_and_what_was_used_is_known_up_to_the_last_interval(host: Host, disk: Disk) -> None:
    for name in ("one", "two"):
        host.run("run", "-d", "--name", name, "--network", "none", "base", "sleep", "1000")
    both = [containers.find(Engine(host.paths), name) for name in ("one", "two")]
    os.sync()  # so that it is the records alone that are on no disk yet
    ours = f"containers/{both[0].id}/{ring.FILE}"
    eventually(lambda: len(on_disk(host, ours)) >= 3)
    # five seconds after the one before: that is on the disk by now, the newest perhaps
    *whole, _ = eventually(lambda: recorded(both[0]) if len(recorded(both[0])) >= 4 else None)
    running = [pid for container in both for pid in processes(container)]
    canary = disk.canary()
    disk.cut()
    # as it is with everything when the power goes: nobody writes anything down; a killed steward has an heir
    while found := [pid for pid in running if os.path.exists(f"/proc/{pid}")] + named(host, "pyctr-steward"):
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            gone(pid)
    disk.unmount()
    disk.mount()
    assert not os.path.exists(canary) or not os.stat(canary).st_size, "or this was no power cut"
    if time.time() - whole[0] < 25:  # beyond half a minute the kernel writes them out by itself
        assert set(recorded(both[0])) < set(whole), "the ring alone has lost something"
    other = on_disk(host, f"containers/{both[1].id}/{ring.FILE}")

    lines = host.run("stats", "--history", "--json", "one").stdout.splitlines()
    assert [json.loads(line)["time"] for line in lines][: len(whole)] == whole
    assert set(recorded(both[0])) >= set(whole) and set(recorded(both[1])) >= other and other
    machine = [reading.time for reading in ring.read(hosthistory.place(host.paths))]
    assert max(machine) >= whole[-1] - 1
