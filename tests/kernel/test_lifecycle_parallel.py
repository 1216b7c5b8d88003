"""Many clients at once: each container once, each name once, nothing left."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from pyctr.core import connecting, containers, errors, lifecycle
from pyctr.core.containers import Container
from pyctr.core.engine import Engine
from pyctr.core.fsutil import Lock
from pyctr.core.state import RUNNING
from pyctr.core.waiting import gone
from tests.support.host import Host

from .lifecycle_help import SLEEP, created, names, running, statuses

START = """
import sys
from pyctr.core import lifecycle
from pyctr.core.engine import Engine
from pyctr.core.spec import ContainerSpec
container, launched = lifecycle.run(Engine(), ContainerSpec(image="localhost/base:latest", name=sys.argv[1],
    command=["sh", "-c", sys.argv[2]], network=sys.argv[3]))
launched.close()
"""
VERB = """
import sys
from pyctr.core import errors, lifecycle
from pyctr.core.engine import Engine
try:
    getattr(lifecycle, sys.argv[1])(Engine(), sys.argv[2], **({"force": True} if sys.argv[1] == "remove" else {}))
except errors.PyctrError as error:
    print(type(error).__name__)
"""


def clients(host: Host, code: str, *calls: tuple[str, ...]) -> list[tuple[int, str, str]]:
    """Run many clients at the same time: (exit code, stdout, stderr) of each."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, *words],
            env=host.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for words in calls
    ]
    found = []
    for client in started:
        out, err = client.communicate(timeout=100)
        found.append((client.returncode, out, err))
    return found


def test_twenty_starts_and_removes_at_once(host: Host) -> None:
    calls = [(f"many-{number}", SLEEP, "bridge" if number % 2 else "none") for number in range(20)]
    for code, _, err in clients(host, START, *calls):
        assert code == 0, err
    engine = Engine(host.paths)
    assert statuses(host) == {name: RUNNING for name, _, _ in calls}
    addresses = [container.state.network.get("address") for container in containers.all(engine)]
    leased = [address for address in addresses if address]
    assert len(leased) == 10 == len(set(leased))
    for code, _, err in clients(host, VERB, *[("remove", name) for name, _, _ in calls]):
        assert code == 0, err
    assert host.census() == {} and names(host) == []


def test_one_name_goes_to_one_of_many(host: Host) -> None:
    results = clients(host, START, *[("same", SLEEP, "none")] * 8)
    assert sorted(code for code, _, _ in results) == [0] + [1] * 7
    assert all("Conflict" in err for code, _, err in results if code)
    assert statuses(host) == {"same": RUNNING}


def test_the_same_verb_from_many_clients_is_done_once(host: Host) -> None:
    container = created(host, name="one")
    out = [out.strip() for _, out, _ in clients(host, VERB, *[("start", "one")] * 6)]
    assert sorted(out) == [""] + ["IllegalTransition"] * 5
    assert container.reload().status == RUNNING
    out = [out.strip() for _, out, _ in clients(host, VERB, *[("remove", "one")] * 6)]
    assert "" in out and set(out) <= {"", "NotFound"}
    assert host.census() == {}


def test_verbs_against_each_other_end_in_a_state_that_is_allowed(host: Host) -> None:
    container = running(host, name="one")
    verbs = ["pause", "unpause", "stop", "restart", "kill", "start", "unpause", "stop"] * 2
    for code, _, err in clients(host, VERB, *[(verb, "one") for verb in verbs]):
        assert code == 0, err
    try:
        lifecycle.unpause(container.engine, container)
    except errors.IllegalTransition:
        pass  # not paused at the end
    lifecycle.stop(container.engine, container)
    lifecycle.remove(container.engine, container)
    assert host.census() == {}


def test_a_forced_removal_wins_against_who_starts_it_meanwhile(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    container = running(host, name="one")
    locked, starts = containers.locked, iter((True, True, False))

    def late(engine: Engine, ref: Container | str) -> tuple[Container, Lock]:
        if next(starts, False):
            monkeypatch.setattr(containers, "locked", locked)
            lifecycle.start(engine, container.id)
            monkeypatch.setattr(containers, "locked", late)
        return locked(engine, ref)

    monkeypatch.setattr(containers, "locked", late)
    lifecycle.remove(container.engine, container, force=True)
    assert containers.all(container.engine) == []


def test_a_container_that_ends_while_it_joins_a_network_leaves_no_lease(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = running(host, name="one")
    container.engine.networks.create("two")
    joining = connecting.attachments

    def ending(attachment: dict[str, Any]) -> list[dict[str, Any]]:
        process = container.state.process
        assert process is not None
        os.kill(process.pid, 9)
        assert gone(process, container.engine.paths, 60)
        return joining(attachment)

    monkeypatch.setattr(connecting, "attachments", ending)
    with pytest.raises(errors.IllegalTransition, match="container 'one' ended just now"):
        connecting.connect(container.engine, "two", "one")
    assert list(container.engine.networks.leases("two")) == []
    assert container.reload().spec.network == "none"


@pytest.mark.parametrize("verb", ["pause", "unpause"])
def test_a_container_that_ends_while_it_is_frozen_or_thawed_is_told_so(
    host: Host, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    container = running(host, name="one")
    if verb == "unpause":
        lifecycle.pause(container.engine, container)
    permit = lifecycle._permit

    def ending(asked: str, found: Container) -> None:
        permit(asked, found)
        group, process = container.engine.group(container.state.group), container.state.process
        assert process is not None
        group.kill()
        assert gone(process, container.engine.paths, 60)
        group.remove()

    monkeypatch.setattr(lifecycle, "_permit", ending)
    with pytest.raises(errors.IllegalTransition, match="container 'one' ended just now"):
        getattr(lifecycle, verb)(container.engine, container)
    monkeypatch.setattr(lifecycle, "_permit", permit)
