"""Capture the cgroup and proc files of a subtree in one JSON document, and unpack it for the real readers.

    python -m tests.support.record_host FILE --group /pyctr [--pid PID]...
    python -m tests.support.record_host FILE --scene [--without-unified]

The group and those below it are taken from every hierarchy. `--scene` (root) makes something worth recording: a
throttled spinner that writes to disk, a group near its memory limit with an OOM kill behind it, a frozen idle one;
at two moments. `--without-unified` leaves the v2 tree of a hybrid host out, which makes a v1 host of it. Only files
the readers or the manager look at are kept, and nothing that names the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from pyctr.core import cgroups
from pyctr.core.cgroups import read

ALWAYS = (
    "cgroup.controllers", "cgroup.subtree_control", "cgroup.events", "cgroup.freeze", "cgroup.procs", "cgroup.stat",
    "freezer.state", "tasks", "cpu.shares", "cpu.weight", "cpuset.cpus", "cpuset.mems", "memory.high", "memory.low",
    "memory.swap.max", "memory.soft_limit_in_bytes", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes",
    "memory.memsw.failcnt", "pids.events", "io.max", "devices.list",
)  # fmt: skip
PROC = (
    "stat", "meminfo", "loadavg", "uptime", "pressure/cpu", "pressure/memory", "pressure/io",
)  # fmt: skip
PID = ("stat", "status", "comm", "cgroup", "net/dev")


def copy(source: str, tree: dict[str, str], name: str) -> None:
    """The text of one file, if the kernel gives it."""
    try:
        tree[name] = Path(source).read_text()
    except OSError:
        pass


def record(group: str, *, root: str = "/sys/fs/cgroup", pids: list[int], unified: bool = True) -> dict[str, str]:
    """Path below cgroup/ or proc/ -> text."""
    tree: dict[str, str] = {}
    layout = cgroups.detect(root)
    if not unified:
        kept = {name: path for name, path in layout.controllers.items() if path != layout.unified}
        layout = cgroups.Layout(mode="v1", controllers=kept)
    wanted = {file for _, _, file, _ in read.readers(layout, twin=True)}
    wanted |= {file for _, _, file, _ in read.readers(layout, twin=False)} | set(ALWAYS)
    for hierarchy in sorted(set(layout.controllers.values()) | ({layout.unified} - {""})):
        there = os.path.normpath(f"cgroup/{os.path.relpath(hierarchy, root)}")
        for name in ("cgroup.controllers", "cgroup.subtree_control"):
            copy(f"{hierarchy}/{name}", tree, f"{there}/{name}")
        if hierarchy != layout.unified:
            tree[f"{there}/tasks"] = ""  # marks a v1 hierarchy; the host's own tasks are nobody's business
        for directory, _, files in os.walk(hierarchy + group):
            for file in sorted(wanted.intersection(files)):
                copy(f"{directory}/{file}", tree, f"{there}/{os.path.relpath(directory, hierarchy)}/{file}")
    for name in PROC:
        copy(f"/proc/{name}", tree, f"proc/{name}")
    for pid in pids:
        for name in PID:
            copy(f"/proc/{pid}/{name}", tree, f"proc/{pid}/{name}")
    return tree


def unpack(recording: Path, moment: str, target: Path) -> dict[str, int]:
    """Write one moment of a recording as files below `target`; returns the pids it has, by the name of their group.

    Existing files are overwritten in place, so that a Sampler with open descriptors sees the host go on.
    """
    document = json.loads(recording.read_text())
    for name, text in document[moment].items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return dict(document["pids"])


def scene(*, unified: bool) -> dict[str, object]:
    """Three containers' worth of groups below /pyctr-recorded, recorded twice, two seconds apart."""
    from tests.support.groups import Subtree

    subtree = Subtree()
    subtree.parent = "/pyctr-recorded"
    try:
        busy = subtree.create({"cpu": {"quota": 30_000, "period": 100_000}, "pids": {"limit": 64}}, "busy")
        limits = {"memory": {"limit": 48 << 20, "swap": 48 << 20}, "cpu": {"shares": 512}}
        hungry = subtree.create(limits, "hungry")
        idle = subtree.create({}, "idle")
        scratch = "/scratch" if os.path.isdir("/scratch") else "/var/tmp"
        writer = (
            f"name = {scratch!r} + '/recorded.tmp'; fd = os.open(name, os.O_CREAT | os.O_RDWR, 384); os.unlink(name)\n"
            "def work():\n    os.pwrite(fd, b'x' * (4 << 20), 0); os.fsync(fd)\n"
            "work(); say('up')\n"
            "while True:\n    for n in range(10**6): pass\n    work()\n"
        )
        children = {"busy": subtree.spawn(busy, writer)}
        subtree.spawn(hungry, "b'x' * (100 << 20)").wait()
        children["hungry"] = subtree.spawn(hungry, "kept = b'x' * (30 << 20); say('up'); time.sleep(600)")
        children["idle"] = subtree.spawn(idle, "say('up'); time.sleep(600)")
        for child in children.values():
            child.hear()
        idle.freeze()
        pids = {name: child.pid for name, child in children.items()}
        document: dict[str, object] = {"pids": pids}
        for moment in ("before", "after"):
            time.sleep(2)
            document[moment] = record(subtree.parent, pids=list(pids.values()), unified=unified)
        return document
    finally:
        subtree.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="the JSON document to write")
    parser.add_argument("--group", default="/pyctr", help="a group below every hierarchy's root (default /pyctr)")
    parser.add_argument("--pid", type=int, action="append", default=[], help="also proc files of this process")
    parser.add_argument("--cgroup-root", default="/sys/fs/cgroup")
    parser.add_argument("--without-unified", action="store_true", help="leave out the v2 tree of a hybrid host")
    parser.add_argument("--scene", action="store_true", help="make something to record, before and after two seconds")
    options = parser.parse_args()
    unified = not options.without_unified
    if options.scene:
        document = scene(unified=unified)
    else:
        pids = {str(pid): pid for pid in options.pid}
        tree = record(options.group, root=options.cgroup_root, pids=options.pid, unified=unified)
        document = {"pids": pids, "before": tree}
    options.file.parent.mkdir(parents=True, exist_ok=True)
    options.file.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
