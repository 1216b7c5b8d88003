"""What a container uses is on record before anybody looks, whoever writes it down and however that one ends."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from pyctr.core import containers, hosthistory, ring
from pyctr.core.cgroupstats import rates
from pyctr.core.containers import Container
from pyctr.core.engine import Engine
from pyctr.core.runtime import offices
from pyctr.core.runtime.flight import Recorder
from pyctr.tui.engine import Poller
from pyctr.tui.snapshot import Focus
from tests.support.bundle import gone
from tests.support.host import Host


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


def holds(host: Host, container: Container) -> bool:
    """Whether the container's shim has the lock open; the one that took it was its worker, which is gone."""
    process = container.reload().state.process
    assert process is not None
    path = f"/proc/{process.shim_pid}/fd"
    return any(os.path.realpath(f"{path}/{fd}") == f"{host.paths.run}/recorder" for fd in os.listdir(path))


def vacant(host: Host) -> bool:
    """Whether nobody has the lock."""
    if (lock := offices.take(f"{host.paths.run}/recorder")) >= 0:
        os.close(lock)
    return lock >= 0


def test_it_is_recorded_from_the_start_and_the_office_passes_on(host: Host) -> None:
    """By whoever is there: the first shim, after its end another one, after that one was killed the next start's."""
    host.run("run", "-d", "--name", "first", "--network", "none", "base", "sleep", "1000")
    host.run("run", "-d", "--name", "busy", "base", "sh", "-c", "while :; do :; done")
    first, busy = find(host, "first"), find(host, "busy")
    eventually(lambda: holds(host, first))
    assert not holds(host, busy)
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
    eventually(lambda: holds(host, busy))
    eventually(lambda: len(readings(busy)) > len(begun))
    assert readings(first), "its past is kept until it is removed"

    process = busy.state.process
    assert process is not None
    os.kill(process.shim_pid, signal.SIGKILL)
    gone(process.shim_pid)
    eventually(lambda: vacant(host))  # a copy of the killed one, made for a moment's work, has the lock until its end
    host.run("start", "first")
    eventually(lambda: holds(host, first))  # it may be on its way from the worker to the shim
    before = len(readings(first))
    eventually(lambda: len(readings(first)) > before)
    assert {reading.pid for reading in readings(first)} >= {first.reload().pid}


def shim(container: Container) -> int:
    process = container.reload().state.process
    assert process is not None
    return process.shim_pid


def slept(pid: int) -> str:
    """How often a process has given its core away by itself: each wake-up ends with that."""
    with open(f"/proc/{pid}/status") as file:
        return next(line for line in file if line.startswith("voluntary_ctxt_switches"))


def test_a_recorder_that_is_killed_has_an_heir_and_nobody_else_wakes_up(host: Host) -> None:
    names = ("first", "second", "third", "fourth")
    for name in names:
        host.run("run", "-d", "--name", name, "--network", "none", "base", "sleep", "1000")
    first, *others = (find(host, name) for name in names)
    eventually(lambda: holds(host, first))
    eventually(lambda: len(readings(first)) > 1)  # in the first interval it has asked one to be its heir
    woken = {one.id: slept(shim(one)) for one in others}

    os.kill(shim(first), signal.SIGKILL)
    heir = eventually(lambda: next((one for one in others if holds(host, one)), None))
    begun = len(readings(heir))
    eventually(lambda: len(readings(heir)) > begun + 1)
    assert first.reload().pid and readings(first)[-1].time > readings(heir)[begun].time, "it is recorded as before"
    # the new one has an heir, too: of the other two one has been woken, to be that
    assert sum(slept(shim(one)) != woken[one.id] for one in others) == 2

    os.kill(shim(heir), signal.SIGKILL)
    rest = [one for one in others if one is not heir]
    eventually(lambda: any(holds(host, one) for one in rest))
    begun = len(readings(first))
    eventually(lambda: len(readings(first)) > begun)


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
