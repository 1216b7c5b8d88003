"""Who shares which namespaces: real containers, and one of another engine."""

from __future__ import annotations

import json
import os

from pyctr.core import containers, namespacemap
from pyctr.core.engine import Engine
from pyctr.core.namespacemap import Member
from pyctr.tui.details import security
from pyctr.tui.format import Glyphs
from pyctr.tui.snapshot import ContainerRow, Snapshot
from pyctr.tui.table import Look
from tests.support.host import Host

LOOK = Look(Glyphs())


def test_what_is_shared_with_whom_and_with_the_host(host: Host) -> None:
    common = ["-d", "--network", "none"]
    host.run("run", *common, "--name", "first", "localhost/base", "sleep", "1000")
    joined = ["-d", "--network", "container:first", "--uts", "host", "--name", "second"]
    host.run("run", *joined, "localhost/base", "sleep", "1000")
    lines = host.run("namespaces", "--format", "json", "first", "second").stdout.splitlines()
    members: dict[str, list[tuple[bool, set[str]]]] = {}
    for row in map(json.loads, lines):
        names = {one["name"] for one in row["Containers"] if one["engine"] == "pyctr"}
        members.setdefault(row["Kind"], []).append((row["Host"], names))
        link = f"{row['Kind']}:[{row['Inode']}]"
        # others' containers on this machine come and go meanwhile
        own = [one["pid"] for one in row["Containers"] if one["engine"] == "pyctr"]
        assert all(os.readlink(f"/proc/{pid}/ns/{row['Kind']}") == link for pid in own)
    assert members["net"] == [(False, {"first", "second"})]
    assert members["uts"] == [(True, {"second"}), (False, {"first"})]
    assert sorted(map(str, members["pid"])) == sorted(map(str, [(False, {"first"}), (False, {"second"})]))

    engine = Engine(host.paths)
    container = containers.find(engine, "second")
    judged = security.collect(engine, container, None)
    assert isinstance(judged, security.Judged)
    assert ("first", "net") in judged.shared and not any("uts" in kinds for _, kinds in judged.shared)
    row = ContainerRow(container.id, "second", "running")
    lines = ["".join(text for text, _ in line) for line in security.render(judged, row, Snapshot(), 78, 40, LOOK)]
    assert lines[1].rstrip() == "shares net with first"

    shown = host.run("namespaces", "--shared", "first").stdout
    assert "first, second" in shown
    assert all(not line.startswith(("uts", "pid", "mnt")) for line in shown.splitlines())
    host.run("create", "--network", "none", "--name", "idle", "localhost/base", "true")
    assert "'idle' does not run" in host.run("namespaces", "idle", check=False).stderr


def test_other_engines_containers_and_those_that_ended_are_told_apart() -> None:
    mine = Member("docker", "1" * 64, "web", os.getpid())
    ended = Member("podman", "2" * 64, "gone", 1 << 22)
    found, unreadable = namespacemap.survey([mine, ended])
    assert not unreadable
    assert {one.kind for one in found if mine in one.members} >= {"ipc", "mnt", "net", "pid", "user", "uts"}
    assert not any(ended in one.members for one in found)
    (net,) = [one for one in found if one.kind == "net"]
    assert net.host and net.shared and net.members == (mine,)
