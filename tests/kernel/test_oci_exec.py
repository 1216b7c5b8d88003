"""`pyctr-runtime exec`: a further process, made by the command itself."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyctr.core import cgroups
from tests.support.caller import Console, parent, subreaper, wait
from tests.support.host import Host
from tests.support.oci import Oci


@pytest.fixture
def oci(bare_host: Host) -> Iterator[Oci]:
    """With a container "one" that runs."""
    oci = Oci(bare_host)
    oci.write(oci.config("sleep", "1000", env=["PATH=/bin", "OF=container"]))
    with subreaper():
        done = oci.cli("run", "--detach", "--bundle", str(oci.path), "--pid-file", str(oci.path / "pid"), "one")
        assert done.returncode == 0, done.stderr
        yield oci
        oci.cli("delete", "--force", "one")
        wait(int((oci.path / "pid").read_text()))
    left = bare_host.census()
    assert not left, f"left behind: {left}"


def inside(oci: Oci, script: str, *flags: str) -> str:
    done = oci.cli("exec", *flags, "one", "sh", "-c", script)
    assert done.returncode == 0, f"{done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


def from_file(oci: Oci, process: dict[str, Any], *flags: str) -> subprocess.CompletedProcess[str]:
    (oci.path / "process.json").write_text(json.dumps(process))
    return oci.cli("exec", *flags, "--process", str(oci.path / "process.json"), "one")


def test_output_and_exit_code(oci: Oci) -> None:
    done = oci.cli("exec", "one", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert oci.cli("exec", "one", "sh", "-c", "kill -9 $$").returncode == 128 + 9


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("nope", "executable file not found in $PATH"),
        ("/nope", "no such file or directory"),
        ("/etc/passwd", "permission denied"),
    ],
)
def test_a_command_that_cannot_run_is_255_and_one_line(oci: Oci, word: str, reason: str) -> None:
    done = oci.cli("exec", "one", word)
    assert done.returncode == 255
    assert reason in done.stderr and len(done.stderr.splitlines()) == 1


def test_flags_change_the_first_processs_document(oci: Oci) -> None:
    (oci.rootfs / "tmp").chmod(0o777)
    script = "id -u; id -g; id -G; pwd; echo $OF $NEW; grep NoNewPrivs /proc/self/status"
    flags = ["--user", "1000:50", "-g", "60", "--cwd", "/tmp", "--env", "NEW=env"]
    assert inside(oci, script, *flags).split() == [
        *("1000", "50", "50", "60", "/tmp", "container", "env"),
        *("NoNewPrivs:", "1"),
    ]
    assert inside(oci, "id -un", "--user", "sam") == "sam\n"


def test_capabilities_are_the_containers_and_those_added(oci: Oci) -> None:
    show = "grep CapEff /proc/self/status"
    plain, more = (int(inside(oci, show, *flags).split()[1], 16) for flags in ((), ("--cap", "CAP_SYS_PTRACE")))
    assert more == plain | 1 << 19


def test_a_process_document_is_taken_as_it_is(oci: Oci) -> None:
    done = from_file(
        oci,
        {
            "args": ["sh", "-c", "echo $OF-$MINE; id -u; umask; ulimit -n; grep -E 'CapBnd|CapEff' /proc/self/status"],
            "env": ["PATH=/bin", "MINE=1"],
            "cwd": "/",
            "user": {"uid": 5, "gid": 6, "umask": 0o027},
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 77}],
            "capabilities": {"bounding": ["CAP_KILL"]},
        },
    )
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    assert words[:4] == ["-1", "5", "0027", "77"]
    assert {int(words[5], 16), int(words[7], 16)} == {0, 1 << 5}


def test_a_bad_process_document_is_refused_by_its_path(oci: Oci) -> None:
    done = from_file(oci, {"args": ["true"], "cwd": "relative"})
    assert done.returncode == 255 and "process.cwd" in done.stderr


def test_it_is_in_the_containers_namespaces_and_group(oci: Oci) -> None:
    pid = int((oci.path / "pid").read_text())
    kinds = ("mnt", "uts", "ipc", "net", "pid", "cgroup")
    script = "".join(f"readlink /proc/self/ns/{kind};" for kind in kinds)
    assert inside(oci, script).split() == [os.readlink(f"/proc/{pid}/ns/{kind}") for kind in kinds]
    assert set(inside(oci, "cat /proc/self/cgroup").splitlines()) == set(inside(oci, "cat /proc/1/cgroup").splitlines())


def test_detached_it_goes_to_the_subreaper_and_its_pid_to_a_file(oci: Oci) -> None:
    pid_file = oci.path / "exec.pid"
    done = oci.cli("exec", "--detach", "--pid-file", str(pid_file), "one", "sh", "-c", "read x < /tmp/go; exit 9")
    assert done.returncode != 0 or pid_file.exists()
    pid = int(pid_file.read_text())
    assert parent(pid) == os.getpid()
    assert wait(pid) in (9, 1, 2)


def test_detached_with_a_terminal_by_the_console_socket(oci: Oci) -> None:
    console = Console(str(oci.path / "console"))
    pid_file = oci.path / "exec.pid"
    flags = ["--detach", "--tty", "--console-socket", console.path, "--pid-file", str(pid_file)]
    done = oci.cli("exec", *flags, "one", "sh", "-c", "tty; read line; exit 5")
    assert done.returncode == 0, done.stderr
    console.accept()
    console.read(b"/dev/pts/")
    os.write(console.master, b"\n")
    assert wait(int(pid_file.read_text())) == 5
    console.close()
    refused = oci.cli("exec", "--detach", "--tty", "one", "true")
    assert refused.returncode == 255 and "--console-socket" in refused.stderr


def test_a_signal_to_it_reaches_the_process_inside(oci: Oci) -> None:
    script = "trap 'echo got; exit 3' TERM; echo ready; while :; do sleep 0.1; done"
    process = subprocess.Popen(
        oci.command("exec", "one", "sh", "-c", script), env=oci.host.env, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    assert process.stdout.readline() == "got\n"
    assert process.wait(20) == 3
    process.stdout.close()


def test_in_a_paused_container_only_when_asked(oci: Oci) -> None:
    oci.cli("pause", "one")
    refused = oci.cli("exec", "one", "true")
    assert refused.returncode == 255 and "paused" in refused.stderr
    process = subprocess.Popen(oci.command("exec", "--ignore-paused", "one", "sh", "-c", "exit 4"), env=oci.host.env)
    time.sleep(0.5)  # nothing happens in a frozen group, and of that there is no event
    assert process.poll() is None
    oci.cli("resume", "one")
    assert process.wait(20) == 4


def test_after_its_end_the_container_takes_no_more(oci: Oci) -> None:
    pid = int((oci.path / "pid").read_text())
    oci.cli("kill", "one", "KILL")
    fd = os.pidfd_open(pid)
    os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOWAIT)
    os.close(fd)
    done = oci.cli("exec", "one", "true")
    assert done.returncode == 255 and "container not running" in done.stderr
    missing = oci.cli("exec", "none", "true")
    assert missing.returncode == 255 and "does not exist" in missing.stderr


def group_directories(oci: Oci) -> list[Path]:
    record = json.loads((Path(oci.host.paths.run) / "runtime/one/state.json").read_text())
    paths = cgroups.manager(cgroups.detect(), record["group"]).paths().values()
    return [Path(path) for path in paths if os.path.isdir(path)]


def test_into_a_group_below_the_containers(oci: Oci) -> None:
    refused = oci.cli("exec", "--cgroup", "part", "one", "true")
    assert refused.returncode == 255 and "part" in refused.stderr
    for directory in group_directories(oci):
        (directory / "part").mkdir()
    lines = inside(oci, "cat /proc/self/cgroup", "--cgroup", "part").split()
    assert sum(line.endswith("/part") for line in lines) == len(group_directories(oci))
    assert "not below" in oci.cli("exec", "--cgroup", "../other", "one", "true").stderr


def test_its_children_are_gone_with_the_container(oci: Oci) -> None:
    """The fixture counts what is left."""
    oci.cli("exec", "one", "sh", "-c", "sleep 1000 & sleep 1000 &")
    assert json.loads(oci.cli("ps", "--format", "json", "one").stdout).__len__() == 3


def test_ps_shows_the_containers_processes_alone(oci: Oci) -> None:
    pid = (oci.path / "pid").read_text()
    lines = oci.cli("ps", "one", "-o", "pid,args").stdout.splitlines()
    assert [line.split() for line in lines] == [["PID", "COMMAND"], [pid, "sleep", "1000"]]
    assert len(oci.cli("ps", "one").stdout.splitlines()) == 2
    assert "PID" in oci.cli("ps", "one", "-o", "args").stderr


@pytest.mark.skipif(cgroups.detect().mode != "v2", reason="controllers are handed down on v2 alone")
@pytest.mark.parametrize("kind", ["handed down", "threaded", "threaded below"])
def test_it_goes_where_the_first_process_is_when_that_has_moved_below(oci: Oci, kind: str) -> None:
    """A container that makes groups: once controllers are handed down, no process may be in the upper one."""
    (top,) = group_directories(oci)
    pid = (oci.path / "pid").read_text()
    part = top / "part"
    part.mkdir()
    if kind != "handed down":
        (part / "cgroup.type").write_text("threaded")
    (part / "cgroup.procs").write_text(pid)
    if kind == "threaded below":
        (part / "deeper").mkdir()
        (part / "deeper/cgroup.type").write_text("threaded")
        (part / "deeper/cgroup.procs").write_text(pid)
    (top / "cgroup.subtree_control").write_text("+pids")
    lines = inside(oci, "cat /proc/self/cgroup").split()
    # the root of a threaded tree may have processes beside it
    assert lines == ["0::/part" if kind == "handed down" else "0::/"]
    assert oci.cli("exec", "one", "true").returncode == 0
    assert len(json.loads(oci.cli("ps", "--format", "json", "one").stdout)) == 1
    assert oci.cli("pause", "one").returncode == oci.cli("resume", "one").returncode == 0
