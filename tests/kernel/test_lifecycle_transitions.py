"""Every transition of a real container, and the refusal of every other one."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from pyctr.core import birth, containers, errors, lifecycle
from pyctr.core.engine import Engine
from pyctr.core.spec import Limits, Mount
from pyctr.core.state import CREATED, PAUSED, RESTARTING, RUNNING, STOPPED
from tests.support.host import Host

from .lifecycle_help import SLEEP, created, eventually, finished, log, number_in, running, spec, statuses


def test_from_nothing_to_gone(host: Host) -> None:
    engine = Engine(host.paths)
    container = created(host, name="one")
    seen = [container.status]
    for verb in ("start", "pause", "unpause", "stop", "start", "kill", "restart", "stop"):
        getattr(lifecycle, verb)(engine, "one")
        seen.append(container.reload().status)
    assert seen == [CREATED, RUNNING, PAUSED, RUNNING, STOPPED, RUNNING, STOPPED, RUNNING, STOPPED]
    lifecycle.remove(engine, "one")
    with pytest.raises(errors.NotFound):
        container.reload()
    assert host.census() == {}
    actions = [event.action for event in engine.events.read()]
    assert actions[:6] == ["create", "start", "pause", "unpause", "die", "stop"] and actions[-1] == "destroy"


@pytest.mark.parametrize(
    ("verb", "status"),
    [
        ("start", RUNNING),
        ("start", PAUSED),
        ("pause", CREATED),
        ("pause", PAUSED),
        ("pause", STOPPED),
        ("unpause", RUNNING),
        ("unpause", STOPPED),
        ("kill", CREATED),
        ("kill", STOPPED),
        ("remove", RUNNING),
        ("remove", PAUSED),
    ],
)
def test_illegal_transitions_name_the_state_and_change_nothing(host: Host, verb: str, status: str) -> None:
    engine = Engine(host.paths)
    container = created(host, name="one")
    if status != CREATED:
        lifecycle.start(engine, container).close()
    if status == PAUSED:
        lifecycle.pause(engine, container)
    if status == STOPPED:
        lifecycle.stop(engine, container)
    with pytest.raises(errors.IllegalTransition, match=f"'one': it is {status}"):
        getattr(lifecycle, verb)(engine, "one")
    assert container.reload().status == status


def test_exit_codes_are_kept(host: Host) -> None:
    assert finished(host, "exit 7", name="seven").state.exit.code == 7
    killed = finished(host, "kill -9 $$; kill -TERM $$; exec sh -c 'exit 3'", name="self", pid="host")
    assert killed.state.exit.code == 137 and killed.state.exit.signal == signal.SIGKILL


def test_stop_gives_the_process_its_signal_and_time(host: Host) -> None:
    container = running(
        host, "trap 'echo bye; exit 5' USR1; echo up; while :; do sleep 600 & wait; done", stop_signal="USR1"
    )
    eventually(lambda: b"up" in log(container))
    lifecycle.stop(container.engine, container)
    assert container.reload().state.exit.code == 5
    assert log(container) == b"up\nbye\n"


def test_stop_and_restart_send_the_signal_they_are_told(host: Host) -> None:
    container = running(host, "trap 'exit 6' USR2; echo up; while :; do sleep 600 & wait; done")
    eventually(lambda: b"up" in log(container))
    with pytest.raises(errors.UsageError, match="NOSUCH"):
        lifecycle.stop(container.engine, container, signal="NOSUCH")
    assert container.reload().state.desired == "running", "a mistake changes nothing"
    host.run("restart", "-s", "USR2", container.name)
    died = container.engine.events.read(filters={"event": ["die"], "container": [container.id]})
    assert [event.attributes["exitCode"] for event in died] == ["6"]
    eventually(lambda: log(container).count(b"up") == 2)
    host.run("stop", "--signal", "USR2", "-t", "-1", container.name)
    assert container.reload().state.exit.code == 6


def test_stop_escalates_to_sigkill_for_everything(host: Host) -> None:
    container = running(
        host, "trap '' TERM; echo up; sh -c 'trap \"\" TERM; sleep 600' & while :; do sleep 600 & wait; done"
    )
    eventually(lambda: b"up" in log(container))
    lifecycle.stop(container.engine, container, timeout=0.2)
    assert container.reload().state.exit.code == 137
    assert host.processes() == []


def test_stopping_a_paused_container_works(host: Host) -> None:
    container = running(host, "trap 'exit 3' TERM; echo up; while :; do sleep 600 & wait; done")
    eventually(lambda: b"up" in log(container))
    lifecycle.pause(container.engine, container)
    lifecycle.stop(container.engine, container)
    assert container.reload().status == STOPPED and container.state.exit.code == 3


def test_killing_a_paused_container_works(host: Host) -> None:
    container = running(host)
    lifecycle.pause(container.engine, container)
    lifecycle.kill(container.engine, container)
    assert container.reload().status == STOPPED and container.state.exit.code == 137


def test_kill_sends_the_asked_signal(host: Host) -> None:
    container = running(host, "trap 'echo got it' HUP; echo up; while :; do sleep 600 & wait; done")
    eventually(lambda: b"up" in log(container))
    lifecycle.kill(container.engine, container, "HUP")
    eventually(lambda: b"got it" in log(container))
    assert container.reload().status == RUNNING


def test_pause_stops_progress_and_unpause_resumes_it(host: Host, tmp_path: Path) -> None:
    script = "i=0; while :; do i=$((i+1)); echo $i > /data/new; mv /data/new /data/count; done"
    container = running(host, script, mounts=[Mount(kind="bind", source=str(tmp_path), target="/data")])
    count = tmp_path / "count"
    eventually(lambda: number_in(count) > 3)
    lifecycle.pause(container.engine, container)
    frozen = number_in(count)
    # as long as it took to count to that before: a running one would have moved on
    threading.Event().wait(0.3)
    assert number_in(count) == frozen
    lifecycle.unpause(container.engine, container)
    eventually(lambda: number_in(count) > frozen)


def test_restart_keeps_the_policy_and_the_writable_layer(host: Host) -> None:
    container = running(host, f"echo once more >> /note; wc -l < /note; {SLEEP}", restart="unless-stopped")
    eventually(lambda: log(container).split() == [b"1"])
    before = container.pid
    lifecycle.restart(container.engine, container).close()
    assert container.reload().pid not in (0, before)
    assert container.spec.restart == "unless-stopped"
    eventually(lambda: log(container).split() == [b"1", b"2"])


def test_a_policy_brings_it_back_until_it_is_stopped(host: Host) -> None:
    container = running(host, "echo run; exit 1", restart="always")
    eventually(lambda: log(container).count(b"run") >= 3)
    lifecycle.stop(container.engine, container)
    assert container.reload().status == STOPPED
    runs = log(container).count(b"run")
    assert host.processes() == []
    assert log(container).count(b"run") == runs and container.state.restarts >= 2


def test_on_failure_gives_up_after_its_count(host: Host) -> None:
    container = running(host, "echo run; exit 1", restart="on-failure:2")
    eventually(lambda: container.reload().status == STOPPED)
    assert log(container) == b"run\n" * 3 and container.state.restarts == 2


def test_the_back_off_shows_as_restarting(host: Host) -> None:
    container = running(host, "exit 1", restart="always")
    eventually(lambda: container.reload().status == RESTARTING)
    with pytest.raises(errors.IllegalTransition, match="restarting"):
        lifecycle.start(container.engine, container)
    lifecycle.remove(container.engine, container, force=True)
    assert host.census() == {}


def test_wait_returns_the_exit_code(host: Host) -> None:
    container = running(host, "read x < /fifo; exit 9" if False else "sleep 0.2; exit 9")
    assert lifecycle.wait(container.engine, container) == 9
    assert lifecycle.wait(container.engine, container) == 9


def test_wait_hears_of_a_container_that_removes_itself(host: Host) -> None:
    container = running(host, "sleep 0.2; exit 4", auto_remove=True)
    assert lifecycle.wait(container.engine, container) == 4
    eventually(lambda: host.census() == {})


def test_rename_moves_the_name(host: Host) -> None:
    engine = Engine(host.paths)
    container, other = created(host, name="one"), created(host, name="two")
    with pytest.raises(errors.Conflict, match="'two'"):
        lifecycle.rename(engine, container, "two")
    lifecycle.rename(engine, "one", "three")
    assert containers.find(engine, "three").id == container.id
    with pytest.raises(errors.NotFound):
        containers.find(engine, "one")
    lifecycle.rename(engine, other, "one")
    assert statuses(host) == {"three": CREATED, "one": CREATED}


def test_update_changes_limits_live_and_for_the_next_start(host: Host) -> None:
    container = running(host, limits=Limits(pids=50))
    engine = container.engine
    lifecycle.update(engine, container, pids=40, memory=64 << 20)
    text = "".join(
        Path(directory, "pids.max").read_text() for directory in groups_of(host) if Path(directory, "pids.max").exists()
    )
    assert text == "40\n"
    lifecycle.stop(engine, container)
    lifecycle.start(engine, container).close()
    text = "".join(
        Path(directory, "pids.max").read_text() for directory in groups_of(host) if Path(directory, "pids.max").exists()
    )
    assert text == "40\n"
    with pytest.raises(errors.UsageError, match="'nonsense' is no limit"):
        lifecycle.update(engine, container, nonsense=1)


def groups_of(host: Host) -> list[str]:
    return host.groups()


def test_a_birth_certificate_tells_every_step(host: Host) -> None:
    container = running(host, limits=Limits(pids=50))
    certificate = birth.load(host.paths, container.id)
    assert certificate is not None
    steps = [step.name for step in certificate.steps]
    wanted = [
        "resolve image",
        "writable layer",
        "cgroup + limits",
        "namespaces",
        "root filesystem",
        "privileges",
        "exec",
    ]
    assert [step for step in wanted if step not in steps] == []
    assert all(step.took_us >= 0 and step.at_us >= 0 for step in certificate.steps)
    assert certificate.total_us >= max(step.at_us for step in certificate.steps)


@pytest.mark.parametrize(
    ("command", "kind", "code"),
    [
        (["/no/such"], errors.CommandNotFound, 127),
        (["nosuchcommand"], errors.CommandNotFound, 127),
        (["/etc"], errors.CannotInvoke, 126),
    ],
)
def test_a_command_that_cannot_run_leaves_the_container_created_and_nothing_else(
    host: Host, command: list[str], kind: type[errors.PyctrError], code: int
) -> None:
    engine = Engine(host.paths)
    with pytest.raises(kind) as caught:
        lifecycle.run(engine, spec(name="bad", command=command))
    assert caught.value.exit_code == code
    assert statuses(host) == {"bad": CREATED}
    assert set(host.census()) == {"files"}
    with pytest.raises(kind):
        lifecycle.run(engine, spec(name="gone", command=command, auto_remove=True))
    assert statuses(host) == {"bad": CREATED}
    assert os.listdir(host.paths.pending) == []


def test_a_dry_run_makes_nothing(host: Host) -> None:
    engine = Engine(host.paths)
    before = sorted(os.listdir(host.paths.root))
    steps = lifecycle.plan(engine, spec(limits=Limits(memory=64 << 20))).describe()
    assert any("67108864" in text for _, text in steps)
    assert host.census() == {} and sorted(os.listdir(host.paths.root)) == before
