"""Exec, attach and foreground runs through real pipes and a real terminal; what inspect says about a real container."""

from __future__ import annotations

import os
import subprocess
import sys

from pyctr.core import doctor, inspect, lifecycle
from pyctr.core.engine import Engine
from pyctr.core.spec import Limits
from tests.support.host import Host

from .lifecycle_help import SLEEP, eventually, running

EXECUTE = """
import sys
from pyctr.core import errors, execution
from pyctr.core.engine import Engine
try:
    code = execution.execute(Engine(), sys.argv[1], sys.argv[3:], stdin="i" in sys.argv[2], tty="t" in sys.argv[2])
except errors.PyctrError as error:
    print(error, file=sys.stderr)
    code = error.exit_code
sys.exit(200 if code is None else code)
"""
FOREGROUND = """
import sys
from pyctr.core import execution, lifecycle
from pyctr.core.engine import Engine
from pyctr.core.spec import ContainerSpec
spec = ContainerSpec(image="localhost/base:latest", name="fore", command=["sh", "-c", sys.argv[1]], network="none",
                     auto_remove=True, stdin_open=True)
engine = Engine()
container, launched = lifecycle.run(engine, spec, attach=True)
sys.exit(execution.foreground(engine, container, launched, stdin=True))
"""


def client(host: Host, code: str, *words: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", code, *words], env=host.env, input=input, capture_output=True, timeout=60
    )


def test_exec_runs_inside_with_its_own_exit_code_and_streams(host: Host) -> None:
    container = running(host, name="one")
    done = client(host, EXECUTE, "one", "i", "sh", "-c", "cat; echo err >&2; hostname; exit 7", input=b"hello\n")
    assert done.returncode == 7 and done.stderr == b"err\n"
    assert done.stdout.decode().split() == ["hello", container.short_id]


def test_exec_exit_codes_are_a_shells(host: Host) -> None:
    running(host, name="one")
    assert client(host, EXECUTE, "one", "", "/no/such").returncode == 127
    assert client(host, EXECUTE, "one", "", "/etc").returncode == 126
    assert client(host, EXECUTE, "one", "", "sh", "-c", "kill -9 $$").returncode == 137


def test_detach_keys_leave_an_exec_running(host: Host) -> None:
    container = running(host, name="one")
    master, slave = os.openpty()
    asked = subprocess.Popen(
        [sys.executable, "-c", EXECUTE, "one", "it", "sh", "-c", "echo up; sleep 600"],
        env=host.env,
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    seen = b""
    while b"up" not in seen:
        seen += os.read(master, 1024)
    os.write(master, b"\x10")
    os.write(master, b"\x11")
    assert asked.wait(20) == 200
    os.close(master)
    assert len(container.engine.group(container.state.group).pids()) >= 3


def test_a_foreground_run_passes_everything_through_and_leaves_nothing(host: Host) -> None:
    done = client(host, FOREGROUND, "cat; echo err >&2; exit 5", input=b"x" * 300_000)
    assert (done.returncode, len(done.stdout), done.stderr) == (5, 300_000, b"err\n")
    assert host.census() == {} and os.listdir(host.paths.pending) == []


def test_a_signal_to_the_client_reaches_the_container(host: Host) -> None:
    script = "trap 'echo term; exit 3' TERM; echo up; while :; do sleep 600 & wait; done"
    asked = subprocess.Popen(
        [sys.executable, "-c", FOREGROUND, script], env=host.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert asked.stdout is not None and asked.stdout.readline() == b"up\n"
    asked.terminate()
    assert asked.stdout.read() == b"term\n"
    assert asked.wait(20) == 3


def test_a_client_killed_in_the_foreground_leaves_the_container_to_its_shim(host: Host) -> None:
    asked = subprocess.Popen(
        [sys.executable, "-c", FOREGROUND, "echo up; read x; sleep 0.1"],
        env=host.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert asked.stdout is not None and asked.stdout.readline() == b"up\n"
    asked.kill()
    asked.wait()
    lifecycle.kill(Engine(host.paths), "fore")
    eventually(lambda: host.census() == {})


def test_inspect_speaks_dockers_words(host: Host) -> None:
    container = running(host, SLEEP, name="one", limits=Limits(memory=64 << 20, cpus=0.5), labels={"a": "b"})
    found = inspect.document(container, size=True)
    assert found["State"]["Status"] == "running" and found["State"]["Pid"] == container.pid
    assert found["HostConfig"]["Memory"] == 64 << 20 and found["HostConfig"]["NanoCpus"] == 500_000_000
    assert found["Config"]["Labels"]["a"] == "b" and found["Name"] == "/one" and found["SizeRw"] >= 0
    assert found["BirthCertificate"]["steps"]
    lifecycle.kill(container.engine, container)
    state = inspect.document(container.reload())["State"]
    assert (state["Status"], state["ExitCode"], state["Pid"]) == ("exited", 137, 0)


def test_doctor_finds_this_host_good_enough(host: Host) -> None:
    findings = doctor.examine(Engine(host.paths))
    assert doctor.worst(findings) != doctor.BAD, findings
    assert all(finding.hint for finding in findings if finding.level == doctor.BAD)
    assert {"kernel", "cgroups", "storage", "records"} <= {finding.topic for finding in findings}
