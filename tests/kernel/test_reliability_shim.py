"""A shim short of descriptors, with a viewer that does not read, or killed: what is shown is true, nothing is lost."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.host import Host

COUNT = "i=0; while sleep 0.05; do i=$((i+1)); echo $i; done"


def inspected(host: Host, name: str) -> dict[str, object]:
    return dict(json.loads(host.run("inspect", "-f", "{{json .State}}", name).stdout))


def processor_ticks(pid: int) -> int:
    """utime and stime of proc_pid_stat(5), in 1/100 s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_a_shim_without_a_free_descriptor_waits_instead_of_spinning(host: Host) -> None:
    low = 40
    subprocess.run(
        host.command("run", "-d", "--name", "few", "--network", "none", "base", "sh", "-c", COUNT),
        env=host.env,
        check=True,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (low, low)),
    )
    shim = int(str(inspected(host, "few")["ShimPid"]))
    path = next(Path(host.paths.run, "containers").glob("*/shim.sock"))
    crowd = []
    try:
        deadline = time.monotonic() + 60
        full = 0
        while full < 5 and time.monotonic() < deadline:
            full += len(os.listdir(f"/proc/{shim}/fd")) >= low
            crowd.append(socket.socket(socket.AF_UNIX))
            crowd[-1].setblocking(False)
            try:
                crowd[-1].connect(str(path))
            except BlockingIOError:
                time.sleep(0.05)  # the line is as long as it lets, and nothing announces that it got shorter
        assert full == 5, "it was never without a free descriptor"
        before = processor_ticks(shim)
        time.sleep(1)  # what is measured is what happens in it
        assert processor_ticks(shim) - before < 20, "it spins on connections that it cannot take"
    finally:
        for one in crowd:
            one.close()
    # the line has gone: it serves again, and lost no output
    assert host.run("exec", "few", "echo", "alive").stdout == "alive\n"
    lines = host.run("logs", "few").stdout.split()
    assert lines == [str(number) for number in range(1, len(lines) + 1)]


def test_a_viewer_that_does_not_read_is_told_why_it_was_let_go_and_the_log_has_all(host: Host) -> None:
    script = "read go; seq 1 2000000; sleep 1000"
    host.run("run", "-di", "--name", "big", "--network", "none", "--log-opt", "max-size=-1", "base", "sh", "-c", script)
    with (
        subprocess.Popen(
            host.command("attach", "--sig-proxy=false", "big"),
            env=host.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as viewer,
        subprocess.Popen(host.command("logs", "-f", "big"), env=host.env, stdout=subprocess.PIPE) as reader,
    ):
        assert viewer.stdin and viewer.stdout and viewer.stderr and reader.stdout
        viewer.stdin.write(b"go\n")
        viewer.stdin.flush()
        # the reader stands for somebody who looks later: it is stopped by its full pipe meanwhile
        log = next(Path(host.paths.containers).glob("*/log/ctr.log"))
        deadline = time.monotonic() + 60
        while b" 2000000\n" not in log.read_bytes()[-100:] and time.monotonic() < deadline:
            time.sleep(0.1)
        viewer.stdout.read()
        assert viewer.wait(30) == 125
        said = viewer.stderr.read().decode()
        assert "fell too far behind" in said and "killed" not in said
        shim = int(str(inspected(host, "big")["ShimPid"]))
        peak = next(line for line in Path(f"/proc/{shim}/status").read_text().splitlines() if line.startswith("VmHWM"))
        assert int(peak.split()[1]) < 64 << 10, "memory of the shim is bounded"
        found = [reader.stdout.readline() for _ in range(2_000_000)]
        reader.kill()
    assert found == [b"%d\n" % number for number in range(1, 2_000_001)]


def test_what_is_shown_of_a_container_without_its_shim_is_true(host: Host) -> None:
    host.run("run", "-di", "--name", "orphan", "--network", "none", "base", "sh", "-c", "mkfifo /f; read x </f; exit 3")
    state = inspected(host, "orphan")
    shim, pid = int(str(state["ShimPid"])), int(str(state["Pid"]))
    ends = [os.pidfd_open(shim), os.pidfd_open(pid)]
    os.kill(shim, signal.SIGKILL)
    select.select([ends[0]], [], [], 10)
    assert "Up" in host.run("ps", "--format", "{{.Status}}").stdout
    for verb in (["exec", "orphan", "true"], ["attach", "orphan"]):
        done = host.run(*verb, check=False)
        assert done.returncode == 1
        assert "the shim of container 'orphan' was killed" in done.stderr
        assert "pyctr restart orphan" in done.stderr
    Path(f"/proc/{pid}/root/f").open("w").close()
    select.select([ends[1]], [], [], 10)
    for fd in ends:
        os.close(fd)
    state = inspected(host, "orphan")
    assert (state["Status"], state["ExitCode"]) == ("exited", 255)
    assert state["Error"] == "its shim was killed, the exit code is unknown"
    assert host.run("ps", "-a", "--format", "{{.Status}}").stdout == "Exited (unknown)\n"
    assert host.run("wait", "orphan").stdout == "255\n"
    host.run("start", "orphan")
    assert inspected(host, "orphan")["ShimPid"] != shim


@pytest.mark.parametrize("descriptors", [7, 10, 13, 16, 20, 40])
def test_a_client_short_of_descriptors_leaves_nothing_half_made(host: Host, descriptors: int) -> None:
    done = subprocess.run(
        host.command("run", "--rm", "base", "echo", "hi"),
        env={**host.env, "PYCTR_LAUNCHER": "0"},
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors)),
    )
    assert (done.returncode, done.stdout) == (0, "hi\n") or (done.returncode and done.stderr.startswith("pyctr: "))
    # what could not be undone without a descriptor is by the next verb that has some
    host.run("run", "--rm", "--network", "none", "base", "true")
    assert host.run("ps", "-aq").stdout == ""
    assert host.census() == {}


def test_a_storage_driver_is_not_chosen_because_descriptors_were_short(host: Host) -> None:
    driver = Path(host.paths.run, "storage-driver")
    for descriptors in range(5, 24):
        subprocess.run(
            host.command("create", "base"),
            env=host.env,
            capture_output=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors)),  # noqa: B023
        )
        assert not driver.exists() or driver.read_text() == "overlay", descriptors
    assert not list(Path(host.paths.containers).glob(".overlay-*"))
