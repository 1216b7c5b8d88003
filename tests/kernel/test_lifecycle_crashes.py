"""Clients and shims killed at any moment lose nothing and leave nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from pyctr.core import containers, errors, lifecycle
from pyctr.core.engine import Engine
from pyctr.core.linux.namespaces import pidfd_open
from pyctr.core.state import CREATED, DEAD, RUNNING, STOPPED
from pyctr.core.waiting import readable
from tests.support.host import Host

from .lifecycle_help import SLEEP, created, eventually, names, running, spec, statuses

CLIENT = """
import sys
from pyctr.core import lifecycle
from pyctr.core.engine import Engine
from pyctr.core.spec import ContainerSpec
engine = Engine()
print("ready", flush=True)
sys.stdin.readline()
spec = ContainerSpec(image="localhost/base:latest", name=sys.argv[1], command=["sh", "-c", sys.argv[2]], network="none",
                     auto_remove=sys.argv[3] == "rm")
container, launched = lifecycle.run(engine, spec)
launched.close()
lifecycle.remove(engine, container, force=True)
"""


def killed_after(host: Host, name: str, delay: float, rm: str) -> None:
    """A client that creates, starts and removes a container, killed `delay` seconds into it."""
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, name, SLEEP, rm],
        env=host.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert client.stdin is not None and client.stdout is not None
    client.stdout.readline()
    client.stdin.write(b"go\n")
    client.stdin.flush()
    try:
        client.wait(delay)
    except subprocess.TimeoutExpired:
        client.kill()
        client.wait()
    client.stdin.close()
    client.stdout.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_client_killed_at_any_moment_leaves_what_the_next_one_understands(host: Host, seed: int) -> None:
    engine = Engine(host.paths)
    choice = random.Random(seed)
    for number in range(20):
        killed_after(host, f"victim-{number}", choice.uniform(0, 0.12), choice.choice(["rm", "keep"]))
        # a shim that holds the lock is still at work and will finish
        eventually(lambda: containers.reconcile(engine) is not None and settled(host))
    for container in containers.all(engine):
        assert container.status in (CREATED, RUNNING, STOPPED), container
        if container.status == RUNNING:
            assert container.state.process is not None
    # names lead to containers and nothing else does
    assert names(host) == sorted(container.name for container in containers.all(engine))
    for container in containers.all(engine):
        lifecycle.remove(engine, container, force=True)
    eventually(lambda: host.census() == {})
    assert names(host) == [] and os.listdir(host.paths.pending) == []


def settled(host: Host) -> bool:
    """Nobody works on a container any more."""
    return not os.listdir(host.paths.pending) if os.path.isdir(host.paths.pending) else True


def test_a_killed_shim_is_noticed_and_its_container_ended(host: Host) -> None:
    container = running(host, name="orphan")
    process = container.state.process
    assert process is not None
    watch = [pidfd_open(process.pid), pidfd_open(process.shim_pid)]
    os.kill(process.shim_pid, signal.SIGKILL)
    assert readable(watch[1:], 10)
    containers.reconcile(container.engine)
    status = container.reload().status
    if status == STOPPED:
        assert container.state.exit is not None and "shim" in container.state.exit.error
        assert container.state.exit.lost
    else:
        lifecycle.stop(container.engine, container, timeout=0.2)
        assert container.reload().status == STOPPED
    assert readable(watch[:1], 10)
    for fd in watch:
        os.close(fd)
    lifecycle.start(container.engine, container).close()
    assert container.reload().status == RUNNING


def test_a_removal_cut_short_can_be_asked_for_again(host: Host) -> None:
    engine = Engine(host.paths)
    container = created(host, name="half")
    container.state.removing = True
    containers.save_state(engine.paths, container.state)
    assert statuses(host) == {"half": DEAD}
    with pytest.raises(errors.IllegalTransition, match="it is dead") as caught:
        lifecycle.start(engine, "half")
    assert "pyctr rm half" in caught.value.hint
    lifecycle.remove(engine, "half")
    assert host.census() == {} and names(host) == []


def test_half_made_containers_give_their_name_back(host: Host) -> None:
    engine = Engine(host.paths)
    container = created(host, name="half")
    container.state.desired = "creating"
    containers.save_state(engine.paths, container.state)
    assert containers.all(engine) == []
    again = lifecycle.create(engine, spec(name="half"))
    assert again.id != container.id and statuses(host) == {"half": CREATED}


def test_after_a_reboot_nothing_runs_and_everything_starts(host: Host) -> None:
    container = running(host, name="before")
    process = container.state.process
    assert process is not None
    lifecycle.kill(container.engine, container)
    container.reload()
    container.state.process = process.replace(boot_id="another")
    container.state.exit = None
    containers.save_state(container.engine.paths, container.state)
    assert container.reload().status == STOPPED
    containers.reconcile(container.engine)
    assert "restarted" in (container.reload().state.exit or container).error
    lifecycle.start(container.engine, container).close()
    assert container.reload().status == RUNNING


def test_an_exit_while_nobody_looks_is_recorded(host: Host) -> None:
    start = time.time()
    container = running(host, "exit 6")
    eventually(lambda: container.reload().state.exit)
    assert container.state.exit is not None and container.state.exit.code == 6
    assert start <= container.state.exit.finished_at <= time.time()
