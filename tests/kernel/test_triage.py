"""Real incidents, each with its diagnosis, and none for who is well."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyctr.core.thresholds import USUAL
from pyctr.core.triage import Diagnosis
from pyctr.tui.engine import Poller
from pyctr.tui.snapshot import Focus
from tests.support.host import Host

FIFREEZE, FITHAW = 0xC0045877, 0xC0045878
"""ioctl_fsfreeze: linux/fs.h"""
INCIDENTS = {
    "oom": ("hog", "-m 32m --restart always", "sleep 1; x=$(head -c 60000000 /dev/zero | tr '\\0' a); echo ${#x}"),
    "crash-loop": ("crash", "--restart always", "echo no configuration; exit 3"),
    "throttled": ("spin", "--cpus 0.05", "while :; do :; done"),
    "pids": ("bomb", "--pids-limit 64", "f() { f & f & exec sleep 1000; }; f"),
    "unhealthy": ("sickly", "--health-cmd false --health-interval 500ms --health-retries 2", "sleep 1000"),
    "failed": ("bad", "", "exit 7"),
    "frozen": ("ice", "", "sleep 1000"),
}
"""kind -> name, flags, script"""


def triage(host: Host) -> dict[str, list[dict[str, Any]]]:
    """By name, worst first."""
    done = subprocess.run(
        [sys.executable, "-m", "pyctr.tui.main", "--once", "--json", "--triage"],
        env=host.env,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return {case["name"]: case["diagnoses"] for case in json.loads(done.stdout)["triage"]}


def test_each_incident_is_told_by_its_name_and_nobody_else_is(host: Host) -> None:
    for name, flags, script in INCIDENTS.values():
        host.run("run", "-d", "--network", "none", "--name", name, *flags.split(), "localhost/base", "sh", "-c", script)
    host.run("run", "-d", "--network", "none", "--name", "well", "-m", "64m", "localhost/base", "sleep", "1000")
    host.run("pause", "ice")
    wanted = {name: kind for kind, (name, _, _) in INCIDENTS.items()}
    deadline, seen = time.monotonic() + 200, {}
    # each sign shows in its own time: the third crash, the second probe, the kernel's kill
    while time.monotonic() < deadline and wanted.keys() - seen.keys():
        found = triage(host)
        assert "well" not in found, found["well"]
        seen.update({name: list(found) for name in found if found[name][0]["kind"] == wanted[name]})
    assert seen.keys() == wanted.keys(), found
    found = triage(host)
    kills = {fact["name"]: fact["value"] for fact in found["hog"][0]["facts"]}
    assert kills["kills in 10 min"] >= 1 and kills["limit"] == 32 << 20
    order = [diagnoses[0]["rank"] for diagnoses in found.values()]
    assert order == sorted(order, reverse=True)


@pytest.fixture
def busy() -> Iterator[None]:
    """Somebody else has every core."""
    spinners = []
    try:
        for core in os.sched_getaffinity(0):
            # nice: who has next to no weight waits for them, the rest of the machine hardly does
            work = f"import os; os.nice(19); os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
            spinners.append(subprocess.Popen([sys.executable, "-c", work]))
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


@pytest.mark.usefixtures("busy")
def test_who_waits_for_a_core_and_who_for_a_disk_are_told_apart_from_who_is_throttled(host: Host) -> None:
    stall = "head -c 4000000 /dev/zero > /big; sync; while :; do dd if=/big of=/dev/null bs=64k iflag=direct; done"
    # a quota of one core would hold one process back now and then: periods are not as exact as that
    cores = str(len(os.sched_getaffinity(0)))
    incidents = {
        "hungry": ("starved", ("--cpus", cores, "--cpu-shares", "2"), "while :; do :; done"),
        "held": ("throttled", ("--cpus", "0.05"), "while :; do :; done"),
        "slow": ("io", ("--device-read-bps", f"{disk(host)}:65536"), stall),
        "well": ("", (), "exec sleep 1000"),
    }
    for name, (_, flags, script) in incidents.items():
        host.run("run", "-d", "--network", "none", "--name", name, *flags, "localhost/base", "sh", "-c", script)
    wanted = {name: kind for name, (kind, _, _) in incidents.items() if kind}
    told: dict[str, set[str]] = {name: set() for name in wanted}
    poller = Poller(host.paths)
    poller.look_at(Focus(sources=("triage",)))
    deadline = time.monotonic() + 120
    try:
        # PSI is an average over ten seconds, so each shows after a while; the others are not in the way by then
        while any(kind not in told[name] for name, kind in wanted.items()):
            assert time.monotonic() < deadline, told
            ward = poller.collect().scenes["triage"].document
            for case in ward.cases:  # type: ignore[attr-defined]
                told[case.name].add(case.worst.kind)  # "well" is not in it
            time.sleep(0.5)  # the sampling interval
    finally:
        poller.stop()
    assert "throttled" not in told["hungry"] | told["slow"]
    assert told["held"] <= {"throttled", "starved"}  # on a busy host it waits for a core, too, before its first period


def disk(host: Host) -> str:
    """The whole disk on which its containers' layers are: only that can be throttled."""
    device = os.stat(host.paths.root).st_dev
    place = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
    if not place.exists():
        pytest.skip("the layers are on no disk")
    return f"/dev/{(place.parent if (place / 'partition').exists() else place).name}"


LONG = bool(os.environ.get("PYCTR_TEST_LONG"))
WATCH = 600.0 if LONG else 5.0
"""Seconds; ten minutes are the window in which kills and deaths count."""
QUIET = {
    "asleep": ("", "exec sleep 10000"),
    "limited": ("-m 32m --cpus 0.5 --pids-limit 16", "exec sleep 10000"),
    "ticking": ("--cpus 0.2", "while :; do echo tick; sleep 1; done"),
    "healthy": ("--health-cmd true --health-interval 2s", "exec sleep 10000"),
    "keeper": ("--restart always", "exec sleep 10000"),
    "cached": ("-m 64m", "head -c 40000000 /dev/zero > /big; exec sleep 10000"),
    "reaped": ("--init", "while :; do sleep 0.2 & sleep 1; done"),
}
"""name -> flags, script of who does nothing, or little"""


@pytest.mark.timeout(1200)
def test_nobody_is_sick_who_does_nothing(host: Host) -> None:
    """Five seconds of it; ten minutes with PYCTR_TEST_LONG=1."""
    for name, (flags, script) in QUIET.items():
        host.run("run", "-d", "--network", "none", "--name", name, *flags.split(), "localhost/base", "sh", "-c", script)
    poller = Poller(host.paths)
    poller.look_at(Focus(sources=("triage",)))
    told: dict[tuple[str, str], tuple[int, Diagnosis]] = {}
    looks, end = 0, time.monotonic() + WATCH
    try:
        while time.monotonic() < end:
            ward = poller.collect().scenes["triage"].document
            looks += 1
            for case in ward.cases:  # type: ignore[attr-defined]
                for one in case.diagnoses:
                    told[case.name, one.kind] = (told.get((case.name, one.kind), (0, one))[0] + 1, one)
            assert not told or LONG, told
            time.sleep(0.5)  # the sampling interval
    finally:
        poller.stop()
    assert looks > WATCH / 10 and not told, (looks, told)
    assert host.run("check").returncode == 0


def test_a_disk_that_fills_and_children_that_nobody_waits_for_are_told_while_it_happens(small: Host) -> None:
    fill = "while :; do head -c 200000 /dev/zero >> /big; sleep 0.5; done"
    leave = "for i in 1 2 3 4 5 6; do sleep 0 & done; exec sleep 1000"
    for name, script in (("writer", fill), ("parent", leave), ("well", "exec sleep 1000")):
        small.run("run", "-d", "--network", "none", "--name", name, "localhost/base", "sh", "-c", script)
    poller = Poller(small.paths)
    poller.look_at(Focus(sources=("triage",)))
    seen: dict[str, Diagnosis] = {}
    deadline = time.monotonic() + 120
    try:
        while seen.keys() < {"writer", "parent"}:
            assert time.monotonic() < deadline, seen
            ward = poller.collect().scenes["triage"].document
            seen = {case.name: case.worst for case in ward.cases}  # type: ignore[attr-defined]
            assert "well" not in seen
            time.sleep(0.5)  # the sampling interval
    finally:
        poller.stop()
    # by then or a little later the recorder has looked at the layer twice: a check in a script knows it, too
    while "disk filling" not in (line := small.run("check", "--ignore", "zombies", check=False).stdout):
        assert time.monotonic() < deadline, line
        time.sleep(1)  # between two checks
    assert line.startswith("PYCTR WARNING - 1 of 3 containers: writer: disk filling (full in "), line
    assert seen["parent"].kind == "zombies"
    assert seen["writer"].title == "disk filling"
    facts = {fact.name: float(fact.value) for fact in seen["writer"].facts}
    assert 0 < facts["full in"] < 600 and facts["layer"] > 400000 and facts["disk left"] < 48 << 20


def test_a_task_that_waits_for_a_disk_that_does_not_answer_is_found_and_told_since_when(host: Host) -> None:
    """An ext4 that is frozen as for a snapshot: whoever writes sleeps in the kernel, often without any pressure."""
    disk, image = f"{host.base}/disk", f"{host.base}/disk.img"
    os.mkdir(disk)
    with open(image, "wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, disk], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no loop devices here")
    place = os.open(disk, os.O_RDONLY | os.O_DIRECTORY)
    try:
        script = "while [ ! -e /go ]; do sleep 0.05; done; echo x > /io/f"
        host.run("run", "-d", "--network", "none", "--name", "hung", "-v", f"{disk}:/io", "base", "sh", "-c", script)
        host.run("run", "-d", "--network", "none", "--name", "well", "base", "sleep", "1000")
        fcntl.ioctl(place, FIFREEZE, 0)
        host.run("exec", "hung", "touch", "/go")
        poller = Poller(host.paths, bounds=USUAL._replace(stuck_seconds=2.0))
        poller.look_at(Focus(sources=("triage",)))
        facts: dict[str, float | str] = {}
        deadline = time.monotonic() + 120
        while "the longest for" not in facts:  # some kernels count the wait as pressure, which is told at once
            assert time.monotonic() < deadline, facts
            cases = poller.collect().scenes["triage"].document.cases  # type: ignore[attr-defined]
            if cases:
                ((name, told),) = [(case.name, case.worst) for case in cases]
                facts = {fact.name: fact.value for fact in told.facts}
            time.sleep(0.2)  # the sampling interval
        poller.stop()
        assert (name, told.kind, facts["tasks in D"]) == ("hung", "io", 1)
        assert isinstance(facts["the longest for"], float) and facts["the longest for"] >= 2
        assert told.since <= time.time() - 2
        assert facts["in"], "which function of the kernel"
        row = json.loads(host.run("stats", "--no-stream", "--format", "json", "hung").stdout)
        assert (row["StateD"], row["Processes"], row["Threads"]) == (1, 1, 1) and row["OpenFiles"] >= 3
        assert 'container_tasks_state{id="' in (page := host.run("metrics").stdout)
        assert 'state="uninterruptible"} 1\n' in page and 'state="uninterruptible"} 0\n' in page
    finally:
        try:
            fcntl.ioctl(place, FITHAW, 0)
        except OSError:
            pass  # it never was frozen
        os.close(place)
        host.run("rm", "-f", "hung", "well", check=False)
        subprocess.run(["umount", disk], check=True)


@pytest.fixture
def small(host: Host) -> Iterator[Host]:
    """A host whose root is a file system of 48 MiB."""
    links = {name: os.readlink(f"{host.paths.root}/{name}") for name in ("images", "layers")}
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m,mode=700", "tmpfs", host.paths.root], check=True)
    try:
        for name, target in links.items():
            os.symlink(target, f"{host.paths.root}/{name}")
        yield host
    finally:
        host.run("rm", "-f", *host.run("ps", "-aq").stdout.split(), check=False)
        subprocess.run(["umount", host.paths.root], check=True)
