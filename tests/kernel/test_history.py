"""What a container uses is on record before anybody looks, whoever writes it down and however that one ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from pyctr.core import containers, heaviest, hosthistory, ring
from pyctr.core.cgroupstats import rates
from pyctr.core.containers import Container
from pyctr.core.engine import Engine
from pyctr.core.linux import procfs
from pyctr.core.runtime.flight import Recorder
from pyctr.tui.engine import Poller
from pyctr.tui.snapshot import Focus
from tests.support.bundle import gone
from tests.support.host import Host
from tests.support.processes import named


def find(host: Host, name: str) -> Container:
    return containers.find(Engine(host.paths), name)


def readings(container: Container) -> list[ring.Reading]:
    return ring.read(container.path(ring.FILE))


def eventually(what: Callable[[], Any], patience: float = 60) -> Any:
    deadline = time.monotonic() + patience
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert found, "it did not come to that"
    return found


def recorded(container: Container) -> None:
    """Wait for a reading."""
    before = len(readings(container))
    eventually(lambda: len(readings(container)) > before)


def dozes(pid: int) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/exe").startswith("/memfd:pyctr-doze")
    except FileNotFoundError:
        return False


def steward(host: Host) -> int:
    """The process that has the lock, 0 when nobody has."""
    for pid in named(host, "pyctr-steward"):
        try:
            held = [os.path.realpath(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        except FileNotFoundError:
            continue
        if f"{host.paths.run}/steward" in held:
            return pid
    return 0


def test_it_is_recorded_from_the_start_until_the_end(host: Host) -> None:
    """By one process for all, which outlives the containers that it was made for and goes with the last one."""
    host.run("run", "-d", "--name", "first", "--network", "none", "base", "sleep", "1000")
    host.run("run", "-d", "--name", "busy", "base", "sh", "-c", "while :; do :; done")
    first, busy = find(host, "first"), find(host, "busy")
    recorder = eventually(lambda: steward(host))
    eventually(lambda: len(readings(busy)) > 1 and readings(first))
    begun = readings(busy)
    assert begun[0].pid == busy.pid
    got = rates(begun[0].sample, begun[-1].sample)
    assert got.cpu_percent and got.memory_working_set and got.pids == 1 and got.net_rx is not None
    assert readings(first)[-1].sample.net is None, "no network of its own"
    machine = ring.read(hosthistory.place(host.paths))
    share = rates(machine[0].sample, machine[-1].sample).cpu_percent_of_limit
    assert share and machine[-1].sample.memory_limit and machine[-1].sample.load is not None, "the host has a ring, too"
    closer = eventually(lambda: next((one.sample for one in readings(first) if one.sample.layer is not None), None))
    assert (closer.processes, closer.threads, closer.waiting) == (1, 1, 0) and closer.open_files

    seen = eventually(lambda: heaviest.read(busy.path(heaviest.FILE)))[-1]
    (shell,) = seen.rows
    assert (seen.total, seen.first, shell.pid, shell.name) == (1, busy.pid, busy.pid, "sh")
    assert shell.cpu_ms and shell.memory and shell.state == "R"

    lines = host.run("stats", "--history", "--json", "--since", "-2m", "busy").stdout.splitlines()
    last = json.loads(lines[-1])
    assert last["name"] == "busy" and last["cpu_percent"] == pytest.approx(got.cpu_percent, rel=0.5)
    assert json.loads(host.run("stats", "--history", "--json", "/").stdout.splitlines()[-1])["load"] is not None
    table = host.run("stats", "--history").stdout
    assert " first " in table and " busy " in table

    poller = Poller(host.paths)
    poller.look_at(Focus(visible=(first.id,), selected=busy.id, tab="overview"))
    detail = poller.collect().detail
    poller.stop()
    assert detail is not None and detail.series["cpu"], "of the time before: one look alone has no rate"

    host.run("stop", "-t", "0", "first")
    recorded(busy)
    assert readings(first), "its past is kept until it is removed"
    assert steward(host) == recorder
    host.run("rm", "-f", "busy")
    gone(recorder)
    host.run("start", "first")
    recorded(first)
    assert steward(host) and {reading.pid for reading in readings(first)} >= {first.reload().pid}


def shim(container: Container) -> int:
    process = container.reload().state.process
    assert process is not None
    return process.shim_pid


def slept(pid: int) -> int:
    """How often a process has given its core away by itself: each wake-up ends with that."""
    with open(f"/proc/{pid}/status") as file:
        return int(next(line for line in file if line.startswith("voluntary_ctxt_switches")).split()[1])


def test_a_recorder_that_is_killed_has_an_heir_and_no_shim_wakes_up(host: Host) -> None:
    names = ("first", "second")
    for name in names:
        host.run("run", "-d", "--name", name, "--network", "none", "base", "sleep", "1000")
    first, second = (find(host, name) for name in names)
    for _ in range(2):
        killed = eventually(lambda: steward(host))
        recorded(second)
        eventually(lambda: any(dozes(pid) for pid in named(host, "pyctr-steward")))  # its heir
        woken = {one.id: slept(shim(one)) for one in (first, second)}
        os.kill(killed, signal.SIGKILL)
        gone(killed)
        heir = eventually(lambda: steward(host))
        assert heir != killed
        recorded(first)
        # more than their look at what they cost, twelve seconds after their start, nobody has done; who has given its
        # interpreter up then would have it again
        for one in (first, second):
            assert dozes(shim(one)) or slept(shim(one)) <= woken[one.id] + 2


def test_one_that_is_killed_in_its_first_moments_has_an_heir(host: Host) -> None:
    host.run("run", "-d", "--name", "first", "--network", "none", "base", "sleep", "1000")
    killed = 0
    for _ in range(3):
        # as soon as there is one, which has not gone to sleep yet
        while not ((killed := steward(host)) and procfs.children(killed)):
            pass
        os.kill(killed, signal.SIGKILL)
        gone(killed)
    recorded(find(host, "first"))
    assert steward(host) != killed


def test_when_all_are_killed_the_next_start_records(host: Host) -> None:
    host.run("run", "-d", "--name", "first", "--network", "none", "base", "sleep", "1000")
    first = find(host, "first")
    eventually(lambda: steward(host) and readings(first))
    # it and its heir, which may be one by now
    while found := named(host, "pyctr-steward"):
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            gone(pid)
    host.run("run", "-d", "--name", "second", "--network", "none", "base", "sleep", "1000")
    recorded(first)


def test_a_frozen_container_is_measured_and_one_that_does_not_run_is_not(host: Host) -> None:
    host.run("run", "-d", "--name", "twice", "--network", "none", "base", "sleep", "1000")
    container = find(host, "twice")
    ours = Recorder(host.paths)
    try:
        host.run("pause", "twice")
        assert ours.record(container.id)
        host.run("stop", "-t", "0", "twice")
        assert not ours.record(container.id)
        host.run("start", "twice")
        assert ours.record(container.id)
    finally:
        ours.close()


def test_removing_a_container_takes_its_history_along(host: Host) -> None:
    host.run("run", "-d", "--name", "gone", "--network", "none", "base", "sleep", "1000")
    container = find(host, "gone")
    ours = Recorder(host.paths)
    try:
        assert ours.record(container.id)
        assert os.path.exists(container.path(ring.FILE))
        host.run("rm", "-f", "gone")
        assert not ours.record(container.id)
        assert ours.ids() == []
    finally:
        ours.close()
    assert not os.path.exists(container.path())
