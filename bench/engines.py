"""`python -m bench.engines [--containers N]`: what finding docker's containers costs, as root, on this host's cgroups.

Makes N groups as docker does, a process in each, and records as docker writes them in a directory of its own, and
looks: for the first time, again when nothing changed, and again after one record was written.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable

from pyctr.core import cgroups
from pyctr.core.engines.finder import Finder
from pyctr.core.paths import Paths

ROUNDS = 30


def record(top: str, id: str, pid: int, restarts: int = 0) -> None:
    directory = f"{top}/var/lib/docker/containers/{id}"
    os.makedirs(directory, exist_ok=True)
    environment = [f"VARIABLE_{number}={'x' * 40}" for number in range(20)]
    document = {
        "ID": id,
        "Name": f"/bench-{id[:8]}",
        "RestartCount": restarts,
        "State": {"Running": True, "Pid": pid, "StartedAt": "2026-01-01T00:00:00Z"},
        "Config": {"Image": "acme/web:1", "Env": environment, "Labels": {"com.docker.compose.project": "shop"}},
    }
    for name, content in (("config.v2.json", document), ("hostconfig.json", {"LogConfig": {"Type": "json-file"}})):
        with open(f"{directory}/{name}.new", "w") as file:
            json.dump(content, file)
        os.rename(f"{directory}/{name}.new", f"{directory}/{name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--containers", type=int, default=100)
    count = parser.parse_args().containers
    layout = cgroups.detect()
    parent = f"/pyctr-bench-{os.getpid()}"
    top = tempfile.mkdtemp(prefix="pyctr-bench-")
    ids = [secrets.token_hex(32) for _ in range(count)]
    managers = [cgroups.manager(layout, f"{parent}/{id}") for id in ids]
    processes = []
    try:
        for id, manager in zip(ids, managers, strict=True):
            manager.create({})
            processes.append(subprocess.Popen(["sleep", "1000"]))
            manager.join(processes[-1].pid)
            record(top, id, processes[-1].pid)
        finder = Finder(Paths(host=top), layout)
        began = time.process_time()
        found = sum(one.name.startswith("bench-") for one in finder.look())
        assert found == count, f"{found} of {count}"
        show("first look", count, time.process_time() - began)
        for _ in range(4):
            finder.look()  # processes are young for three looks
        show("again, nothing changed", count, measure(finder, lambda: None))
        pid = processes[0].pid
        show("again, one record is new", count, measure(finder, lambda: record(top, ids[0], pid)))
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for manager in managers:
            manager.remove()
        cgroups.manager(layout, parent).remove()
        shutil.rmtree(top)


def measure(finder: Finder, change: Callable[[], None]) -> float:
    taken = []
    for _ in range(ROUNDS):
        change()
        began = time.process_time()
        finder.look()
        taken.append(time.process_time() - began)
    return statistics.median(taken)


def show(what: str, count: int, seconds: float) -> None:
    print(f"{what:26}{count:5} containers {seconds * 1e3:7.1f} ms of CPU {seconds / count * 1e6:7.0f} us each")


if __name__ == "__main__":
    main()
