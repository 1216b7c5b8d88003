"""What real containers have open, as `pyctr lsof` tells it."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from pyctr.core import cgroups, openfiles
from tests.support.host import Host

OPENS = """
dd if=/dev/zero of=/tmp/log bs=1024 count=300 2>/dev/null
exec 7>>/tmp/log; rm /tmp/log
printf x > "/tmp/kept (deleted)"; exec 8<"/tmp/kept (deleted)"
odd=$(printf '/tmp/a\\033[31m\\nb'); printf x > "$odd"; exec 9<"$odd"
httpd -f -p 127.0.0.1:4711 & sleep 1000 & sleep 1000 & wait
"""


def lsof(host: Host, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in host.run("lsof", "--format", "json", *words).stdout.splitlines()]


def test_deleted_files_come_first_with_what_they_hold_and_sockets_have_addresses(host: Host) -> None:
    host.run("run", "-d", "--network", "none", "--name", "web", "localhost/base", "sh", "-c", OPENS)
    deadline = time.monotonic() + 30
    while True:
        found = {file["Path"]: file for file in lsof(host, "web")}
        if "tcp 127.0.0.1:4711 listening" in found and "/tmp/log" in found:
            break
        assert time.monotonic() < deadline, found
        time.sleep(0.1)  # no event tells when a shell in a container has come to its last line
    assert next(iter(found)) == "/tmp/log"
    log = found["/tmp/log"]
    assert log["Deleted"] and log["Size"] == 300 * 1024 and log["Held"] >= log["Size"]
    # the shell and all it started: httpd, sleep and sleep
    assert log["Mode"] == "w" and log["Processes"] >= 3 and log["Descriptors"] == log["Processes"]
    assert len(log["Pids"]) == log["Processes"] and log["Kind"] == "file"
    kept = found["/tmp/kept (deleted)"]
    assert not kept["Deleted"] and kept["Size"] == 1 and kept["Held"] == 0
    assert found["/dev/null"]["Kind"] == "device" and found["/dev/null"]["Size"] is None
    assert found["/tmp/a\x1b[31m\nb"]["Mode"] == "r"

    assert [file["Path"] for file in lsof(host, "--deleted", "web")] == ["/tmp/log"]
    shown = host.run("lsof", "web")
    assert "/tmp/log (deleted, holds 3" in shown.stdout and "\x1b" not in shown.stdout
    assert "1 deleted file holds 3" in shown.stderr

    group = host.paths.cgroup_parent
    held = sum(1 for file in found.values() for _ in file["Pids"])
    (one,) = [line.split()[0] for line in host.run("ps", "-q", "--no-trunc").stdout.splitlines()]
    pids = cgroups.manager(cgroups.detect(), f"/{group}/{one}").pids()
    few = openfiles.read(pids, limit=5)
    assert few.descriptors == 5 and few.left_out >= held - 5 and few.processes == len(pids)
    assert {pid for file in few.files for pid in file.pids} == set(pids[:5])


def test_of_one_that_does_not_run_nothing_is_open(host: Host) -> None:
    host.run("create", "--network", "none", "--name", "idle", "localhost/base", "true")
    refused = host.run("lsof", "idle", check=False)
    assert refused.returncode != 0 and "'idle' does not run" in refused.stderr
    assert host.run("lsof", "nobody", check=False).returncode != 0


def test_a_process_with_ten_thousand_descriptors_leaves_the_others_their_share() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    many = min(10_000, hard - 100)
    script = f"""
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({hard}, {hard}))
first = os.memfd_create("note")
for _ in range({many}): os.dup(first)
print(flush=True); sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as crowd:
        assert crowd.stdin is not None and crowd.stdout is not None
        crowd.stdout.readline()
        found = openfiles.read([crowd.pid, os.getpid(), 1 << 22], limit=500)
        crowd.stdin.close()
    assert found.processes == 2 and found.descriptors == 500 and found.left_out > many - 500
    (memory,) = [file for file in found.files if file.path == "/memfd:note"]
    assert memory.kind == "memory" and not memory.deleted and memory.processes == 1
    assert any(file.pids == (os.getpid(),) for file in found.files)


def test_sockets_of_each_family_have_their_addresses(tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    client = socket.create_connection(("127.0.0.1", port))
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagram.bind(("127.0.0.1", 0))
    named, pair = socket.socket(socket.AF_UNIX), socket.socketpair()
    named.bind(str(tmp_path / "a b\nc"))
    named.listen()
    try:
        names = {file.path for file in openfiles.read([os.getpid()]).files if file.kind == "socket"}
    finally:
        for one in (listener, client, datagram, named, *pair):
            one.close()
    assert f"tcp 127.0.0.1:{port} listening" in names and "unix stream" in names
    assert any(name.endswith(f" -> 127.0.0.1:{port}") for name in names)
    assert any(name.startswith("udp 127.0.0.1:") for name in names)
    # a line of the table ends where the name has its line feed
    assert f"unix stream {tmp_path}/a b" in names
