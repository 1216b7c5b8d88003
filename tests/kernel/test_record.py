"""The recorder of everybody else's cgroups, on real groups with real load."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyctr.core import cgroups, errors, heaviest, history, hostrecord, ring
from pyctr.core.hostrecord import HostRecorder
from tests.support.host import Host


def eventually(what: Callable[[], Any], patience: float = 60) -> Any:
    deadline = time.monotonic() + patience
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert found, "it did not come to that"
    return found


class Group:
    """A cgroup of nobody's, with a process in it that keeps a core busy."""

    def __init__(self, name: str) -> None:
        layout = cgroups.detect()
        mounts = {*layout.controllers.values(), layout.unified} - {""}
        self.path = f"/{name}"
        self.directories = [Path(mount + self.path) for mount in mounts]
        self.process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for directory in self.directories:
            directory.mkdir()
            if (cpus := directory / "cpuset.cpus").exists() and not cpus.read_text().strip():
                for name in ("cpuset.cpus", "cpuset.mems"):
                    (directory / name).write_text((directory.parent / name).read_text())
            (directory / "cgroup.procs").write_text(str(self.process.pid))

    def remove(self) -> None:
        self.process.kill()
        self.process.wait()
        for directory in self.directories:
            for _ in range(100):
                try:
                    directory.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.02)  # its process is not quite gone


@pytest.fixture
def group(host: Host) -> Iterator[Group]:
    made = Group(f"{host.paths.cgroup_parent}-other")
    yield made
    made.remove()


def test_another_groups_past_is_recorded_shown_and_kept_when_it_is_gone(host: Host, group: Group) -> None:
    host.run("run", "-d", "--name", "ours", "--network", "none", "base", "sleep", "1000")
    recorder = HostRecorder(host.paths)
    try:
        with pytest.raises(errors.Conflict):
            HostRecorder(host.paths)
        recorder.find()
        assert group.path in recorder.known
        assert not [name for name in recorder.known if name.startswith(f"/{host.paths.cgroup_parent}/")]
        recorder.record()
        time.sleep(5.1 - time.time() % 5)  # the next slot of the ring
        recorder.record()
        group.remove()
        recorder.find()
        assert group.path not in recorder.known
    finally:
        recorder.close()
    found = history.read(hostrecord.place(host.paths, group.path))
    assert len(found) == 2 and found[1].rates.cpu_percent and found[1].rates.memory_current is not None
    (seen,) = heaviest.read(f"{os.path.dirname(hostrecord.place(host.paths, group.path))}/{heaviest.FILE}")
    assert [one.pid for one in seen.rows] == [group.process.pid] and seen.rows[0].name.startswith("python")
    assert "no record of cgroup" in host.run("stats", "--history", "/no/such", check=False).stderr
    assert group.path in host.run("record", "--list").stdout
    assert group.path in host.run("stats", "--history", "--since", "5m", group.path).stdout


def test_room_is_made_by_the_oldest_that_are_gone_and_never_exceeded(host: Host, group: Group) -> None:
    for number in range(3):
        path = hostrecord.place(host.paths, f"/gone.slice/old-{number}.scope")
        os.makedirs(os.path.dirname(path))
        Path(path).write_bytes(b"")
        os.utime(path, (1000 + number, 1000 + number))
    recorder = HostRecorder(host.paths, 3 * hostrecord.RING)
    try:
        recorder.find()
        recorder.record()
    finally:
        recorder.close()
    assert 0 < len(recorder.known) <= 3, "of all the groups of this machine, some of which may end meanwhile"
    assert len(list(hostrecord.recorded(host.paths))) <= 3
    assert not os.path.exists(hostrecord.place(host.paths, "/gone.slice/old-0.scope")), "the oldest goes first"


def test_the_command_records_until_sigterm_and_another_one_may_follow(host: Host, group: Group) -> None:
    words = host.command("record", "--max-size", "50m")
    for _ in range(2):
        with subprocess.Popen(words, env=host.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
            before = len(ring.read(hostrecord.place(host.paths, group.path)))
            eventually(lambda before=before: len(ring.read(hostrecord.place(host.paths, group.path))) > before)
            command.send_signal(signal.SIGTERM)
            out, err = command.communicate(timeout=60)
            assert (command.returncode, out, err) == (0, b"", b"")


def test_the_unit_is_valid_and_goes_again(host: Host, tmp_path: Path) -> None:
    done = host.run("record", "--install", "--max-size", "100m", "--unit-dir", str(tmp_path))
    unit = tmp_path / "pyctr-record.service"
    text = unit.read_text()
    assert done.stdout == f"{unit}\n" and "systemctl enable --now pyctr-record" in done.stderr
    assert f"--root {host.paths.root} --runroot {host.paths.run}" in text and "--max-size 104857600" in text
    if analyze := shutil.which("systemd-analyze"):
        checked = subprocess.run([analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True)
        assert "pyctr-record" not in checked.stderr, checked.stderr
    assert host.run("record", "--uninstall", "--unit-dir", str(tmp_path)).stdout == f"{unit}\n"
    assert not unit.exists()
    unit.write_text("[Unit]\nDescription=somebody else's\n")
    for flag in ("--install", "--uninstall"):
        refused = host.run("record", flag, "--unit-dir", str(tmp_path), check=False)
        assert refused.returncode and "is not ours" in refused.stderr
