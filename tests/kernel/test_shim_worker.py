"""A shim has its work done by short-lived copies: it stays small, and killing them leaves nothing half-made."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyctr.core import errors
from pyctr.core.runtime.launch import Launched
from tests.support.bundle import Bundle, gone
from tests.support.host import Host
from tests.support.processes import named


@pytest.fixture
def bundle(bare_host: Host) -> Iterator[Bundle]:
    yield Bundle(bare_host)
    left = bare_host.census()
    assert not left, f"left behind: {left}"


def private(pid: int) -> int:
    """kB of memory that it has written to and shares with nobody: proc_pid_smaps_rollup(5)."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(next(line for line in rollup.splitlines() if line.startswith("Private_Dirty:")).split()[1])


@pytest.fixture(scope="module")
def interpreter() -> int:
    """What one has that has done nothing but start."""
    command = [getattr(sys, "_base_executable", sys.executable), "-IS", "-c", "print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as bare:
        assert bare.stdin and bare.stdout
        bare.stdout.readline()
        size = private(bare.pid)
        bare.stdin.write(b"\n")
        bare.stdin.close()
    return size


def eventually(what: Callable[[], Any], patience: float = 60) -> Any:
    deadline = time.monotonic() + patience
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found, "it did not come to that"
    return found


def shim_of(host: Host, name: str) -> int:
    return int(host.run("inspect", "-f", "{{.State.ShimPid}}", name).stdout)


def test_an_idle_shim_from_a_launcher_has_little_memory_of_its_own(host: Host, interpreter: int) -> None:
    for number in range(3):
        host.run("run", "-d", "--name", f"idle{number}", "--network", "none", "base", "sleep", "1000")
    # the first one is the interpreter that the launcher was forked from
    shims = [shim_of(host, f"idle{number}") for number in (1, 2)]
    eventually(lambda: not named(host, "pyctr-worker"))
    sizes = [private(shim) for shim in shims]
    assert max(sizes) < interpreter * 0.35, f"{sizes} of {interpreter} kB"
    # also when it has been woken up: by output for its log, somebody to attach, further processes
    for number in range(5):
        assert host.run("exec", "idle1", "echo", str(number)).stdout == f"{number}\n"
    eventually(lambda: not named(host, "pyctr-worker"))
    assert private(shims[0]) < interpreter * 0.85, f"{private(shims[0])} of {interpreter} kB"
    assert host.run("stop", "-t", "0", "idle1", "idle2").stdout.split() == ["idle1", "idle2"]
    assert host.run("inspect", "-f", "{{.State.ExitCode}}", "idle2").stdout == "137\n"


def test_a_shim_that_has_written_a_log_and_probed_has_little_memory_of_its_own(host: Host, interpreter: int) -> None:
    # the first one has the launcher
    host.run("run", "-d", "--name", "first", "--network", "none", "base", "sleep", "1000")
    script = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.05; done"
    check = ["--health-cmd", "true", "--health-interval", "100ms"]
    host.run("run", "-d", "--name", "busy", "--network", "none", *check, "base", "sh", "-c", script)
    eventually(lambda: host.run("inspect", "-f", "{{.State.Health.Status}}", "busy").stdout == "healthy\n")
    eventually(lambda: "line 60\n" in host.run("logs", "busy").stdout)
    size = private(shim_of(host, "busy"))
    assert size < interpreter * 0.95, f"{size} of {interpreter} kB"
    lines = host.run("logs", "busy").stdout.splitlines()
    assert lines == [f"line {number}" for number in range(1, len(lines) + 1)]
    host.run("rm", "-f", "busy", "first")


def test_a_sleeping_shim_hears_whatever_happens_to_its_container(host: Host) -> None:
    script = "while [ ! -e /go ]; do sleep 0.05; done; echo said; exit 7"
    for name, flags in (("pipes", ["-d"]), ("input", ["-di"]), ("terminal", ["-dt"]), ("thrown", ["-d", "--rm"])):
        host.run("run", *flags, "--name", name, "--network", "none", "base", "sh", "-c", script)
    eventually(lambda: not named(host, "pyctr-worker"))
    for name in ("pipes", "input", "terminal", "thrown"):
        pid = host.run("inspect", "-f", "{{.State.Pid}}", name).stdout.strip()
        Path(f"/proc/{pid}/root/go").touch()
    for name in ("pipes", "input", "terminal"):
        assert host.run("wait", name).stdout == "7\n"
        assert host.run("logs", name).stdout.split() == ["said"]
    eventually(lambda: "thrown" not in host.run("ps", "-a").stdout)
    host.run("rm", "pipes", "input", "terminal")


def hooked(bundle: Bundle, script: str, *args: str) -> dict[str, Any]:
    """A configuration whose creation waits for a hook."""
    config = bundle.config(*args)
    config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    return config


def pid_namespace(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except (FileNotFoundError, ProcessLookupError):
        return 0


def end(host: Host) -> None:
    """Kill the one worker that is there, and wait for its end."""
    here = os.stat("/proc/self/ns/pid").st_ino
    # an init on its way has the same name still
    (worker,) = eventually(lambda: [pid for pid in named(host, "pyctr-worker") if pid_namespace(pid) == here])
    os.kill(worker, signal.SIGKILL)
    gone(worker)


def test_a_start_whose_worker_is_killed_fails_and_leaves_nothing(bundle: Bundle) -> None:
    waits = bundle.path / "waits"
    config = hooked(bundle, f"echo $$ > {waits}; exec sleep 1000", "sleep", "1000")
    said: list[errors.PyctrError] = []

    def start() -> None:
        try:
            bundle.start(config)
        except errors.PyctrError as error:
            said.append(error)

    client = threading.Thread(target=start)
    client.start()
    eventually(lambda: waits.exists() and waits.read_text().endswith("\n"))
    end(bundle.host)
    client.join(60)
    os.kill(int(waits.read_text()), signal.SIGKILL)  # nobody else ends a hook whose runtime was killed
    assert [type(error) for error in said] == [errors.RuntimeFailure] and "died during the start" in said[0].message
    eventually(lambda: not named(bundle.host, "pyctr-shim"))


def test_a_restart_whose_worker_is_killed_is_on_record_and_leaves_nothing(bundle: Bundle) -> None:
    waits = bundle.path / "waits"
    once = bundle.path / "once"
    script = f"[ -e {once} ] || {{ : > {once}; exit; }}; echo $$ > {waits}; exec sleep 1000"
    launched: Launched = bundle.start(hooked(bundle, script, "false"), spec={"restart": "always"}, attach=True)
    eventually(lambda: waits.exists() and waits.read_text().endswith("\n"))
    end(bundle.host)
    os.kill(int(waits.read_text()), signal.SIGKILL)
    result = bundle.finish(launched)
    assert result.code == errors.RuntimeFailure.exit_code and "killed" in result.exit["error"]
    gone(launched.shim_pid)
