"""Freezing, bounding and signalling living containers: said beforehand, taken back in time, for any engine's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyctr.core import errors, lifecycle, reverts, treatment
from pyctr.core.cgroups.group import Manager
from pyctr.core.engine import Engine
from pyctr.core.linux import procfs
from pyctr.core.targets import Target
from tests.support.host import Host

MIB = 1 << 20
PATIENCE = 60.0


def until(seen: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def status(host: Host, name: str) -> str:
    shown = json.loads(host.run("inspect", name).stdout)[0]
    return str(shown["State"]["Status"])


def limits(host: Host, name: str) -> dict[str, str]:
    """What stands in the files that an update of memory and processes would change."""
    lines = host.run("update", "--dry-run", "-m", "48m", "--pids-limit", "77", name).stdout.splitlines()
    return {Path(file).name: rest.partition(" -> ")[0] for file, _, rest in (line.partition(": ") for line in lines)}


def coming(host: Host) -> list[dict[str, object]]:
    return [json.loads(line) for line in host.run("revert", "--format", "json").stdout.splitlines()]


@pytest.fixture
def web(host: Host) -> str:
    host.run("run", "-d", "--network", "none", "--name", "web", "localhost/base", "sleep", "1000")
    return "web"


def test_a_dry_run_names_the_file_and_changes_nothing(host: Host, web: str) -> None:
    said = host.run("pause", "--dry-run", web).stdout
    file, _, change = said.strip().partition(": ")
    assert os.path.exists(file) and change in ("0 -> 1", "THAWED -> FROZEN")
    assert status(host, web) == "running"
    before = limits(host, web)
    assert len(before) >= 2 and limits(host, web) == before
    pid = json.loads(host.run("inspect", web).stdout)[0]["State"]["Pid"]
    assert host.run("kill", "--dry-run", "-s", "HUP", web).stdout.strip() == f"SIGHUP to {pid}"
    assert status(host, web) == "running"


def test_a_timed_pause_ends_though_its_terminal_is_gone(host: Host, web: str) -> None:
    done = subprocess.Popen(host.command("pause", "--for", "2s", web), env=host.env, start_new_session=True)
    assert done.wait(PATIENCE) == 0
    with pytest.raises(ProcessLookupError):
        os.killpg(done.pid, signal.SIGKILL)  # nothing of it stays in the session that ends
    until(lambda: status(host, web) == "running")
    told = host.run("events", "--since", "10m", "--until", "0s", "--format", "{{.Action}}").stdout.split()
    assert told[-2:] == ["pause", "unpause"]
    assert coming(host) == []


def test_a_timed_limit_is_in_the_kernel_alone_and_what_stood_there_comes_back(host: Host, web: str) -> None:
    before = limits(host, web)
    host.run("update", "--for", "1h", "-m", "64m", "--pids-limit", "50", web)
    clamped = limits(host, web)
    assert clamped["pids.max"] == "50" and str(64 * MIB) in clamped.values()
    assert json.loads(host.run("inspect", web).stdout)[0]["HostConfig"]["Memory"] == 0
    # another one takes its place: what comes back is what stood before the first
    host.run("update", "--for", "1h", "-m", "32m", web)
    assert len(coming(host)) == 1 and limits(host, web)["pids.max"] == before["pids.max"]
    assert host.run("revert", web).stdout.strip() == web
    assert limits(host, web) == before and coming(host) == []
    refused = host.run("revert", web, check=False)
    assert refused.returncode == 1 and "nothing is to be taken back of 'web'" in refused.stderr


def test_kept_is_kept(host: Host, web: str) -> None:
    host.run("update", "--for", "2s", "--pids-limit", "50", web)
    host.run("revert", "--keep", web)
    host.run("pause", "--for", "1h", web)
    host.run("unpause", web)
    assert coming(host) == []
    time.sleep(2.2)  # the moment at which it would have been taken back
    assert limits(host, web)["pids.max"] == "50" and status(host, web) == "running"


def test_what_a_killed_watcher_leaves_is_made_up_for(host: Host, web: str) -> None:
    host.run("pause", "--for", "1h", web)
    (watcher,) = [
        int(name)
        for name in os.listdir("/proc")
        if name.isdigit() and str(host.paths.run).encode() in _command(name) and b"reverts import" in _command(name)
    ]
    os.kill(watcher, signal.SIGKILL)
    file = next(Path(host.paths.run, "reverts").iterdir())
    document = json.loads(file.read_text())
    file.write_text(json.dumps({**document, "due": time.monotonic() - 2 * reverts.LATE}))
    assert coming(host) == []
    assert status(host, web) == "running"


def test_a_later_freeze_by_the_screens_is_not_ended_by_an_earlier_timed_one(host: Host, web: str) -> None:
    """They call `lifecycle` itself."""
    engine = Engine(host.paths)
    host.run("pause", "--for", "1h", web)
    lifecycle.unpause(engine, web)
    assert coming(host) == []
    lifecycle.pause(engine, web)
    assert coming(host) == [] and status(host, web) == "paused"


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


@pytest.fixture
def stranger(host: Host) -> Iterator[tuple[Engine, Target]]:
    """A process in a cgroup that is none of ours, as another engine's container."""
    engine = Engine(host.paths)
    group = f"/{host.paths.cgroup_parent}/stranger"
    manager: Manager = engine.group(group)
    manager.create(counted=True)
    sleeper = subprocess.Popen(["sleep", "1000"])
    try:
        manager.join(sleeper.pid)
        yield engine, Target("5" * 64, "db", "docker", group, sleeper.pid)
    finally:
        manager.thaw()
        sleeper.kill()
        sleeper.wait()
        for revert in reverts.all(host.paths):
            reverts.keep(host.paths, revert.id, revert.kind)
        manager.remove()


def test_one_process_is_signalled_and_none_that_is_another_s(host: Host, stranger: tuple[Engine, Target]) -> None:
    engine, target = stranger
    manager = target.manager(engine)
    with subprocess.Popen(["sleep", "1000"]) as second:
        born = procfs.start_time(second.pid)
        assert born is not None
        with pytest.raises(errors.IllegalTransition, match="has ended"):
            treatment.signal_process(engine, target, second.pid, born, "KILL")  # not in its cgroup
        manager.join(second.pid)
        with pytest.raises(errors.IllegalTransition, match="has ended"):
            treatment.signal_process(engine, target, second.pid, born + 1, "KILL")  # the number of an earlier one
        assert second.poll() is None
        treatment.signal_process(engine, target, second.pid, born, "TERM")
        assert second.wait(PATIENCE) == -signal.SIGTERM
    assert manager.pids() == [target.pid]


def test_another_engine_s_container_is_treated_by_its_cgroup(stranger: tuple[Engine, Target]) -> None:
    engine, target = stranger
    manager = target.manager(engine)
    treatment.freeze(engine, target, after=1.0)
    assert manager.frozen()
    with pytest.raises(errors.IllegalTransition, match="paused"):
        treatment.freeze(engine, target)
    until(lambda: not manager.frozen())
    writes = treatment.limit(engine, target, {"pids": 30}, after=3600)
    file = writes[0].file
    assert Path(file).read_text().strip() == "30"
    (revert,) = reverts.all(engine.paths)
    assert revert.engine == "docker" and reverts.carry_out(engine, revert)
    assert Path(file).read_text().strip() == "max"
    treatment.signal(engine, target, "TERM", everyone=True)
    until(lambda: not manager.pids())
    with pytest.raises(errors.IllegalTransition, match="ended"):
        treatment.signal(engine, target, "HUP")


def test_what_cannot_be_is_refused_before_anything_changes(
    host: Host, web: str, stranger: tuple[Engine, Target]
) -> None:
    engine, target = stranger
    with pytest.raises(errors.UsageError, match="no time to wait"):
        treatment.limit(engine, target, {"pids": 30}, after=8 * 24 * 3600)
    assert treatment.planned(engine, target, {"pids": 30})[0].before == "max"
    refused = host.run("update", "--for", "1m", "--restart", "always", web, check=False)
    assert refused.returncode != 0 and "changed for good only" in refused.stderr
    assert host.run("pause", "--for", "never", web, check=False).returncode != 0
    assert status(host, web) == "running"
