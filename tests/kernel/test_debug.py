"""The host's tools inside a container's namespaces, and nothing of the host for who is in there."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from tests.support.host import Host


def debug(host: Host, *words: str) -> str:
    return host.run("debug", *words).stdout


def test_tools_that_the_image_does_not_have_see_the_container(host: Host) -> None:
    flags = ["--network", "none", "--name", "web", "--hostname", "webhost"]
    host.run("run", "-d", *flags, "localhost/base", "sh", "-c", "echo here > /note; exec sleep 1234")
    program = "import os, socket; print(socket.gethostname(), [name for _, name in socket.if_nameindex()]);"
    program += (
        "print(open('/proc/1/cmdline').read().split(chr(0))); print(open(os.environ['CONTAINER'] + '/note').read())"
    )
    host.run("exec", "web", "sh", "-c", "until [ -s /note ]; do sleep 0.1; done")
    assert host.run("exec", "web", "python3", "-c", "", check=False).returncode == 127  # it has no such tool
    said = debug(host, "web", "python3", "-c", program).splitlines()
    assert said[0] == "webhost ['lo']"
    assert said[1] == "['sleep', '1234', '']" and said[2] == "here"
    # the host's own are as before
    assert "1234" not in Path("/proc/1/cmdline").read_text()
    assert debug(host, "web", "readlink", "/proc/self/exe").startswith("/")
    assert host.run("debug", "web", "sh", "-c", "exit 7", check=False).returncode == 7


def test_who_is_inside_cannot_look_through_the_shell_at_the_host(host: Host, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the host")
    look = f"cat /proc/[0-9]*/root{tmp_path}/secret /proc/[0-9]*/cwd/secret"
    host.run("run", "-d", "--network", "none", "--name", "spy", "localhost/base", "sh", "-c",
             f"while :; do {look} >> /seen 2>/dev/null; echo . >> /rounds; sleep 0.05; done")  # fmt: skip
    command = [*host.command("debug", "spy"), "sh", "-c", f"cd {tmp_path}; echo ready; read line"]
    shell = subprocess.Popen(command, env=host.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert shell.stdin is not None and shell.stdout is not None
    assert shell.stdout.readline() == "ready\n"

    def rounds() -> int:
        return len(host.run("exec", "spy", "cat", "/rounds").stdout)

    # it is there to be seen, and was looked at
    assert "read line" in host.run("exec", "spy", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout
    before, deadline = rounds(), time.monotonic() + 60
    while rounds() < before + 10:
        assert time.monotonic() < deadline
    shell.communicate("\n", timeout=60)
    assert host.run("exec", "spy", "cat", "/seen", check=False).stdout == ""


def test_one_that_could_trace_the_shell_does_not_get_it_among_its_processes(host: Host) -> None:
    flags = ["--network", "none", "--name", "tracer", "--cap-add", "sys_ptrace"]
    host.run("run", "-d", *flags, "localhost/base", "sleep", "1000")
    done = host.run(
        "debug", "tracer", "sh", "-c", "readlink /proc/self/ns/pid; readlink /proc/self/ns/net; ls $CONTAINER/bin/sh"
    )
    assert "sys_ptrace" in done.stderr
    pid, net, shell = done.stdout.split()
    assert pid == os.readlink("/proc/self/ns/pid") and net != os.readlink("/proc/self/ns/net")
    assert shell.endswith("/root/bin/sh")


def test_what_cannot_be_debugged_is_said_in_a_line(host: Host) -> None:
    host.run("create", "--network", "none", "--name", "idle", "localhost/base", "true")
    refused = host.run("debug", "idle", "true", check=False)
    assert refused.returncode != 0 and "container 'idle' does not run" in refused.stderr
    host.run("run", "-d", "--network", "none", "--name", "web", "localhost/base", "sleep", "1000")
    refused = host.run("debug", "web", "no-such-tool", check=False)
    assert refused.returncode == 127 and "there is no 'no-such-tool' on this host" in refused.stderr
