"""The verbs of `pyctr-runtime` around a container's life: update, events, features, spec, run in the foreground."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyctr.core import cgroups
from tests.support.caller import subreaper, wait
from tests.support.host import Host
from tests.support.oci import Oci


@pytest.fixture
def oci(bare_host: Host) -> Iterator[Oci]:
    oci = Oci(bare_host)
    with subreaper():
        yield oci
        pid_file = oci.path / "pid"
        oci.cli("delete", "--force", "one")
        if pid_file.exists():
            wait(int(pid_file.read_text()))
    left = bare_host.census()
    assert not left, f"left behind: {left}"


def started(oci: Oci, **changes: Any) -> Oci:
    oci.write(oci.config("sleep", "1000", **changes))
    flags = ["--bundle", str(oci.path), "--pid-file", str(oci.path / "pid")]
    done = oci.cli("run", "--detach", *flags, "one")
    assert done.returncode == 0, done.stderr
    return oci


def manager(oci: Oci) -> cgroups.group.Manager:  # type: ignore[name-defined]
    record = json.loads((Path(oci.host.paths.run) / "runtime/one/state.json").read_text())
    return cgroups.manager(cgroups.detect(), record["group"])


def value(oci: Oci, v1: tuple[str, str], v2: tuple[str, str]) -> str:
    """A controller's file, by the version that the host has."""
    group = manager(oci)
    controller, file = v1 if group.has_v1(v1[0]) else v2
    return Path(group.file(controller, file)).read_text().strip()


def test_update_by_flags(oci: Oci) -> None:
    started(oci)
    assert oci.cli("update", "--memory", "64m", "--pids-limit", "21", "--cpu-quota", "50000", "one").returncode == 0
    assert value(oci, ("memory", "memory.limit_in_bytes"), ("memory", "memory.max")) == str(64 << 20)
    assert value(oci, ("pids", "pids.max"), ("pids", "pids.max")) == "21"
    assert value(oci, ("cpu", "cpu.cfs_quota_us"), ("cpu", "cpu.max")).split()[0] == "50000"
    assert oci.cli("update", "--pids-limit", "-1", "one").returncode == 0
    assert value(oci, ("pids", "pids.max"), ("pids", "pids.max")) == "max"


def test_update_by_a_document_leaves_what_it_does_not_name(oci: Oci) -> None:
    started(oci, resources={"pids": {"limit": 33}})
    (oci.path / "resources.json").write_text(
        json.dumps(
            {
                "memory": {"limit": 96 << 20, "reservation": 0},
                "cpu": {"shares": 0},
                "devices": [{"allow": False, "access": "rwm"}],
            }
        )
    )
    done = oci.cli("update", "--resources", str(oci.path / "resources.json"), "one")
    assert done.returncode == 0, done.stderr
    assert value(oci, ("memory", "memory.limit_in_bytes"), ("memory", "memory.max")) == str(96 << 20)
    assert value(oci, ("pids", "pids.max"), ("pids", "pids.max")) == "33"
    assert oci.cli("exec", "one", "sh", "-c", "echo > /dev/null").returncode == 0
    piped = subprocess.run(
        oci.command("update", "-r", "-", "one"), input='{"pids":{"limit":7}}', env=oci.host.env, text=True, timeout=60
    )
    assert piped.returncode == 0
    assert value(oci, ("pids", "pids.max"), ("pids", "pids.max")) == "7"


def test_update_refuses_what_is_no_limit(oci: Oci) -> None:
    started(oci)
    (oci.path / "resources.json").write_text('{"memory": {"limit": "much"}}')
    done = oci.cli("update", "--resources", str(oci.path / "resources.json"), "one")
    assert done.returncode == 1 and "memory.limit" in done.stderr
    assert oci.cli("update", "--memory", "much", "one").returncode == 1


def test_stats_count_what_the_container_uses(oci: Oci) -> None:
    started(oci, resources={"memory": {"limit": 64 << 20}, "pids": {"limit": 12}})
    document = json.loads(oci.cli("events", "--stats", "one").stdout)
    assert (document["type"], document["id"]) == ("stats", "one")
    data = document["data"]
    assert data["pids"] == {"current": 1, "limit": 12}
    assert data["memory"]["usage"]["limit"] == 64 << 20
    assert 0 < data["memory"]["usage"]["usage"] < 64 << 20
    assert data["memory"]["raw"]
    assert data["cpu"]["usage"]["total"] > 0


@pytest.mark.skipif(not os.path.exists("/usr/sbin/runc"), reason="runc is not installed")
def test_stats_have_the_names_that_runc_gives_them(oci: Oci, tmp_path: Path) -> None:
    started(oci)
    ours = json.loads(oci.cli("events", "--stats", "one").stdout)["data"]
    runc = ["runc", "--root", str(tmp_path)]
    config = oci.config("sleep", "1000", cgroupsPath=f"/{oci.host.paths.cgroup_parent}/runc")
    oci.write(config)
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*runc, "create", "--bundle", str(oci.path), "two"], check=True, **quiet)
    try:
        said = subprocess.run([*runc, "events", "--stats", "two"], capture_output=True, check=True).stdout
    finally:
        subprocess.run([*runc, "delete", "--force", "two"], check=True, **quiet)
    theirs = json.loads(said)["data"]
    assert set(ours) == set(theirs)
    assert set(ours["pids"]) == set(theirs["pids"])
    assert set(ours["memory"]) - {"cache"} == set(theirs["memory"]) - {"cache"}
    for part in ("usage", "swap", "kernel", "kernelTCP"):
        # Go leaves out what is 0; the peak of v2 is there since runc 1.2
        assert set(theirs["memory"][part]) | {"limit", "failcnt"} <= set(ours["memory"][part]) | {"max", "usage"}
        assert {"limit", "failcnt"} <= set(ours["memory"][part]) <= {"limit", "failcnt", "max", "usage"}
    # a hierarchy of v1 that no limit asks for is not entered: what only it counts is not known
    assert {"total", "kernel", "user"} <= set(ours["cpu"]["usage"]) <= set(theirs["cpu"]["usage"])


def test_events_come_at_the_interval_and_end_with_the_container(oci: Oci) -> None:
    started(oci)
    follower = subprocess.Popen(
        oci.command("events", "--interval", "100ms", "one"), env=oci.host.env, stdout=subprocess.PIPE, text=True
    )
    assert follower.stdout is not None
    for _ in range(2):
        assert json.loads(follower.stdout.readline())["type"] == "stats"
    oci.cli("kill", "one", "KILL")
    assert follower.wait(20) == 0
    follower.stdout.close()


def descriptors(pid: int) -> list[str]:
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
        except FileNotFoundError:
            continue  # closed meanwhile
    return found


def test_an_out_of_memory_kill_is_an_event(oci: Oci) -> None:
    started(oci, resources={"memory": {"limit": 16 << 20, "swap": 16 << 20}})
    follower = subprocess.Popen(
        oci.command("events", "--interval", "1h", "one"), env=oci.host.env, stdout=subprocess.PIPE, text=True
    )
    assert follower.stdout is not None
    while not any(target.endswith(("[eventfd]", "memory.events")) for target in descriptors(follower.pid)):
        assert follower.poll() is None
    oci.cli("exec", "one", "sh", "-c", "dd if=/dev/zero of=/dev/null bs=64M count=1")
    assert json.loads(follower.stdout.readline()) == {"type": "oom", "id": "one"}
    oci.cli("kill", "one", "KILL")
    assert follower.wait(20) == 0
    follower.stdout.close()


def test_features_name_what_the_tables_hold(oci: Oci) -> None:
    document = json.loads(oci.cli("features").stdout)
    assert document["ociVersionMin"] == "1.0.0"
    assert {"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"} == set(
        document["hooks"]
    )
    assert {"rro", "idmap", "tmpcopyup", "rshared", "nosymfollow"} <= set(document["mountOptions"])
    linux = document["linux"]
    assert set(linux["namespaces"]) == {"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"}
    assert linux["capabilities"][0] == "CAP_CHOWN" and "CAP_CHECKPOINT_RESTORE" in linux["capabilities"]
    assert linux["seccomp"]["enabled"] and "SCMP_ACT_NOTIFY" in linux["seccomp"]["actions"]
    assert "SCMP_ARCH_X86_64" in linux["seccomp"]["archs"] or "SCMP_ARCH_AARCH64" in linux["seccomp"]["archs"]
    assert linux["cgroup"]["v1"] and linux["cgroup"]["v2"]


@pytest.mark.skipif(not os.path.exists("/usr/sbin/runc"), reason="runc is not installed")
def test_features_have_all_the_keys_that_runc_has(oci: Oci) -> None:
    theirs = json.loads(subprocess.run(["runc", "features"], capture_output=True, check=True).stdout)
    ours = json.loads(oci.cli("features").stdout)
    assert set(theirs) <= set(ours)
    assert set(theirs["linux"]) <= set(ours["linux"])
    assert set(theirs["linux"]["seccomp"]) <= set(ours["linux"]["seccomp"])
    assert set(theirs["linux"]["namespaces"]) <= set(ours["linux"]["namespaces"])


def test_a_container_runs_from_what_spec_has_written(oci: Oci) -> None:
    assert oci.cli("spec", "--bundle", str(oci.path)).returncode == 0
    refused = oci.cli("spec", "--bundle", str(oci.path))
    assert refused.returncode == 1 and "exists" in refused.stderr
    config = json.loads((oci.path / "config.json").read_text())
    config["process"].update(terminal=False, args=["/bin/sh", "-c", "echo fine; touch /x"])
    oci.write(config)
    done = oci.cli("run", "--bundle", str(oci.path), "one")
    assert (done.returncode, done.stdout) == (1, "fine\n") and "Read-only file system" in done.stderr


def test_a_rootless_spec_maps_its_user(oci: Oci) -> None:
    oci.cli("spec", "--rootless", "--bundle", str(oci.path))
    config = json.loads((oci.path / "config.json").read_text())
    assert config["linux"]["uidMappings"] == [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
    assert {"type": "user"} in config["linux"]["namespaces"] and {"type": "network"} not in config["linux"][
        "namespaces"
    ]
    config["process"].update(terminal=False, args=["/bin/id", "-u"])
    oci.write(config)
    done = oci.cli("run", "--bundle", str(oci.path), "one")
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


def test_run_with_a_terminal_relays_it_and_its_size(oci: Oci) -> None:
    oci.write(oci.config("sh", "-c", "stty size; read x; stty size; echo got $x; exit 6", terminal=True))
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 90, 0, 0))
    before = termios.tcgetattr(slave)
    process = subprocess.Popen(
        oci.command("run", "--bundle", str(oci.path), "one"),
        env=oci.host.env,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )

    def hear(words: bytes) -> None:
        said = b""
        while words not in said:
            assert select.select([master], [], [], 20)[0], said
            said += os.read(master, 4096)

    hear(b"30 90")
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 41, 121, 0, 0))
    os.write(master, b"word\n")
    hear(b"got word")
    assert process.wait(20) == 6
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)


def test_run_adopts_orphans_and_forwards_signals(oci: Oci) -> None:
    script = "trap 'exit 12' USR1; echo ready; while :; do sleep 0.1; done"
    oci.write(oci.config("sh", "-c", script))
    process = subprocess.Popen(
        oci.command("run", "--bundle", str(oci.path), "one"), env=oci.host.env, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(10)
    assert process.wait(20) == 12
    process.stdout.close()
    assert oci.cli("list", "-q").stdout == ""


def test_run_keeps_the_container_when_asked(oci: Oci) -> None:
    oci.write(oci.config("true"))
    assert oci.cli("run", "--keep", "--bundle", str(oci.path), "one").returncode == 0
    assert json.loads(oci.cli("state", "one").stdout)["status"] == "stopped"


def test_usage_errors_are_one_line(oci: Oci) -> None:
    for words, said in (
        (("frobnicate",), "no such command 'frobnicate'"),
        (("--nonsense", "list"), "no such flag '--nonsense'"),
        (("--log-format", "xml", "list"), "'xml'"),
        (("kill", "one", "NOSUCH"), "unknown signal 'NOSUCH'"),
        (("state",), "needs an ID"),
        (("delete", "a/b"), "invalid container ID"),
    ):
        done = oci.cli(*words)
        assert done.returncode == 1 and said in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert "Commands:" in oci.cli("--help").stdout
    assert "--pid-file" in oci.cli("create", "--help").stdout
    assert "spec: 1." in oci.cli("--version").stdout


def test_words_of_an_image_cannot_command_the_terminal(oci: Oci) -> None:
    """Errors, warnings and lists show escape sequences as text; the log for callers has them as JSON does."""
    evil = "\x1b]0;owned\x07\x1b[2J\u202egpj"
    config = oci.config(f"/bin/{evil}")
    config["process"]["capabilities"]["bounding"].append(f"CAP_{evil}")
    oci.write(config)
    log = oci.path / "log"
    done = oci.cli("--log", str(log), "--log-format", "json", "run", "--bundle", str(oci.path), "one")
    assert done.returncode == 1 and "owned" in done.stderr
    assert not {"\x1b", "\x07", "\u202e"}.intersection(done.stderr + done.stdout), repr(done.stderr)
    said = [json.loads(line)["msg"] for line in log.read_text().splitlines()]
    assert any("owned" in text for text in said) and "\x1b" not in log.read_text()
