"""The real command with real containers: from nothing to gone, as a person or a script types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.kernel.lifecycle_help import eventually
from tests.support.host import Host
from tests.unit.cli.test_main import HEAVY

pytestmark = pytest.mark.kernel

IDLE = ("sh", "-c", "trap 'exit 0' TERM; echo ready; while :; do sleep 60 & wait $!; done")


def idle(host: Host, *flags: str) -> str:
    """A running container that stops at once when asked to; returns after its trap is set."""
    id = host.run("run", "-d", "--network", "none", *flags, "base", *IDLE).stdout.strip()
    with subprocess.Popen(host.command("logs", "-f", id), env=host.env, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "ready\n"
        follower.terminate()
    return id


def status(host: Host, name: str) -> str:
    return host.run("inspect", "-f", "{{.State.Status}}", name).stdout.strip()


def test_a_life_from_create_to_rm(host: Host) -> None:
    id = host.run("create", "--name", "web", "--network", "none", "base", *IDLE).stdout.strip()
    assert len(id) == 64
    assert status(host, "web") == "created"
    assert host.run("start", "web").stdout == "web\n"
    assert status(host, id[:12]) == "running"
    assert host.run("pause", "web").stdout == "web\n"
    assert "(Paused)" in host.run("ps").stdout
    assert host.run("unpause", "web").stdout == "web\n"
    assert host.run("rename", "web", "site").stdout == ""
    assert host.run("restart", "-t", "5", "site").stdout == "site\n"
    assert status(host, "site") == "running"
    assert host.run("stop", "-t", "5", "site").stdout == "site\n"
    assert status(host, "site") == "exited"
    assert "Exited (" in host.run("ps", "-a").stdout
    assert host.run("ps", "-q").stdout == ""
    assert host.run("rm", "site").stdout == "site\n"
    assert host.run("ps", "-aq").stdout == ""
    assert host.census() == {}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("sh", "-c", "exit 0"), 0),
        (("sh", "-c", "exit 7"), 7),
        (("sh", "-c", "sh -c 'kill -TERM $$'; exit $?"), 143),
        (("no-such-command",), 127),
        (("/etc/passwd",), 126),
    ],
)
def test_exit_codes_are_dockers(host: Host, words: tuple[str, ...], code: int) -> None:
    done = host.run("run", "--rm", "--network", "none", "base", *words, check=False)
    assert done.returncode == code, done.stderr
    assert host.census() == {}


def test_bad_requests_are_125_with_a_hint_and_leave_nothing(host: Host) -> None:
    for words in (
        ("run", "--pull", "never", "nosuchimage:1"),
        ("run", "-p", "nonsense", "base"),
        ("run", "-m", "much", "base"),
        ("run", "--nosuchflag", "base"),
        ("run", "--restart", "always", "--rm", "base"),
    ):
        done = host.run(*words, check=False)
        assert done.returncode == 125, (words, done.stderr)
        assert done.stdout == ""
        first, second = done.stderr.splitlines()
        assert first.startswith("pyctr: ")
        assert second.startswith("  hint: ")
    assert host.run("ps", "-aq").stdout == ""
    assert host.census() == {}


def test_a_taken_name_is_refused(host: Host) -> None:
    host.run("create", "--name", "one", "base")
    for verb, code in (("create", 1), ("run", 125)):
        done = host.run(verb, "--name", "one", "base", check=False)
        assert done.returncode == code
        assert "'one'" in done.stderr
    assert len(host.run("ps", "-aq").stdout.split()) == 1


def test_near_names_and_ambiguous_ids(host: Host) -> None:
    host.run("create", "--name", "database", "base")
    done = host.run("stop", "databse", check=False)
    assert done.returncode == 1
    assert "database" in done.stderr
    # 17 containers: two of them must share the first of 16 hexadecimal digits
    ids = [host.run("create", "base").stdout.strip() for _ in range(16)]
    first = [id[0] for id in [*ids, host.run("inspect", "-f", "{{.Id}}", "database").stdout]]
    shared = next(digit for digit in first if first.count(digit) > 1)
    done = host.run("inspect", shared, check=False)
    assert done.returncode == 1
    assert sum(id[:12] in done.stderr for id in ids) >= 1


def test_run_rm_leaves_nothing(host: Host) -> None:
    host.run("run", "--rm", "-v", "/data", "-p", "0:80", "base", "true")
    assert host.run("ps", "-aq").stdout == ""
    assert host.run("volume", "ls", "-q").stdout == ""
    assert host.census() == {}


def test_several_names_fail_one_by_one(host: Host) -> None:
    host.run("create", "--name", "first", "base")
    host.run("create", "--name", "last", "base")
    done = host.run("rm", "first", "missing", "last", check=False)
    assert done.returncode == 1
    assert done.stdout == "first\nlast\n"
    assert "'missing'" in done.stderr
    assert host.run("rm", "-f", "missing").returncode == 0


def test_wait_prints_exit_codes(host: Host) -> None:
    idle(host, "--name", "long")
    with subprocess.Popen(host.command("wait", "long"), env=host.env, stdout=subprocess.PIPE, text=True) as waiting:
        host.run("kill", "long")
        assert waiting.communicate(timeout=30)[0] == "137\n"


@contextmanager
def waiting(host: Host, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A `pyctr wait` that has looked at the container and follows the journal."""
    command = host.command("wait", *words)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=host.env, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            eventually(lambda: "anon_inode:inotify" in descriptors(process.pid))
            yield process
        finally:
            process.kill()


def descriptors(pid: int) -> list[str]:
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # closed meanwhile
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


def test_wait_knows_other_conditions(host: Host) -> None:
    host.run("create", "--name", "later", "--health-cmd", "test -e /go", "--health-interval", "100ms", "base", *IDLE)
    assert host.run("wait", "--condition", "created", "later").stdout == "-1\n"
    with (
        waiting(host, "--condition=running", "later") as up,
        waiting(host, "--condition=healthy", "later") as well,
    ):
        host.run("start", "later")
        assert up.communicate(timeout=30)[0] == "-1\n"
        assert well.poll() is None
        host.run("exec", "later", "touch", "/go")
        assert well.communicate(timeout=30)[0] == "-1\n"
    with waiting(host, "--condition=paused", "--condition=removed", "later") as either:
        host.run("pause", "later")
        assert either.communicate(timeout=30)[0] == "-1\n"
    with (
        waiting(host, "--condition=unhealthy", "later") as never,
        waiting(host, "--condition=removed", "later") as end,
    ):
        host.run("kill", "later")
        said = never.communicate(timeout=30)[1]
        assert never.returncode == 1 and "ended with 137 before it was unhealthy" in said
        host.run("rm", "later")
        assert end.communicate(timeout=30)[0] == "137\n"
    wrong = host.run("wait", "--condition", "happy", "later", check=False)
    assert wrong.returncode != 0 and "'happy' is no condition" in wrong.stderr


def test_kill_sends_the_signal_that_was_named(host: Host) -> None:
    host.run(
        "run", "-d", "--name", "usr", "--network", "none", "base", "sh", "-c", "trap 'exit 5' USR1; while :; do :; done"
    )
    host.run("exec", "usr", "true")
    host.run("kill", "-s", "USR1", "usr")
    assert host.run("wait", "usr").stdout == "5\n"
    assert host.run("kill", "-s", "BOGUS", "usr", check=False).returncode != 0


def test_ps_filters_formats_and_latest(host: Host) -> None:
    host.run("create", "--name", "old", "-l", "tier=back", "base")
    idle(host, "--name", "new", "-l", "tier=front")
    assert host.run("ps", "--format", "{{.Names}}").stdout == "new\n"
    assert host.run("ps", "-a", "--format", "{{.Names}}").stdout == "new\nold\n"
    assert host.run("ps", "-l", "--format", "{{.Names}}").stdout == "new\n"
    assert host.run("ps", "-n", "1", "-q").stdout.strip() == host.run("ps", "-q").stdout.strip()
    assert host.run("ps", "-a", "-f", "label=tier=back", "--format", "{{.Names}}").stdout == "old\n"
    assert host.run("ps", "-f", "status=created", "--format", "{{.Names}} {{.State}}").stdout == "old created\n"
    assert host.run("ps", "-a", "-f", "name=ol", "--format", '{{.Label "tier"}}').stdout == "back\n"
    assert host.run("ps", "-a", "-f", "since=old", "--format", "{{.Names}}").stdout == "new\n"
    rows = [json.loads(line) for line in host.run("ps", "-a", "--format", "json").stdout.splitlines()]
    assert {row["Names"]: row["State"] for row in rows} == {"old": "created", "new": "running"}
    table = host.run("ps", "-a", "--no-trunc", "--format", "table {{.ID}}\\t{{.Names}}").stdout.splitlines()
    assert table[0].split() == ["CONTAINER", "ID", "NAMES"]
    assert len(table[1].split()[0]) == 64
    assert "(virtual" in host.run("ps", "-s").stdout


def test_inspect_tells_what_was_asked_and_how_it_was_born(host: Host) -> None:
    idle(host, "--name", "web", "-m", "64m", "--cpus", "0.5", "-e", "A=1", "-l", "k=v", "-h", "box")
    [found] = json.loads(host.run("inspect", "web").stdout)
    assert found["State"]["Running"] is True
    assert found["HostConfig"]["Memory"] == 64 << 20
    assert found["HostConfig"]["NanoCpus"] == 500_000_000
    assert "A=1" in found["Config"]["Env"]
    assert found["Config"]["Labels"]["k"] == "v"
    steps = [step["name"] for step in found["BirthCertificate"]["steps"]]
    assert {"resolve image", "namespaces", "root filesystem", "privileges", "exec"} <= set(steps)
    line = host.run("inspect", "-f", '{{.Config.Hostname}} {{index .Config.Labels "k"}} {{json .State.Paused}}', "web")
    assert line.stdout == "box v false\n"
    [image] = json.loads(host.run("image", "inspect", "base").stdout)
    assert found["Image"] == image["Id"]


def test_limits_change_while_it_runs(host: Host) -> None:
    idle(host, "--name", "small", "-m", "64m")
    assert host.run("update", "-m", "96m", "--pids-limit", "50", "small").stdout == "small\n"
    assert (
        host.run("inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}", "small").stdout
        == "100663296 50\n"
    )
    assert "/ 96MiB" in host.run("stats", "--no-stream", "--format", "{{.MemUsage}}", "small").stdout


def test_dry_run_makes_nothing(host: Host) -> None:
    plan = host.run("run", "--dry-run", "-m", "64m", "base", "sh").stdout
    assert "67108864" in plan
    assert "overlay" in plan
    assert host.run("ps", "-aq").stdout == ""
    assert host.census() == {}


def test_a_run_imports_nothing_heavy(host: Host) -> None:
    code = "import sys; from pyctr.cli.main import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    for network in ("none", "bridge"):
        host.run("run", "--rm", "--network", network, "base", "true")  # the first one also fills caches
        done = subprocess.run(
            [sys.executable, "-S", "-c", code, "run", "--rm", "--network", network, "base", "true"],
            env={**host.env, "PYTHONSAFEPATH": ""},
            capture_output=True,
            text=True,
            check=True,
        )
        assert HEAVY & set(done.stderr.split()) == set()


def test_trace_prints_every_step_on_stderr(host: Host) -> None:
    done = host.run("run", "-d", "--name", "traced", "--network", "none", "--trace", "base", *IDLE)
    assert len(done.stdout.strip()) == 64
    for step in ("start of traced", "resolve image", "cgroup + limits", "root filesystem", "exec"):
        assert step in done.stderr


def test_cidfile(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "cid"
    host.run("run", "--cidfile", str(file), "--network", "none", "base", "true")
    assert file.read_text() == host.run("ps", "-aq", "--no-trunc").stdout.strip()
    again = host.run("run", "--cidfile", str(file), "base", "true", check=False)
    assert again.returncode == 125
    assert "exists" in again.stderr
    missing = tmp_path / "other"
    assert host.run("run", "--cidfile", str(missing), "nosuchimage", check=False).returncode == 125
    assert not missing.exists()


def test_events_tell_the_story(host: Host) -> None:
    host.run("run", "--rm", "--name", "brief", "--network", "none", "base", "sh", "-c", "exit 3", check=False)
    story = host.run("events", "--since", "1h", "--until", "0s", "--format", "{{.Action}}").stdout.split()
    assert [word for word in story if word != "exec"] == ["create", "start", "die", "destroy"]
    died = host.run("events", "--since", "1h", "--until", "0s", "-f", "event=die", "-f", "container=brief")
    assert "exitCode=3" in died.stdout and "image=base" in died.stdout


def test_port_and_top_and_diff(host: Host) -> None:
    host.run("run", "-d", "--name", "web", "-p", "127.0.0.1:0:80", "base", "sh", "-c", "touch /new; exec sleep 60")
    port = host.run("port", "web", "80").stdout.strip()
    assert port.startswith("127.0.0.1:")
    assert host.run("port", "web").stdout == f"80/tcp -> {port}\n"
    assert host.run("port", "web", "99", check=False).returncode == 1
    host.run("exec", "web", "true")
    assert "sleep 60" in host.run("top", "web").stdout
    assert "A /new" in host.run("diff", "web").stdout.splitlines()


def test_top_as_a_tree_says_what_each_process_does(host: Host) -> None:
    script = "echo; while :; do dd if=/dev/zero of=/f bs=64k count=16 conv=fsync 2>/dev/null; done & sleep 60"
    host.run("run", "-d", "--network", "none", "--name", "web", "base", "sh", "-c", script)
    deadline = time.monotonic() + 60
    while True:
        heading, *lines = host.run("top", "--tree", "web").stdout.splitlines()
        sleeper = next((line.split() for line in lines if line.rstrip().endswith("  sleep 60")), [])
        # on a busy host it is still on its way to sleep, or just woken, at the moment of a look
        if sleeper[3:5] == ["S", "1"] and sleeper[9] != "-" and len(lines) > 2:
            break
        assert time.monotonic() < deadline, lines
    assert heading.split()[:6] == ["PID", "INSIDE", "UID", "S", "THREADS", "CPU%"]
    first, *below = lines
    assert first.split()[1] == "1"
    # children stand below their parent, farther to the right
    column = heading.index("CMD")
    assert all(line[column:].startswith("  ") for line in below) and not first[column:].startswith(" ")
    assert host.run("top", "web", "--tree").stdout.startswith("PID")
    assert host.run("top", "--tree", "web", "-ef", check=False).returncode != 0


def test_stats_see_a_known_load(host: Host) -> None:
    host.run(
        *("run", "-d", "--name", "spin", "--network", "none", "--cpus", "0.2", "-m", "32m", "base"),
        *("sh", "-c", "head -c 8388608 /dev/zero > /dev/shm/x; while :; do :; done"),
    )
    host.run("exec", "spin", "true")
    line = host.run("stats", "--no-stream", "--format", "{{.CPUPerc}} {{.MemUsage}} {{.PIDs}}", "spin").stdout
    cpu, used, _, limit, pids = line.split()
    # a quota of 20 %; wide bounds, because a loaded host gives less and a period boundary more
    assert 2 < float(cpu.rstrip("%")) < 40
    assert limit == "32MiB"
    assert used.endswith("MiB")
    assert 8 <= float(used.removesuffix("MiB")) < 32
    assert pids == "1"


def test_images_have_names_history_and_users(host: Host) -> None:
    listed = host.run("images", "--format", "{{.Repository}}:{{.Tag}}").stdout
    assert listed == "localhost/base:latest\n"
    assert "CMD" in host.run("history", "base").stdout
    host.run("create", "--name", "user", "base")
    refused = host.run("rmi", "base", check=False)
    assert refused.returncode == 1
    assert "user" in refused.stderr


def test_volumes_outlive_containers(host: Host) -> None:
    host.run("volume", "create", "data")
    host.run("run", "--rm", "--network", "none", "-v", "data:/data", "base", "sh", "-c", "echo kept > /data/file")
    done = host.run("run", "--rm", "--network", "none", "-v", "data:/data:ro", "base", "cat", "/data/file")
    assert done.stdout == "kept\n"
    readonly = host.run(
        "run", "--rm", "--network", "none", "-v", "data:/data:ro", "base", "touch", "/data/x", check=False
    )
    assert readonly.returncode != 0
    assert host.run("volume", "inspect", "-f", "{{.Mountpoint}}", "data").stdout.strip().endswith("/data/_data")
    assert host.run("volume", "rm", "data").stdout == "data\n"
    assert host.run("volume", "ls", "-q").stdout == ""


def test_prune_takes_what_does_not_run(host: Host) -> None:
    idle(host, "--name", "alive")
    host.run("create", "--name", "idle", "base")
    refused = host.run("container", "prune", check=False, input="n\n")
    assert refused.returncode == 1
    host.run("container", "prune", "-f")
    assert host.run("ps", "-a", "--format", "{{.Names}}").stdout == "alive\n"


def test_environment_files_and_process_settings(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# comment\nFROM_FILE=1\nBOTH=file\n")
    script = "echo $FROM_FILE $BOTH $(id -u):$(id -g) $(pwd) $(hostname) $(ulimit -n); cat /proc/sys/kernel/msgmax"
    done = host.run(
        *("run", "--rm", "--network", "none", "--env-file", str(file), "-e", "BOTH=flag", "-u", "1000:1001"),
        *("-w", "/tmp", "-h", "box", "--ulimit", "nofile=77:99", "--sysctl", "kernel.msgmax=4096", "base"),
        *("sh", "-c", script),
    )
    assert done.stdout == "1 flag 1000:1001 /tmp box 77\n4096\n"


def test_info_version_and_doctor_answer(host: Host) -> None:
    assert host.paths.root in host.run("info").stdout
    assert host.run("info", "-f", "{{.CgroupParent}}").stdout.strip() == host.paths.cgroup_parent
    assert "pyctr version" in host.run("version").stdout
    assert "cgroups" in host.run("doctor", check=False).stdout
    assert json.loads(host.run("version", "--format", "json").stdout)["Version"]
