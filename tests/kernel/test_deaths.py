"""Why a container died is still known when somebody looks: real kills for memory, signals, crashes and codes."""

from __future__ import annotations

import json
import os
import platform
import signal
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from pyctr.core import containers, deaths
from pyctr.core.engine import Engine
from pyctr.core.linux import kmsg
from tests.kernel.lifecycle_help import eventually
from tests.support.bundle import gone
from tests.support.host import Host

EAT = "echo filling >&2; exec head -c 60000000 /dev/zero >/dev/shm/x"


def deaths_of(host: Host, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in host.run("deaths", "--all", "--json", name).stdout.splitlines()]


def crasher(path: Path) -> None:
    """A program of one segment that writes to address 0."""
    code = bytes.fromhex("31c08900")  # xor eax, eax; mov [rax], eax
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 120 + len(code), 120 + len(code), 0x1000)
    path.write_bytes(header + segment + code)
    path.chmod(0o755)


def test_137_for_memory_and_137_by_somebody_are_told_apart(host: Host) -> None:
    host.run(
        "run",
        "-d",
        "--name",
        "eater",
        "--network",
        "none",
        "-m",
        "24m",
        "--memory-swap",
        "24m",
        "base",
        "sh",
        "-c",
        EAT,
    )
    host.run("run", "-d", "--name", "victim", "--network", "none", "-m", "24m", "base", "sleep", "1000")
    os.kill(containers.find(Engine(host.paths), "victim").pid, signal.SIGKILL)
    assert host.run("wait", "eater", "victim").stdout.split() == ["137", "137"]

    (eaten,) = deaths_of(host, "eater")
    assert (eaten["cause"], eaten["code"], eaten["signal"]) == (deaths.OOM, 137, 9)
    assert eaten["memory"]["events"]["oom_kill"] == 1
    assert eaten["memory"]["peak"] == pytest.approx(eaten["memory"]["limit"], rel=0.05)
    assert [text for _, _, text in eaten["log"]] == ["filling"]
    assert {"create", "start"} <= {event["action"] for event in eaten["events"]}
    if any(True for _ in kmsg.records()):
        (kill,) = eaten["kernel"]["oom"]
        assert (kill["pid"], kill["whole_host"]) == (eaten["pid"], False)
        assert kill["name"] and 0 < kill["rss"] <= 100 << 20
    assert "OOM-killed at 24" in host.run("deaths", "eater").stdout

    (killed,) = deaths_of(host, "victim")
    assert (killed["cause"], killed["code"], killed["memory"]["events"]["oom_kill"]) == (deaths.KILLED, 137, 0)
    assert "killed by SIGKILL from outside, not for memory" in host.run("deaths", "victim").stdout

    listed = host.run("deaths").stdout
    assert "eater" in listed and "victim" in listed
    (inspected,) = json.loads(host.run("inspect", "eater").stdout)
    assert inspected["LastDeath"]["cause"] == deaths.OOM
    assert host.run("deaths", "--prune", "eater").stdout == "1\n"
    assert deaths_of(host, "eater") == [] and deaths_of(host, "victim") != []


@pytest.mark.skipif(platform.machine() != "x86_64", reason="its crashing program is for x86-64")
def test_a_crash_is_named_and_a_code_is_its_own(host: Host) -> None:
    program = Path(host.base, "crash")
    crasher(program)
    host.run("run", "-d", "--name", "crash", "--network", "none", "-v", f"{program}:/crash:ro", "base", "/crash")
    host.run("run", "-d", "--name", "bad", "--network", "none", "base", "sh", "-c", "echo no luck >&2; exit 1")
    host.run("run", "-d", "--name", "well", "--network", "none", "base", "true")
    host.run("run", "-d", "--name", "asked", "--network", "none", "base", "sleep", "1000")
    host.run("stop", "-t", "0", "asked")
    assert host.run("wait", "crash", "bad", "well", "asked").stdout.split() == ["139", "1", "0", "137"]
    (crash,) = deaths_of(host, "crash")
    assert (crash["cause"], crash["signal"]) == (deaths.CRASHED, signal.SIGSEGV)
    assert "crashed: SIGSEGV" in host.run("deaths", "crash").stdout
    (bad,) = deaths_of(host, "bad")
    assert (bad["cause"], bad["code"], [text for _, _, text in bad["log"]]) == (deaths.FAILED, 1, ["no luck"])
    assert deaths_of(host, "well") == [], "what ended well did not die"
    assert deaths_of(host, "asked") == [], "what the user stopped did not die"
    refused = host.run("deaths", "asked", check=False)
    assert refused.returncode == 1 and "somebody stopped it" in refused.stderr


def test_a_rm_containers_death_outlives_it(host: Host) -> None:
    host.run("run", "-d", "--rm", "--name", "away", "--network", "none", "base", "sh", "-c", "echo so long; exit 7")
    host.run("run", "--rm", "--name", "seen", "--network", "none", "base", "sh", "-c", "exit 7", check=False)
    deadline = time.monotonic() + 30
    while containers.ids(host.paths) and time.monotonic() < deadline:
        time.sleep(0.05)
    (away,) = deaths_of(host, "away")
    assert (away["code"], [text for _, _, text in away["log"]]) == (7, ["so long"])
    found = deaths.gone(Engine(host.paths))
    assert [document["name"] for document in found] == ["away"], "the other one's user has seen it end"
    host.run("deaths", "--prune")
    assert deaths.gone(Engine(host.paths)) == []


def test_the_newest_deaths_of_a_crash_loop_are_kept_and_go_with_it(host: Host) -> None:
    host.run(
        "run", "-d", "--name", "loop", "--restart", "on-failure:5", "--network", "none", "base", "sh", "-c", "exit 4"
    )
    host.run("wait", "loop")
    container = containers.find(Engine(host.paths), "loop")
    deadline = time.monotonic() + 60
    while container.reload().status != "stopped" and time.monotonic() < deadline:
        time.sleep(0.05)
    found = deaths_of(host, "loop")
    assert len(found) == deaths.KEPT
    assert [document["restarts"] for document in found] == [5, 4, 3, 2, 1]
    host.run("rm", "loop")
    assert not os.path.exists(container.path())
    assert host.run("deaths", "loop", check=False).returncode == 1


def test_nobody_saw_it_end_is_said_with_what_was_recorded(host: Host) -> None:
    host.run("run", "-d", "--name", "lost", "--network", "none", "base", "sh", "-c", "echo here; exec sleep 1000")
    container = containers.find(Engine(host.paths), "lost")
    process = container.state.process
    assert process is not None
    # what the shim has not read yet goes with it
    eventually(lambda: host.run("logs", "lost").stdout == "here\n")
    os.kill(process.shim_pid, signal.SIGKILL)
    gone(process.shim_pid)
    os.kill(process.pid, signal.SIGKILL)
    gone(process.pid)
    host.run("stop", "lost")
    (lost,) = deaths_of(host, "lost")
    assert lost["cause"] == deaths.LOST and [text for _, _, text in lost["log"]] == ["here"]
