"""Record real incidents as captures that the judge is tested on: a few kB each, and nothing that names the machine.

    python -m tests.support.record_incidents [INCIDENT]...          (root; all of them take some five minutes)

Each is made in a pyctr of its own beside a container that is well, watched until the judge tells it, and captured as
any user would (`pyctr capture`). What the judge does not read is taken out, names and paths are replaced.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pyctr.core.capture import archive
from pyctr.core.capture.moments import ROOTS, Moment, Recording
from pyctr.core.engine import Engine
from pyctr.core.images import base
from pyctr.core.paths import Paths
from pyctr.tui.engine import Poller
from pyctr.tui.snapshot import Focus
from tests.support.host import REPOSITORY, Host

PLACE = REPOSITORY / "tests/golden/incidents"
FIFREEZE, FITHAW = 0xC0045877, 0xC0045878
BOOT = "6d1f6a52-0c7e-4c0e-9f0d-2f1f5f1f7a01"
_FILES = ("state.json", "config.json", "health.json", "history", "processes")
_HOST = ("stat", "loadavg", "meminfo", "uptime", "sys/kernel/random/boot_id")
_PROCESS = ("stat", "status", "comm", "cgroup")


class Incident(NamedTuple):
    kind: str
    """What has to be told of it first."""
    flags: str = ""
    script: str = "exec sleep 10000"
    around: str = ""
    """What else it takes: a name in AROUND."""
    settle: float = 0.0
    """Seconds for which it goes on once it was told: the recorder looks at layers and sleeps every twenty."""


INCIDENTS = {
    "memory-leak": Incident(
        "oom", "-m 32m --restart always", "sleep 1; x=$(head -c 60000000 /dev/zero | tr '\\0' a); echo ${#x}"
    ),
    "crash-loop": Incident("crash-loop", "--restart always", "echo no configuration; exit 3"),
    "quota": Incident("throttled", "--cpus 0.05", "while :; do :; done", settle=8),
    "fork-bomb": Incident("pids", "--pids-limit 64", "f() { f & f & exec sleep 1000; }; f"),
    "unhealthy": Incident("unhealthy", "--health-cmd false --health-interval 500ms --health-retries 2"),
    "failed": Incident("failed", "", "exit 7"),
    "frozen": Incident("frozen"),
    "zombies": Incident("zombies", "", "for i in 1 2 3 4 5 6; do sleep 0 & done; exec sleep 10000", settle=25),
    "busy-host": Incident("starved", "--cpus 1 --cpu-shares 2", "while :; do :; done", "busy"),
    "slow-disk": Incident(
        "io",
        "",
        "head -c 4000000 /dev/zero > /big; sync; while :; do dd if=/big of=/dev/null bs=64k iflag=direct; done",
        "throttled",
        settle=4,
    ),
    "filling-disk": Incident("disk", "", "while :; do head -c 100000 /dev/zero >> /big; sleep 0.5; done", "small", 45),
    "hung-disk": Incident("io", "", "while [ ! -e /go ]; do sleep 0.05; done; echo x > /io/f", "hung", 75),
    "idle": Incident(""),
}
IDLE = {
    "limited": "-m 32m --cpus 0.5 --pids-limit 16",
    "healthy": "--health-cmd true --health-interval 2s",
    "keeper": "--restart always",
}


@contextlib.contextmanager
def busy(host: Host) -> Iterator[str]:
    """Somebody else has every core."""
    work = "import os; os.nice(5)\nwhile True: pass"
    spinners = [subprocess.Popen([sys.executable, "-c", work]) for _ in os.sched_getaffinity(0)]
    try:
        yield ""
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


@contextlib.contextmanager
def throttled(host: Host) -> Iterator[str]:
    """The disk of the layers gives it 64 KiB a second."""
    from tests.kernel.test_triage import disk

    yield f"--device-read-bps {disk(host)}:65536"


@contextlib.contextmanager
def small(host: Host) -> Iterator[str]:
    """A root of 48 MiB."""
    links = {name: os.readlink(f"{host.paths.root}/{name}") for name in ("images", "layers")}
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m,mode=700", "tmpfs", host.paths.root], check=True)
    try:
        for name, target in links.items():
            os.symlink(target, f"{host.paths.root}/{name}")
        yield ""
    finally:
        clear(host)
        subprocess.run(["umount", host.paths.root], check=True)


@contextlib.contextmanager
def hung(host: Host) -> Iterator[str]:
    """A disk of its own that does not answer once there is a file /go."""
    disk, image = f"{host.base}/disk", f"{host.base}/disk.img"
    os.mkdir(disk)
    with open(image, "wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, disk], check=True)
    place = os.open(disk, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.ioctl(place, FIFREEZE, 0)
    try:
        yield f"-v {disk}:/io"
    finally:
        fcntl.ioctl(place, FITHAW, 0)
        os.close(place)
        clear(host)
        subprocess.run(["umount", disk], check=True)


AROUND = {
    "": lambda host: contextlib.nullcontext(""),
    "busy": busy,
    "throttled": throttled,
    "small": small,
    "hung": hung,
}


def clear(host: Host) -> None:
    host.run("rm", "-f", *host.run("ps", "-aq").stdout.split(), check=False)


def make(name: str, images: Paths) -> None:
    """One incident, from its beginning to the file."""
    incident, host = INCIDENTS[name], Host(images_from=images)
    try:
        with AROUND[incident.around](host) as more:
            run = ("run", "-d", "--network", "none", "--name")
            if incident.kind:
                flags = (*incident.flags.split(), *more.split())
                host.run(*run, "patient", *flags, "localhost/base", "sh", "-c", incident.script)
                host.run(*run, "well", "-m", "64m", "localhost/base", "sleep", "10000")
            for one, flags_of in IDLE.items() if not incident.kind else ():
                host.run(*run, one, *flags_of.split(), "localhost/base", "sleep", "10000")
            if name == "frozen":
                host.run("pause", "patient")
            if name == "hung-disk":
                host.run("exec", "patient", "touch", "/go")
            wait(host, incident)
            time.sleep(incident.settle)  # a sampling interval, several of them
            whole = f"{host.base}/whole"
            host.run("capture", "-q", "--seconds", "4", "-o", whole)
            PLACE.mkdir(exist_ok=True)
            with (PLACE / f"{name}.capture").open("wb") as file:
                archive.pack(trimmed(archive.unpack(whole), host), file.write)
    finally:
        clear(host)
        host.close()
    print(f"{name}: {(PLACE / f'{name}.capture').stat().st_size} bytes")


def wait(host: Host, incident: Incident) -> None:
    """Until it is told first, or for some seconds where there is nothing to tell."""
    poller = Poller(host.paths)
    poller.look_at(Focus(sources=("triage",)))
    deadline = time.monotonic() + (120 if incident.kind else 12)
    try:
        while time.monotonic() < deadline:
            ward = poller.collect().scenes["triage"].document
            told = {case.name: case.worst.kind for case in ward.cases}  # type: ignore[attr-defined]
            if incident.kind and told.get("patient") == incident.kind:
                return
            time.sleep(0.5)  # the sampling interval
    finally:
        poller.stop()
    if incident.kind:
        raise SystemExit(f"{incident.kind}: it was not told, but {told}")


def trimmed(recording: Recording, host: Host) -> Recording:
    """What the judge reads, and no names of this machine."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    words = (
        (str(host.base), "/var/lib/recorded"),
        (str(REPOSITORY), "/opt/pyctr"),
        (host.paths.cgroup_parent, "pyctr-recorded"),
        (boot, BOOT),
    )

    def plain(text: str) -> str:
        for word, instead in words:
            text = text.replace(word, instead)
        return text

    def neutral(content: bytes) -> bytes:
        return plain(content.decode("latin-1")).encode("latin-1")

    parent = host.paths.cgroup_parent
    ours = pids(recording, parent)
    moments = []
    for moment in recording.moments:
        changed = {}
        for path, content in moment.changed.items():
            if path == "answers.json":
                told = json.loads(content)
                changed[path] = json.dumps({"disk": told["disk"]}).encode() if "disk" in told else b"{}"
            elif wanted(path, parent, ours):
                # a ring is not text: it has numbers alone
                changed[plain(path)] = content if path.endswith(("/history", "/processes")) else neutral(content)
        gone = tuple(plain(path) for path in moment.gone if wanted(path, parent, ours))
        moments.append(Moment(moment.time, changed, gone))
    kept = ("format", "version", "made_by", "cgroups", "began", "ended", "redacted", "cgroup_parent", "bridge", *ROOTS)
    manifest = {key: value for key, value in recording.manifest.items() if key in kept}
    manifest = {key: plain(value) if isinstance(value, str) else value for key, value in manifest.items()}
    return Recording({**manifest, "host": "recorded"}, tuple(moments))


def pids(recording: Recording, parent: str) -> set[str]:
    """Of its containers' processes, and of their shims."""
    found = set()
    for moment in recording.moments:
        for path, content in moment.changed.items():
            parts = path.split("/")
            if parts[0] == "proc" and parts[-1] == "cgroup" and f"/{parent}/".encode() in content:
                found.add(parts[1])
            elif parts[-1] == "state.json":
                found.add(str((json.loads(content).get("process") or {}).get("shim_pid")))
    return found


def wanted(path: str, parent: str, ours: set[str]) -> bool:
    top, *rest = path.split("/")
    last = rest[-1] if rest else ""
    if top == "root":
        return path == "root/events.jsonl" or (rest[0] == "containers" and last in _FILES)
    if top == "proc":
        if rest[0].isdigit():
            return rest[0] in ours and "/".join(rest[1:]) in _PROCESS
        return "/".join(rest) in _HOST or rest[0] == "pressure"
    # the groups of its containers, and what tells which hierarchies there are
    return top == "run" or (top == "cgroup" and (len(rest) <= 2 or parent in rest))


def main(names: list[str]) -> None:
    place = Host()
    try:
        engine = Engine(place.paths)
        base.ensure(engine.images, engine.layers)
        for name in names or list(INCIDENTS):
            make(name, place.paths)
    finally:
        place.close()


if __name__ == "__main__":
    main(sys.argv[1:])
