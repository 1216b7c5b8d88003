"""Containers of the real docker, podman, containerd and LXC, seen without them: their daemons are stopped meanwhile."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyctr.core import ring
from pyctr.core.cgroups import detect
from pyctr.core.engines.finder import Finder
from pyctr.core.hostrecord import HostRecorder, place, recorded
from pyctr.core.linux import inotify, procfs
from pyctr.core.paths import Paths
from tests.kernel.test_capture import capture, content, replayed
from tests.support import manager as managers
from tests.support.host import Host
from tests.support.manager import Manager

pytestmark = managers.needs("unshare", "nsenter", "ip", "busybox", "runc")

TICKS = "while :; do echo tick; echo tock >&2; sleep 0.2; done"
PODMAN = """
[containers]
default_ulimits = ["nofile=1000:1000", "nproc=1000:1000"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


class Dockerd(Manager):
    """With roots of its own, in a mount namespace of its own."""

    name = "docker"
    own_mounts = ("d",)
    run_words = ("-d",)
    network_words: tuple[str, ...] = ("--bridge", "none", "--iptables=false", "--ip6tables=false")

    def __init__(self) -> None:
        super().__init__()
        self.socket = f"unix://{self.base}/d.sock"
        self.base_words = ("-H", self.socket)

    def prepare(self) -> None:
        words = ["dockerd", "--data-root", f"{self.base}/d", "--exec-root", f"{self.base}/dr", "-H", self.socket]
        words += ["--pidfile", f"{self.base}/d.pid", "--cgroup-parent", self.group]
        words += self.network_words
        log = Path(f"{self.base}/d.log")
        with log.open("wb") as file:
            self.daemon = subprocess.Popen(self.enter(*words), env=self.env, stdout=file, stderr=file)
        deadline = time.monotonic() + 60
        while self("version", check=False).returncode:
            assert time.monotonic() < deadline and self.daemon.poll() is None, log.read_text()[-2000:]
            time.sleep(0.1)  # it gives no sign before its socket answers
        self("import", self.rootfs, "box")

    def daemons(self) -> list[int]:
        """dockerd and the containerd that it started."""
        assert self.daemon is not None
        return [self.daemon.pid, *procfs.children(self.daemon.pid)]


class Podman(Manager):
    name = "podman"
    own_mounts = ("p/overlay",)

    def __init__(self) -> None:
        super().__init__()
        Path(f"{self.base}/containers.conf").write_text(PODMAN)
        roots = ("--root", f"{self.base}/p", "--runroot", f"{self.base}/pr", "--tmpdir", f"{self.base}/pt")
        self.base_words = (*roots, "--runtime", "runc")
        self.run_words = ("-d", "--cgroup-parent", self.group, "--network=none")

    def prepare(self) -> None:
        self("import", "-q", self.rootfs, "box")

    @property
    def env(self) -> dict[str, str]:
        return {
            **super().env,
            "CONTAINERS_CONF": f"{self.base}/containers.conf",
            "XDG_RUNTIME_DIR": f"{self.base}/home",
        }

    def groups(self) -> list[str]:
        """Without those for conmons and pods."""
        return [path for path in super().groups() if "/libpod-" in path]


@pytest.fixture(scope="module")
def docker() -> Iterator[Dockerd]:
    if not all(map(shutil.which, ("dockerd", "docker"))):
        pytest.skip("needs dockerd, docker")
    found = Dockerd()
    try:
        found.prepare()
        yield found
        for id in found("ps", "-aq").stdout.split():
            found("rm", "-f", id)
    finally:
        found.close()


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    if not all(map(shutil.which, ("podman", "conmon"))):
        pytest.skip("needs podman, conmon")
    found = Podman()
    try:
        found.prepare()
        yield found
        found("pod", "rm", "-fa", "-t", "0")
        found("rm", "-fa", "-t", "0")
    finally:
        found.close()


def listed(manager: Manager, *words: str) -> dict[str, dict[str, Any]]:
    """What `pyctr ps` says of this engine's containers, by name; another's on the same host are left out."""
    done = manager.host.run("ps", "--no-trunc", "--engine", manager.name, "--format", "json", *words)
    own = set(manager("ps", "-aq", "--no-trunc").stdout.split())
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {row["Names"]: row for row in rows if row["ID"] in own}


def inspected(manager: Manager, ref: str) -> dict[str, Any]:
    [found] = json.loads(manager.host.run("inspect", ref).stdout)
    return dict(found)


def test_everything_is_seen_while_docker_and_its_containerd_are_stopped(docker: Dockerd) -> None:
    flags = (
        "--label",
        "team=red",
        "--env",
        "GREETING=hello you",
        "--memory",
        "64m",
        "-v",
        f"{docker.base}/home:/data:ro",
    )
    id = docker.run("--name", "web", *flags, "box", "sh", "-c", TICKS).stdout.strip()
    pid = int(docker.state("web", "{{.State.Pid}}"))
    own = docker.host.run
    docker.until(lambda: own("logs", f"docker:{id}").stdout.count("tick") > 1, "two lines of its log")
    stopped = docker.daemons()
    assert len(stopped) > 1
    for daemon in stopped:
        os.kill(daemon, signal.SIGSTOP)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            subprocess.run(docker.command("ps"), env=docker.env, capture_output=True, timeout=2)
        [row] = [
            json.loads(line)
            for line in own("ps", "-A", "--no-trunc", "--format", "json").stdout.splitlines()
            if id in line
        ]
        assert (row["Engine"], row["Names"], row["Image"], row["State"]) == ("docker", "web", "box", "running")
        assert row["Labels"] == "team=red" and row["Status"].startswith("Up ")
        stats = json.loads(own("stats", "--no-stream", "--format", "json", f"docker:{id}").stdout)
        assert stats["MemUsage"].endswith("/ 64MiB") and int(stats["PIDs"]) >= 1 and stats["CPUPerc"].endswith("%")
        assert "tick" in own("top", f"docker:{id}").stdout
        document = inspected(docker, f"docker:{id}")
        assert document["State"]["Pid"] == pid and document["HostConfig"]["Memory"] == 64 << 20
        assert [mount["Destination"] for mount in document["Mounts"]] == ["/data"]
        assert "GREETING=hello you" in document["Config"]["Env"]
        assert document["Layers"][0].startswith(f"{docker.base}/d/overlay2/")
        assert "pipe" in own("lsof", f"docker:{id}").stdout
        assert own("debug", f"docker:{id}", "sh", "-c", "cat /proc/1/comm").stdout == "sh\n"
        rated = [json.loads(line) for line in own("posture", "-A", "--format", "json").stdout.splitlines()]
        assert {row["Engine"]: row["Name"] for row in rated if row["ID"] == id} == {"docker": "web"}
        found = own("posture", f"docker:{id}").stdout
        assert "runs as root" in found and "--user 1000" in found and "--memory" not in found
        shown = subprocess.run(
            [sys.executable, "-m", "pyctr.tui.main", "--once", "--engine", "docker", "--screen", "posture", "--csv"],
            env=docker.host.env,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout
        assert f"web,docker:{id},docker,running,warn,user,runs as root" in shown
        said = own("logs", "-t", "-n", "4", f"docker:{id}")
        assert "tick" in said.stdout and "tock" in said.stderr
    finally:
        for daemon in stopped:
            os.kill(daemon, signal.SIGCONT)
    docker("rm", "-f", "web")


def test_what_it_says_is_what_docker_says(docker: Dockerd) -> None:
    docker.run("--name", "frozen", "box", "sleep", "1000")
    docker("pause", "frozen")
    docker("run", "--name", "over", "box", "sh", "-c", "exit 3", check=False)
    docker("create", "--name", "fresh", "box", "true")
    rows = listed(docker, "-a")
    assert {name: row["State"] for name, row in rows.items()} == {
        "frozen": "paused",
        "over": "exited",
        "fresh": "created",
    }
    assert rows["over"]["Status"].startswith("Exited (3)")
    for name in rows:
        theirs = json.loads(docker("inspect", name).stdout)[0]
        ours = inspected(docker, f"docker:{theirs['Id']}")
        assert ours["Created"][:19] == theirs["Created"][:19]
        assert ours["State"]["Status"] == theirs["State"]["Status"]
        assert ours["State"]["Pid"] == theirs["State"]["Pid"]
        assert (ours["State"]["StartedAt"] or "0001-01-01T00:00:00")[:19] == theirs["State"]["StartedAt"][:19]
    docker("rm", "-f", *rows)
    assert listed(docker, "-a") == {}


@pytest.mark.parametrize("driver", ["local", "json-file"])
def test_a_log_that_docker_rotates_and_compresses_is_read_and_followed_while_docker_is_stopped(
    docker: Dockerd, driver: str
) -> None:
    """Rotated three times and more, with a line that docker cuts into parts."""
    script = "i=0; while [ $i -lt 900 ]; do i=$((i+1)); echo line $i; echo bad $i >&2; done; "
    script += "x=xxxxxxxxxx; while [ ${#x} -lt 40000 ]; do x=$x$x; done; echo $x; sleep 1000"
    size, compress = ("16k", ()) if driver == "local" else ("48k", ("--log-opt", "compress=true"))
    options = ("--log-driver", driver, "--log-opt", f"max-size={size}", "--log-opt", "max-file=30", *compress)
    id = docker.run("--name", "packed", *options, "box", "sh", "-c", script).stdout.strip()
    own = docker.host.run
    docker.until(lambda: docker("logs", "packed").stdout.rstrip().endswith("xxx"), "all of its log")
    files = Path(f"{docker.base}/d/containers/{id}" + ("/local-logs" if driver == "local" else ""))
    docker.until(lambda: len(list(files.glob("*.log.*.gz"))) > 1, "compressed files")
    theirs, stamped = docker("logs", "packed"), docker("logs", "-t", "packed")
    daemons = docker.daemons()
    for daemon in daemons:
        os.kill(daemon, signal.SIGSTOP)
    try:
        ours = own("logs", f"docker:{id}")
        # docker's own reader forgets the newline of a line that it had cut
        assert (ours.stdout.rstrip(), ours.stderr) == (theirs.stdout.rstrip(), theirs.stderr)
        assert len(ours.stdout.splitlines()[-1]) > 40_000 and ours.stdout.endswith("x\n")
        assert own("logs", "-t", f"docker:{id}").stderr == stamped.stderr != ""
        ours = own("logs", "-n", "30", f"docker:{id}")
        assert theirs.stderr.endswith(ours.stderr) and (ours.stdout + ours.stderr).count("\n") == 30
        ours = own("logs", "-n", "1500", f"docker:{id}")
        assert theirs.stderr.endswith(ours.stderr) and (ours.stdout + ours.stderr).count("\n") == 1500
    finally:
        for daemon in daemons:
            os.kill(daemon, signal.SIGCONT)
    follower = subprocess.Popen(
        docker.host.command("logs", "-f", "-n", "0", f"docker:{id}"), env=docker.host.env, stdout=subprocess.PIPE
    )
    # it follows once it watches the directory
    docker.until(lambda: _watches(follower.pid, files.stat().st_ino), "the follower")
    # through some rotations, and to the end
    later = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo later $i; done > /proc/1/fd/1"
    docker("exec", "packed", "sh", "-c", later)
    assert follower.stdout is not None
    said = [follower.stdout.readline() for _ in range(3000)]
    assert said == [b"later %d\n" % number for number in range(1, 3001)]
    docker("rm", "-f", "packed")
    assert follower.stdout.read() == b"" and follower.wait(30) == 0
    follower.stdout.close()


def _watches(pid: int, inode: int) -> bool:
    """Whether a process watches that directory by inotify(7), proc_pid_fdinfo(5)."""
    for info in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            if f" ino:{inode:x} " in info.read_text():
                return True
        except OSError:
            continue  # it was closed just now
    return False


def test_docker_is_told_to_stop_start_and_remove_and_not_waited_for_when_it_hangs(docker: Dockerd) -> None:
    id = docker.run("--name", "told", "box", "sleep", "1000").stdout.strip()
    own = docker.host.run
    own("stop", "-t", "0", f"docker:{id}")
    assert listed(docker, "-a")["told"]["State"] == "exited"
    own("start", f"docker:{id}")
    assert listed(docker)["told"]["State"] == "running"
    stopped = docker.daemons()
    for daemon in stopped:
        os.kill(daemon, signal.SIGSTOP)
    try:
        refused = own("stop", f"docker:{id}", check=False)
        assert refused.returncode == 1 and "docker does not answer" in refused.stderr
        assert "running" in own("ps", "--engine", "docker", "--format", "{{.State}}", "-f", f"id={id}").stdout
    finally:
        for daemon in stopped:
            os.kill(daemon, signal.SIGCONT)
    own("rm", "-f", f"docker:{id}")
    assert listed(docker, "-a") == {}


def test_a_container_of_docker_is_frozen_bounded_and_killed_and_all_of_it_taken_back_while_docker_is_stopped(
    docker: Dockerd,
) -> None:
    ignoring = "trap '' HUP INT TERM; while :; do (trap '' TERM; exec sleep 1000) & sleep 0.05; done"
    id = docker.run("--name", "treated", "--memory", "128m", "box", "sh", "-c", ignoring).stdout.strip()
    own, ref = docker.host.run, f"docker:{id}"
    pid = int(docker.state("treated", "{{.State.Pid}}"))

    def status() -> str:
        return str(inspected(docker, ref)["State"]["Status"])

    def limits() -> list[str]:
        return own("update", "--dry-run", "-m", "48m", "--pids-limit", "77", "--cpus", "0.5", ref).stdout.splitlines()

    stopped = docker.daemons()
    for daemon in stopped:
        os.kill(daemon, signal.SIGSTOP)
    try:
        file, _, change = own("pause", "--dry-run", ref).stdout.strip().partition(": ")
        assert id in file and change in ("0 -> 1", "THAWED -> FROZEN") and status() == "running"
        own("pause", ref)
        assert Path(file).read_text().strip() == change.split()[-1] and status() == "paused"
        own("unpause", ref)
        assert Path(file).read_text().strip() == change.split()[0] and status() == "running"
        before = limits()
        assert len(before) >= 3 and all(id in line for line in before)
        own("update", "--for", "1h", "-m", "48m", "--pids-limit", "77", "--cpus", "0.5", ref)
        for line in limits():
            written, _, now = line.partition(": ")
            assert now.split(" -> ")[0] == now.split(" -> ")[1] == Path(written).read_text().strip()
        own("revert", ref)
        assert limits() == before
        everything = set(map(int, own("kill", "--all", "--dry-run", "-s", "USR1", ref).stdout.split()[2:]))
        assert pid in everything and len(everything) > 2
        planned = own("kill", "--all", "--dry-run", ref).stdout
        watch = inotify.init()
        try:
            by_file = "cgroup.kill: 1" in planned  # a v1 group of docker has no twin that could
            if by_file:
                inotify.add_watch(watch, planned.partition(": ")[0], inotify.IN_MODIFY)
            own("kill", "--all", ref)
            assert inotify.drain(watch) == by_file
        finally:
            os.close(watch)
        docker.until(lambda: not {one for one in everything if _alive(one)}, "the end of those that were there")
        assert not [path for path in docker.groups() if id in path and Path(path, "cgroup.procs").read_text()]
    finally:
        for daemon in stopped:
            os.kill(daemon, signal.SIGCONT)
    docker.until(lambda: docker.state("treated", "{{.State.ExitCode}}") == "137", "what docker says of it")
    docker("rm", "-f", "treated")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_capture_with_docker_and_podman_is_looked_at_elsewhere_by_nobody(docker: Dockerd, podman: Podman) -> None:
    say = "echo password=pl4nted-said; echo ready; while :; do sleep 1; done"
    words = (
        "-e",
        "DB_PASSWORD=pl4nted-env",
        "--memory",
        "64m",
        "-v",
        f"{docker.base}/home:/data",
        "box",
        "sh",
        "-c",
        say,
    )
    ids = {engine.name: engine.run("--name", "shot", *words).stdout.strip() for engine in (docker, podman)}
    for name, id in ids.items():
        docker.until(lambda ref=f"{name}:{id}": "ready" in docker.host.run("logs", ref).stdout, "its log")
    path = capture(docker.host)
    assert b"pl4nted" not in content(path)
    for engine in (docker, podman):
        engine.remove("shot")

    def looked(*more: str) -> dict[str, Any]:
        return dict(json.loads(replayed(path, "--engine", "all", "--json", *more)))

    keys = {name: f"{name}:{id}" for name, id in ids.items()}
    found = looked("--select", keys["docker"], "--tab", "mounts")
    assert "/data" in json.dumps(found["detail"])
    rows = {row["engine"]: row for row in found["containers"] if row["name"] == "shot"}
    assert {name: row["id"] for name, row in rows.items()} == keys
    for row in rows.values():
        assert (row["status"], row["pids"] >= 1, row["cpu"] is not None) == ("running", True, True)
        assert row["memory_limit"] == 64 << 20 and "box" in row["image"] and row["command"].startswith("sh -c")
    for key in keys.values():
        said = [(line["stream"], line["text"]) for line in looked("--select", key, "--tab", "logs")["log"]]
        assert said == [("stdout", "password=[redacted]"), ("stdout", "ready")]
    rated = {one["id"]: json.dumps(one) for one in looked("--screen", "posture")["posture"]}
    assert all("runs as root" in rated[key] for key in keys.values())


RIGHTS = """
grep -E '^(Cap|Seccomp:|NoNewPrivs|Uid|Groups)' /proc/self/status
hostname; pwd; echo $A
for kind in ipc mnt net pid uts user; do readlink /proc/self/ns/$kind; done
"""


def in_theirs(manager: Manager, ref: str, *words: str) -> str:
    return manager.host.run("exec", "-e", "A=b", f"{manager.name}:{ref}", *words).stdout


def test_a_further_process_has_what_dockers_own_exec_gives_while_docker_is_stopped(docker: Dockerd) -> None:
    flags = ("--hostname", "inside", "--cap-drop", "CHOWN", "--user", "1000:1001", "-w", "/tmp")
    id = docker.run("--name", "joined", *flags, "box", "sleep", "1000").stdout.strip()
    theirs = docker("exec", "-e", "A=b", "joined", "sh", "-c", RIGHTS).stdout
    stopped = docker.daemons()
    for daemon in stopped:
        os.kill(daemon, signal.SIGSTOP)
    try:
        assert in_theirs(docker, id, "sh", "-c", RIGHTS) == theirs
        assert docker.host.run("exec", f"docker:{id}", "sh", "-c", "exit 7", check=False).returncode == 7
        assert docker.host.run("exec", f"docker:{id}", "nothere", check=False).returncode == 127
        inside = in_theirs(docker, id, "sh", "-c", "cat /proc/self/cgroup; ls /proc/self/fd")
        assert f"/{id}" in inside and "\n4\n" not in inside, "in its group, without a descriptor of ours"
    finally:
        for daemon in stopped:
            os.kill(daemon, signal.SIGCONT)
    docker("rm", "-f", "joined")


def test_a_shell_of_theirs_has_a_terminal_of_its_own(docker: Dockerd) -> None:
    id = docker.run("--name", "shell", "box", "sleep", "1000").stdout.strip()
    master, slave = pty.openpty()
    words = docker.host.command(
        "exec", "-it", f"docker:{id}", "sh", "-c", "tty; echo $TERM; stty size; read line; echo $line"
    )
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    child = subprocess.Popen(
        words, env=docker.host.env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    os.write(master, b"typed\n")
    said = b""
    try:
        while select.select([master], [], [], 60)[0]:
            try:
                said += os.read(master, 4096)
            except OSError:
                break  # nobody has it open any more
        assert child.wait(20) == 0
    finally:
        child.kill()
        os.close(master)
    assert b"/dev/pts/0" in said and b"xterm" in said and b"33 99" in said and said.count(b"typed") >= 2
    docker("rm", "-f", "shell")


def test_containers_that_come_and_go_while_it_looks_break_nothing(docker: Dockerd) -> None:
    finder = Finder(docker.host.paths, detect())
    coming = subprocess.Popen(
        docker.enter("sh", "-c", f"for n in 1 2 3 4; do docker -H {docker.socket} run --rm box true; done"),
        env=docker.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    seen = set()
    while coming.poll() is None:
        seen |= {one.id for one in finder.look() if one.group.startswith(docker.group)}
        time.sleep(0.02)  # somebody else may use the processor
    assert coming.returncode == 0
    assert seen, "none was seen while it ran"
    assert not [one for one in finder.look() if one.group.startswith(docker.group)]


def test_podmans_containers_and_pods(podman: Podman) -> None:
    podman.run("--name", "web", "--label", "team=blue", "--memory", "64m", "box", "sh", "-c", TICKS)
    podman("run", "--name", "over", *podman.run_words[1:], "box", "sh", "-c", "exit 3", check=False)
    infra = ("--infra-image", "box", "--infra-command", "sleep 1000", "--network=none")
    podman("pod", "create", *infra, "--name", "pod", "--cgroup-parent", podman.group)
    podman("run", "-d", "--pod", "pod", "--name", "inpod", "box", "sleep", "1000")
    rows = listed(podman)
    assert {name: row["State"] for name, row in rows.items()} == {"web": "running", "inpod": "running"}
    assert (rows["web"]["Labels"], rows["inpod"]["Pod"]) == ("team=blue", "pod")
    every = listed(podman, "-a")
    assert len(every) == 4, "with the one that ended and the pod's own"
    assert every["over"]["Status"].startswith("Exited (3)")
    id = rows["web"]["ID"]
    own = podman.host.run
    podman.until(lambda: own("logs", f"podman:{id}").stdout.count("tick") > 1, "two lines of its log")
    pid, image = int(podman.state("web", "{{.State.Pid}}")), podman.state("web", "{{.ImageName}}")
    # podman has no daemon, only a service for those who want one; what stays beside a container is its conmon
    service = subprocess.Popen(
        podman.command("system", "service", "--time=0", f"unix://{podman.base}/p.sock"), env=podman.env
    )
    stopped = [inspected(podman, f"podman:{id}")["Supervisor"], service.pid]
    try:
        podman.until(lambda: _pinged(f"{podman.base}/p.sock", 5) == b"OK", "podman's service")
        for pid_of_theirs in stopped:
            os.kill(pid_of_theirs, signal.SIGSTOP)
            podman.until(lambda pid=pid_of_theirs: procfs.stat(pid).state == "T", "its stop")  # type: ignore[misc]
        assert _pinged(f"{podman.base}/p.sock", 1) == b""
        document = inspected(podman, f"podman:{id}")
        assert (document["State"]["Pid"], document["Image"]) == (pid, image)
        stats = json.loads(own("stats", "--no-stream", "--format", "json", f"podman:{id}").stdout)
        assert stats["MemUsage"].endswith("/ 64MiB")
        assert "tick" in own("logs", "-n", "4", f"podman:{id}").stdout and "tick" in own("top", f"podman:{id}").stdout
        assert own("exec", f"podman:{id}", "sh", "-c", "echo inside").stdout == "inside\n"
        assert "runs as root" in own("posture", f"podman:{id}").stdout
        assert {name: row["State"] for name, row in _shown(podman).items()}["web"] == "running"
    finally:
        os.kill(stopped[0], signal.SIGCONT)
        service.kill()
        service.wait()


def _pinged(path: str, seconds: float) -> bytes:
    """What a service says to a ping within these seconds."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(seconds)
        try:
            asking.connect(path)
            asking.sendall(b"GET /_ping HTTP/1.0\r\nHost: podman\r\n\r\n")
            return b"".join(iter(lambda: asking.recv(4096), b"")).rpartition(b"\r\n\r\n")[2]
        except (OSError, TimeoutError):
            return b""


def _shown(manager: Manager) -> dict[str, dict[str, Any]]:
    """Rows of this engine, by name, without asking it anything."""
    done = manager.host.run("ps", "--no-trunc", "--engine", manager.name, "--format", "json")
    return {row["Names"]: row for row in map(json.loads, done.stdout.splitlines())}


def test_how_podmans_containers_died_is_told_with_their_last_minute(podman: Podman) -> None:
    hog = "echo begun; while [ ! -e /go ]; do sleep 0.1; done; x=$(head -c 90000000 /dev/zero | tr '\\0' a); echo $x"
    flags = ("--memory", "32m", "--memory-swap", "32m")
    ids = [
        podman.run("--name", name, *more, "box", *words).stdout.strip()
        for name, more, words in (
            ("hog", flags, ("sh", "-c", hog)),
            ("victim", (), ("sh", "-c", "head -c 3000000 /dev/zero >/big; touch /done; exec sleep 1000")),
        )
    ]
    # by whose processes this engine's roots are known
    podman.run("--name", "bystander", "box", "sleep", "1000")
    podman.until(lambda: podman("exec", "victim", "test", "-e", "/done", check=False).returncode == 0, "its file")
    paths = podman.host.paths
    # their cgroups are below what is ours in this test, which a recorder of the machine leaves alone
    recorder = HostRecorder(Paths(root=paths.root, run=paths.run, cgroup_parent="none", bridge=paths.bridge))
    try:
        recorder.find()
        recorder.record()
        time.sleep(5.1 - time.time() % 5)  # the next slot of the ring
        recorder.record()
        podman("exec", "hog", "touch", "/go")
        os.kill(int(podman.state("victim", "{{.State.Pid}}")), signal.SIGKILL)
        for name in ("hog", "victim"):
            podman("wait", name)
        recorder.find()  # their cgroups are gone: what is on record of them stays
        [group] = [group for group, _ in recorded(paths) if ids[1] in group]
        layers = [one.sample.layer for one in ring.read(place(paths, group)) if one.sample.layer]
        assert layers and layers[0] >= 3_000_000, "what it wrote to its layer"
    finally:
        recorder.close()
    hogs, victims = (json.loads(podman.host.run("deaths", "--json", f"podman:{id}").stdout) for id in ids)
    assert (hogs["cause"], hogs["code"], hogs["engine"]) == ("oom", 137, "podman")
    assert hogs["log"][0][1:] == ["stdout", "begun"]
    assert (victims["cause"], victims["code"]) == ("killed", 137)
    for document in (hogs, victims):
        assert len(document["samples"]) == 2 and document["samples"][1]["cpu_percent"] is not None
    assert "killed by SIGKILL from outside, not for memory" in podman.host.run("deaths", f"podman:{ids[1]}").stdout


def test_a_further_process_has_what_podmans_own_exec_gives(podman: Podman) -> None:
    id = podman.run("--name", "joined", "--read-only", "--user", "sam", "box", "sleep", "1000").stdout.strip()
    script = RIGHTS.replace("|Groups", "")
    theirs = podman("exec", "-e", "A=b", "joined", "sh", "-c", script).stdout
    assert in_theirs(podman, id, "sh", "-c", script) == theirs
    # podman's exec leaves out the group that is the user's own anyway; the first process has it
    groups = in_theirs(podman, id, "grep", "-h", "Groups", "/proc/1/status", "/proc/self/status").splitlines()
    assert groups[0] == groups[1]
    assert in_theirs(podman, id, "sh", "-c", "touch /x || echo refused") == "refused\n"
    assert podman.host.run("exec", "-u", "root", f"podman:{id}", "id", "-u").stdout == "0\n"


def test_a_log_of_others_is_followed_until_its_container_ends(podman: Podman) -> None:
    id = podman.run("--name", "talks", "box", "sh", "-c", "for n in 1 2 3; do echo $n; sleep 0.3; done").stdout.strip()
    done = podman.host.run("logs", "-f", f"podman:{id}")
    assert done.stdout == "1\n2\n3\n"


LXC = """lxc.rootfs.path = dir:{top}/rootfs
lxc.net.0.type = empty
lxc.init.cmd = /bin/sleep 1000
lxc.autodev = 0
lxc.pty.max = 0
lxc.tty.max = 0
lxc.cgroup.memory.limit_in_bytes = 64M
"""


def test_a_container_of_lxc(tmp_path: Path) -> None:
    if shutil.which("lxc-start") is None:
        pytest.skip("needs lxc-start")
    if not os.path.isdir("/sys/fs/cgroup/memory"):
        pytest.skip("its limit here is one of cgroup v1")
    host = Host()
    name = f"box-{host.paths.bridge}"
    top = Path(f"{host.base}/lxc/{name}")
    before = set(map(str, Path("/sys/fs/cgroup").glob("*/lxc*")))
    try:
        for directory in ("bin", "proc", "sys", "dev"):
            (top / "rootfs" / directory).mkdir(parents=True)
        shutil.copy("/bin/busybox", top / "rootfs/bin/sleep")
        (top / "config").write_text(LXC.format(top=top))
        subprocess.run(["lxc-start", "-P", str(top.parent), "-n", name, "-d"], check=True, timeout=30)
        [row] = [
            json.loads(line)
            for line in host.run("ps", "--engine", "lxc", "--format", "json").stdout.splitlines()
            if name in line
        ]
        assert row["State"] == "running" and row["Command"] == '"/bin/sleep 1000"'
        [document] = json.loads(host.run("inspect", f"lxc:{name}").stdout)
        assert document["CgroupPath"].endswith(name) and document["State"]["Pid"] > 1
        stats = json.loads(host.run("stats", "--no-stream", "--format", "json", f"lxc:{name}").stdout)
        assert stats["MemUsage"].endswith("/ 64MiB")
        assert "sleep 1000" in host.run("top", f"lxc:{name}").stdout
        assert host.run("exec", f"lxc:{name}", "sleep", "0").returncode == 0
        host.run("stop", "-t", "0", f"lxc:{name}")
        deadline = time.monotonic() + 30
        while name in host.run("ps", "--engine", "lxc", "--format", "{{.Names}}").stdout:
            assert time.monotonic() < deadline
            time.sleep(0.1)  # its monitor cleans up after the answer, and tells nobody
    finally:
        subprocess.run(["lxc-stop", "-k", "-P", str(top.parent), "-n", name], stderr=subprocess.DEVNULL, timeout=30)
        for left in set(map(str, Path("/sys/fs/cgroup").glob("*/lxc*"))) - before:
            try:
                os.rmdir(left)
            except OSError:
                pass  # another LXC on this host uses its own by now
        host.close()


def test_a_task_of_containerd(tmp_path: Path) -> None:
    """Its group has no id in its name: the shim's bundle and the database tell of it."""
    if not all(map(shutil.which, ("containerd", "ctr"))):
        pytest.skip("needs containerd, ctr")
    from tests.kernel.test_interop_runtime_containerd import IMAGE, Containerd

    ctr = Containerd()
    try:
        ctr.prepare()
        group = f"{ctr.group}/blue"
        name = f"blue-{ctr.host.paths.bridge}"
        # what nerdctl says of a container it says in labels
        lines = Path(f"{ctr.base}/home/{name}-json.log")
        lines.write_text('{"log":"hello\\n","stream":"stdout","time":"2026-11-20T23:14:07.4Z"}\n')
        labels = {"nerdctl/name": f"till-{name}", "nerdctl/state-dir": str(lines.parent)}
        labels["nerdctl/ports"] = '[{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":"0.0.0.0"}]'
        told = [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
        runc = ("--runc-binary", f"{ctr.base}/runc", "--cgroup", group)
        ctr("run", "-d", *runc, *told, IMAGE, name, "sleep", "1000")
        assert ctr.daemon is not None
        os.kill(ctr.daemon.pid, signal.SIGSTOP)
        try:
            document = inspected(ctr, f"containerd:{name}")
        finally:
            os.kill(ctr.daemon.pid, signal.SIGCONT)
        assert (document["Image"], document["CgroupPath"]) == (IMAGE, group)
        assert document["Name"] == f"till-{name}" and "8080" in json.dumps(document["NetworkSettings"]["Ports"])
        assert ctr.host.run("logs", f"containerd:till-{name}").stdout == "hello\n"
        assert document["State"]["Status"] == "running" and document["Config"]["Cmd"] == ["sleep", "1000"]
        rights = ("sh", "-c", "grep -E '^(Cap|Seccomp:|NoNewPrivs|Uid)' /proc/self/status; readlink /proc/self/ns/net")
        theirs = ctr("task", "exec", "--exec-id", "one", name, *rights).stdout
        assert ctr.host.run("exec", f"containerd:{name}", *rights).stdout == theirs
        ctr("task", "kill", "-s", "KILL", name)
        ctr.until(lambda: ctr("task", "rm", name, check=False).returncode == 0, "the end of its task")
        ctr("container", "rm", name)
    finally:
        ctr.close()
