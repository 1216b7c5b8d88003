"""Containers that publish more ports than a message has descriptors, and than a process may have by default."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pyctr.core.linux import machine
from pyctr.core.runtime import worker
from tests.support.host import Host

INSIDE = """
for port in 1000 {last}; do mkdir -p /$port; echo $port > /$port/index.html; busybox httpd -p $port -h /$port; done
exec sleep 1000
"""
FIRST = 20000 + os.getpid() % 11 * 1000
"""Of the host's ports, below those that the kernel gives to anybody."""
LIMIT = 1024
"""What a login has by default."""


def _pyctr(host: Host, *words: str, patched: str = "") -> None:
    """From such a login."""
    code = f"import sys;{patched}from pyctr.cli.main import main;sys.exit(main())"
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=host.env,
        capture_output=True,
        text=True,
        timeout=host.patience,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, hard)),
    )
    assert not done.returncode, done.stderr


def _run(host: Host, count: int, *flags: str, patched: str = "") -> None:
    ports = ("-p", f"{FIRST}-{FIRST + count - 1}:1000-{999 + count}")
    inside = ("sh", "-c", INSIDE.format(last=999 + count))
    _pyctr(host, "run", "-d", "--name", "many", *ports, *flags, "base", *inside, patched=patched)


def _asked(port: int) -> str:
    """What is answered at [::1]."""
    with socket.create_connection(("::1", port), timeout=60) as caller:
        caller.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return caller.makefile().read().rpartition("\n\n")[2].strip()


def _answer(port: int, said: str) -> None:
    """The server inside may need a moment."""
    deadline = time.monotonic() + 60
    while True:
        try:
            if _asked(port) == said or time.monotonic() > deadline:
                break
        except ConnectionError:
            assert time.monotonic() < deadline, f"nobody answers at {port}"
        time.sleep(0.05)
    assert _asked(port) == said


def _doors(count: int) -> int:
    """How many of the ports somebody hears at [::1]."""
    lines = (line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:])
    return sum(
        fields[1].startswith("0" * 24 + "01000000:") and FIRST <= int(fields[1][-4:], 16) < FIRST + count
        for fields in lines
        if fields[3] == "0A"
    )


def _works(host: Host, count: int) -> None:
    assert _doors(count) == count
    for port in (0, count - 1):
        _answer(FIRST + port, str(1000 + port))
    assert host.run("exec", "many", "sh", "-c", "ulimit -n").stdout == f"{LIMIT}\n", "as if they did not count"


def _shim(host: Host) -> int:
    return int(host.run("inspect", "-f", "{{.State.ShimPid}}", "many").stdout)


@pytest.mark.parametrize("count", [worker.BUNCH + 18, 254, 1000])
def test_all_of_many_ports_are_served(host: Host, count: int) -> None:
    _run(host, count)
    _works(host, count)
    _pyctr(host, "restart", "-t", "0", "many")
    _works(host, count)
    state = json.loads(host.run("inspect", "many").stdout)[0]["State"]
    assert state["Running"], state
    host.run("rm", "-f", "many")
    assert _doors(count) == 0


@pytest.mark.skipif(not machine.possible(), reason="no program in memory can be executed here")
def test_a_shim_of_a_thousand_ports_dozes_and_wakes_with_them_and_starts_its_container_again(host: Host) -> None:
    last = "from pyctr.core.runtime.spawned"
    soon = "from pyctr.core.runtime import rest;rest.ALONE=rest.IDLE=0.2;rest.ENOUGH=0;"
    _run(
        host,
        1000,
        *("--restart", "always"),
        patched=f"from pyctr.core.runtime import launch;launch._CODE=launch._CODE.replace({last!r}, {soon + last!r});",
    )
    for _ in range(2):
        deadline = time.monotonic() + 60
        while not os.readlink(f"/proc/{_shim(host)}/exe").startswith("/memfd:pyctr-doze"):
            assert time.monotonic() < deadline, "it does not doze"
            time.sleep(0.05)
        _works(host, 1000)
    before = host.run("inspect", "-f", "{{.State.Pid}}", "many").stdout
    os.kill(int(before), signal.SIGKILL)
    while host.run("inspect", "-f", "{{.State.Pid}}", "many").stdout in (before, "0\n"):
        assert time.monotonic() < deadline, "its shim did not start it again"
    _works(host, 1000)
    host.run("rm", "-f", "many")
    assert _doors(1000) == 0
