"""Real incidents, each with its diagnosis, and none for who is well."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pyctr.core.triage import Diagnosis
from pyctr.tui.engine import Poller
from pyctr.tui.snapshot import Focus
from tests.support.host import Host

INCIDENTS = {
    "oom": ("hog", "-m 32m --restart always", "sleep 1; x=$(head -c 60000000 /dev/zero | tr '\\0' a); echo ${#x}"),
    "crash-loop": ("crash", "--restart always", "echo no configuration; exit 3"),
    "throttled": ("spin", "--cpus 0.05", "while :; do :; done"),
    "pids": ("bomb", "--pids-limit 8", "for i in 1 2 3 4 5 6 7; do sleep 1000 & done; wait"),
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


def test_a_disk_that_fills_and_children_that_nobody_waits_for_are_told_while_it_happens(small: Host) -> None:
    fill = "while :; do head -c 400000 /dev/zero >> /big; sleep 0.5; done"
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
    assert seen["parent"].kind == "zombies"
    assert seen["writer"].title == "disk filling"
    facts = {fact.name: float(fact.value) for fact in seen["writer"].facts}
    assert 0 < facts["full in"] < 600 and facts["layer"] > 400000 and facts["disk left"] < 48 << 20


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
