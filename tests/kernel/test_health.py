"""Health checks of real containers: what the probes find, what they may do, and what is left of them."""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyctr.core import errors, execution, health, lifecycle
from pyctr.core.containers import Container
from pyctr.core.linux import inotify, procfs
from pyctr.core.spec import Health
from tests.kernel.lifecycle_help import created, eventually, finished, number_in, running
from tests.support.bundle import gone
from tests.support.host import Host

pytestmark = pytest.mark.kernel

RARELY = 3600.0
"""An interval that does not come: the test asks for each probe."""
COUNT = "echo $(( $(cat /tmp/n 2>/dev/null) + 1 )) > /tmp/n.new; mv /tmp/n.new /tmp/n; "


def check(script: str, **fields: Any) -> Health:
    return Health(**{"test": ["CMD-SHELL", script], "interval": RARELY, **fields})


def state(container: Container) -> dict[str, Any]:
    return health.load(container.reload(), container.status)


def probe(container: Container) -> tuple[int, str]:
    return execution.check_health(container.engine, container.id)


def changes(container: Container) -> Iterator[str]:
    """The news about its health from its creation on, as they come."""
    journal = container.engine.events
    filters = {"event": ["health_status"], "container": [container.id]}
    for event in journal.follow(int(container.state.created_at * 1e9), filters):
        yield event.action


def inside(container: Container) -> list[int]:
    return container.engine.group(container.state.group).pids()


def probes(container: Container) -> int:
    """How many COUNT has counted, seen from outside."""
    return number_in(Path(f"/proc/{container.pid}/root/tmp/n"))


def test_a_successful_probe_makes_it_healthy_for_every_face(host: Host) -> None:
    container = running(host, name="web", health=check("true", interval=0.3))
    news = changes(container)
    assert next(news) == "health_status: healthy"
    assert "(healthy)" in host.run("ps").stdout
    assert host.run("ps", "-q", "--filter", "health=healthy").stdout.strip() == container.short_id
    assert host.run("ps", "-q", "--filter", "health=unhealthy").stdout == ""
    shown = host.run("events", "--since", "5m", "--until", "0s", "--filter", "event=health_status").stdout
    assert "container health_status: healthy" in shown
    found = json.loads(host.run("inspect", "web").stdout)[0]
    assert found["Config"]["Healthcheck"] == {"Test": ["CMD-SHELL", "true"], "Interval": 300_000_000}
    assert set(found["State"]["Health"]) == {"Status", "FailingStreak", "Log"}
    last = found["State"]["Health"]["Log"][-1]
    assert (last["ExitCode"], last["Output"]) == (0, "")
    assert "2026" <= last["Start"] <= last["End"]
    assert last["End"].endswith("Z")
    lifecycle.remove(container.engine, container, force=True)
    assert host.census() == {}


def test_it_becomes_unhealthy_after_the_retries_and_healthy_again(host: Host) -> None:
    container = running(host, health=check("cat /tmp/ok || { echo down >&2; exit 3; }", retries=2))
    assert state(container) == {"status": "starting", "streak": 0, "log": []}
    assert "(health: starting)" in host.run("ps").stdout
    assert probe(container) == (3, "starting")
    assert probe(container) == (3, "unhealthy")
    found = state(container)
    assert (found["streak"], [entry["code"] for entry in found["log"]]) == (2, [3, 3])
    assert found["log"][0]["output"].endswith("down\n")
    assert "(unhealthy)" in host.run("ps").stdout
    assert execution.execute(container.engine, container, ["touch", "/tmp/ok"]) == 0
    assert probe(container) == (0, "healthy")
    news = changes(container)
    assert [next(news), next(news)] == ["health_status: unhealthy", "health_status: healthy"]


def test_the_command_line_runs_one_probe_and_tells_by_its_code(host: Host) -> None:
    host.run("run", "-d", "--name", "one", "--network", "none", "--health-cmd", "test -e /tmp/ok", "--health-interval",
             "1h", "base", "sleep", "1000")  # fmt: skip
    done = host.run("healthcheck", "run", "one", check=False)
    assert (done.returncode, done.stdout) == (1, "starting\n")
    host.run("exec", "one", "touch", "/tmp/ok")
    done = host.run("healthcheck", "run", "one")
    assert (done.returncode, done.stdout) == (0, "")
    host.run("run", "-d", "--name", "none", "--network", "none", "base", "sleep", "1000")
    done = host.run("healthcheck", "run", "none", check=False)
    assert done.returncode == 125
    assert "no health check" in done.stderr
    assert "Health" not in json.loads(host.run("inspect", "none").stdout)[0]["State"]
    assert host.run("ps", "--filter", "health=none", "--format", "{{.Names}}").stdout == "none\n"


def test_failures_of_the_start_period_are_not_counted(host: Host) -> None:
    script = COUNT + "test -e /tmp/ok"
    container = running(host, health=check(script, retries=1, start_period=RARELY, start_interval=0.02))
    eventually(lambda: probes(container) >= 3)
    assert (state(container)["status"], state(container)["streak"]) == ("starting", 0)
    execution.execute(container.engine, container, ["touch", "/tmp/ok"])
    assert next(changes(container)) == "health_status: healthy"


def test_a_hanging_probe_is_killed_with_everything_it_started(host: Host) -> None:
    script = "sleep 1001 & setsid sleep 1002 & (setsid sh -c 'sleep 1003; :' &) ; echo waiting; sleep 1004"
    container = running(host, "exec sleep 1000", health=check(script, timeout=0.5, retries=1))
    before = inside(container)
    assert probe(container) == (-1, "unhealthy")
    entry = state(container)["log"][-1]
    assert entry["output"] == "health check exceeded timeout (500ms): waiting\n"
    assert 0.5 <= entry["end"] - entry["start"] < 20
    eventually(lambda: inside(container) == before)
    # the next one runs: nothing waits for the old one
    assert probe(container)[0] == -1
    eventually(lambda: inside(container) == before)


def test_output_is_cut_and_the_last_five_results_are_kept(host: Host) -> None:
    script = COUNT + "cat /tmp/n; head -c 300000 /dev/zero | tr '\\0' x; exit 9"
    container = running(host, health=check(script))
    for _ in range(7):
        assert probe(container)[0] == 9
    log = state(container)["log"]
    assert [entry["output"][:2] for entry in log] == ["3\n", "4\n", "5\n", "6\n", "7\n"]
    assert all(len(entry["output"]) == 4096 + 3 and entry["output"].endswith("xx...") for entry in log)


def test_a_command_that_does_not_exist_is_a_failure_in_words(host: Host) -> None:
    container = running(host, health=Health(test=["CMD", "no-such-probe"], interval=RARELY))
    assert probe(container) == (-1, "starting")
    assert "'no-such-probe': executable file not found in $PATH" in state(container)["log"][0]["output"]


def test_a_probe_is_the_containers_user_with_its_environment_and_no_more_rights(host: Host) -> None:
    script = (
        "id -u; echo $COLOUR; pwd; grep -E 'CapEff|NoNewPrivs|^Seccomp:' /proc/self/status; ls /proc/self/fd | wc -l"
    )
    container = running(
        host, user="1234", env=["COLOUR=blue"], workdir="/tmp", init=True, tty=True, health=check(script)
    )
    assert probe(container)[0] == 0
    uid, colour, directory, *rest = state(container)["log"][0]["output"].split("\n")
    assert (uid, colour, directory) == ("1234", "blue", "/tmp")
    # the command below `--init`
    first = procfs.status(procfs.children(container.pid)[0])
    assert [line.split() for line in rest[:3]] == [
        [f"{key}:", first[key]] for key in ("CapEff", "NoNewPrivs", "Seccomp")
    ]
    assert rest[3] == "4", "0, 1, 2 and the directory that is listed"


def test_a_paused_container_is_not_probed(host: Host) -> None:
    container = running(host, health=check(COUNT, interval=0.02, timeout=0.1))
    eventually(lambda: probes(container) > 2)
    lifecycle.pause(container.engine, container)
    watch = inotify.init()
    try:
        inotify.add_watch(watch, host.paths.runtime(container.id), inotify.IN_MOVED_TO)
        # a result that came just before is written now; after that nothing, though five timeouts pass
        if select.select([watch], [], [], 0.2)[0]:
            inotify.drain(watch)
        before = probes(container), state(container)
        assert not select.select([watch], [], [], 0.5)[0]
    finally:
        os.close(watch)
    assert (probes(container), state(container)) == before
    assert "(Paused)" in host.run("ps").stdout
    lifecycle.unpause(container.engine, container)
    eventually(lambda: probes(container) > before[0] + 2)


def test_an_end_during_a_probe_is_no_failure_of_it(host: Host) -> None:
    container = running(
        host,
        "while ! test -e /tmp/probing; do :; done; exit 4",
        health=check("touch /tmp/probing; sleep 1000", interval=0.01, retries=1),
    )
    assert lifecycle.wait(container.engine, container) == 4
    container.reload()
    assert state(container) == {"status": "unhealthy", "streak": 0, "log": []}
    events = container.engine.events

    def actions() -> list[str]:
        return [event.action for event in events.read(filters={"container": [container.id]})]

    eventually(lambda: "die" in actions())  # written after the record of the end, which is what wait waits for
    assert actions() == ["create", "start", "die"]
    lifecycle.remove(container.engine, container)
    assert host.census() == {}


def test_what_the_last_probe_said_is_kept_after_the_end_until_the_next_start(host: Host) -> None:
    container = running(host, "sleep 1000", health=check("echo fine"))
    assert probe(container) == (0, "healthy")
    lifecycle.stop(container.engine, container, 0)
    found = json.loads(host.run("inspect", container.id).stdout)[0]["State"]["Health"]
    assert (found["Status"], found["Log"][0]["Output"]) == ("unhealthy", "fine\n")
    assert "healthy" not in host.run("ps", "-a").stdout
    with pytest.raises(errors.IllegalTransition):
        probe(container)
    lifecycle.start(container.engine, container).close()
    assert state(container) == {"status": "starting", "streak": 0, "log": []}
    assert not os.path.exists(container.path(health.FILE))


def test_a_restart_by_policy_starts_from_the_beginning(host: Host) -> None:
    container = running(host, "sleep 1000", restart="always", health=check("true"))
    assert probe(container) == (0, "healthy")
    first = container.pid
    os.kill(first, signal.SIGKILL)
    starts = container.engine.events.follow(
        int(container.state.created_at * 1e9), {"event": ["start"], "container": [container.id]}
    )
    assert [next(starts).action, next(starts).action] == ["start", "start"]
    assert container.reload().pid not in (0, first)
    assert state(container) == {"status": "starting", "streak": 0, "log": []}
    assert probe(container) == (0, "healthy")


def test_a_killed_shim_takes_its_probe_along_and_nobody_calls_the_container_healthy(host: Host) -> None:
    container = running(host, "exec sleep 1000", health=check("test -e /tmp/n && exec sleep 1001; touch /tmp/n"))
    before = inside(container)
    assert probe(container) == (0, "healthy")
    process = container.state.process
    assert process is not None
    with pytest.raises(errors.RuntimeFailure):
        _kill_while_probing(container, process.shim_pid, before)
    assert inside(container) == before
    assert state(container)["status"] == "unhealthy"
    assert "(unhealthy)" in host.run("ps").stdout
    lifecycle.remove(container.engine, container, force=True)
    assert host.census() == {}


def _kill_while_probing(container: Container, shim: int, before: list[int]) -> None:
    from pyctr.core.runtime import attach, sync

    connection = attach.connect(container.engine.paths, container.id)
    try:
        connection.send(sync.frame(sync.HEALTH))
        eventually(lambda: any(_command(pid) == b"sleep\x001001\x00" for pid in inside(container)))
        hanging = [pid for pid in inside(container) if pid not in before]
        os.kill(shim, signal.SIGKILL)
        for pid in hanging[:1]:
            gone(pid)
        eventually(lambda: inside(container) == before)
        connection.check_health()
    finally:
        connection.close()


def _command(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def test_probes_leave_no_zombie_and_no_descriptor(host: Host) -> None:
    container = running(host, "exec sleep 1000", health=check(f"{COUNT} true & true", interval=0.01))
    process = container.state.process
    assert process is not None
    eventually(lambda: probes(container) >= 2)
    probe(container)
    held = len(_descriptors(process.shim_pid))
    eventually(lambda: probes(container) >= 30)
    lifecycle.pause(container.engine, container)
    try:
        # init, and perhaps a frozen probe
        eventually(lambda: len(_children(process.shim_pid)) <= 2)
        eventually(lambda: len(_descriptors(process.shim_pid)) <= held + 4)
    finally:
        lifecycle.unpause(container.engine, container)
    eventually(lambda: _children(process.shim_pid) == [process.pid])


def _descriptors(shim: int) -> list[str]:
    return os.listdir(f"/proc/{shim}/fd")


def _children(shim: int) -> list[int]:
    """Zombies, too; without the launcher that the first shim leaves behind for some seconds."""
    found = []
    for pid in procfs.children(shim):
        try:
            if procfs.stat(pid).comm != "pyctr-launcher":
                found.append(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue  # reaped meanwhile
    return found


@pytest.mark.parametrize("fields", [{"pid": "host"}, {"auto_remove": True}])
def test_the_end_leaves_nothing_of_a_running_probe(host: Host, fields: dict[str, Any]) -> None:
    hang = check("touch /tmp/probing; sleep 1000", interval=0.01)
    container = running(host, "while ! test -e /tmp/probing; do :; done", health=hang, **fields)
    lifecycle.wait(container.engine, container)
    if not fields.get("auto_remove"):
        lifecycle.remove(container.engine, container)
    eventually(lambda: host.census() == {})


def test_no_healthcheck_and_created_ones_have_no_health(host: Host) -> None:
    container = created(host, health=check("true"))
    assert state(container)["status"] == "none"
    assert "Health" not in json.loads(host.run("inspect", container.id).stdout)[0]["State"]
    done = finished(host, "true", health=Health(test=["NONE"]))
    assert state(done)["status"] == "none"
    assert not os.path.exists(done.path(health.FILE))


def test_a_bad_check_is_refused_in_words(host: Host) -> None:
    for words, said in (
        (("--no-healthcheck", "--health-cmd", "x"), "--no-healthcheck: excludes"),
        (("--health-interval", "5s"), "no health check whose times"),
        (("--health-cmd", "x", "--health-timeout", "100us"), "--health-timeout: too short"),
        (("--health-cmd", "x", "--health-retries", "-1"), "--health-retries: '-1' is negative"),
    ):
        done = host.run("create", *words, "base", check=False)
        assert done.returncode == 125
        assert said in done.stderr
    done = host.run("ps", "--filter", "health=well", check=False)
    assert "'well' does not exist" in done.stderr
