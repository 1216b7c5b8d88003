"""Containers of other engines in `pyctr check` and `pyctr metrics`: found, measured, judged, named."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core import exposition, growth
from pyctr.core.engine import Engine
from pyctr.core.errors import NotFound
from pyctr.core.rounds import Rounds
from tests.support.enginetree import EngineTree

ID = "0123456789abcdef" * 4
OTHER = ID[::-1]
GROUP = f"/docker/{ID}"
CGROUP = f"/sys/fs/cgroup{GROUP}"
MIB = 1 << 20
UPPER = "/var/lib/docker/overlay2/c/diff"


@pytest.fixture
def tree(tmp_path: Path) -> EngineTree:
    """`web` of docker at 95 % of its memory, and `seed`, which failed."""
    made = EngineTree(tmp_path)
    record = {
        "ID": ID,
        "Name": "/web",
        "State": {"Running": True, "Pid": 70, "StartedAt": "2026-11-21T19:01:51Z"},
        "Config": {"Image": "acme/web:1", "Labels": {"tier": "front"}},
    }
    made.write(f"/var/lib/docker/containers/{ID}/config.v2.json", record)
    made.process(70, "httpd", group=GROUP, inner=1)
    upper = f"{made.top}{UPPER}"
    os.makedirs(upper)
    made.write("/proc/70/mountinfo", f"1 2 0:47 / / rw - overlay overlay rw,lowerdir=/l,upperdir={upper}\n")
    made.group(GROUP, 70)
    made.write(f"{CGROUP}/memory.current", f"{95 * MIB}\n")
    made.write(f"{CGROUP}/memory.max", f"{100 * MIB}\n")
    made.write(f"{CGROUP}/memory.stat", "anon 99614720\ninactive_file 0\n")
    made.write(f"{CGROUP}/memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 3\n")
    ended = {"StartedAt": "2026-11-21T19:01:51Z", "FinishedAt": "2026-11-21T19:02:51Z", "ExitCode": 3}
    made.write(f"/var/lib/docker/containers/{OTHER}/config.v2.json", {"ID": OTHER, "Name": "/seed", "State": ended})
    return made


@pytest.fixture
def looker(tree: EngineTree) -> Iterator[Rounds]:
    made = Rounds(Engine(tree.paths), engines=("pyctr", "docker"))
    yield made
    made.close()


def kinds(looker: Rounds, *names: str) -> dict[str, list[str]]:
    judged = looker.judge(looker.look(names), 1_800_000_000.0)
    return {vital.name: [one.kind for one in found] for vital, found in judged}


def test_only_who_asks_for_them_gets_them(tree: EngineTree, looker: Rounds) -> None:
    assert kinds(Rounds(Engine(tree.paths))) == {}
    assert kinds(Rounds(Engine(tree.paths), engines=("podman",))) == {}
    assert kinds(looker) == {"docker:web": ["near-limit"], "docker:seed": ["failed"]}


def test_a_name_is_enough(tree: EngineTree) -> None:
    alone = Rounds(Engine(tree.paths))
    assert kinds(alone, "web") == kinds(alone, "docker:web") == {"docker:web": ["near-limit"]}
    with pytest.raises(NotFound, match="no container 'nobody'"):
        alone.look(["nobody"])


def test_a_kill_between_two_looks_is_told_and_those_before_are_not(tree: EngineTree, looker: Rounds) -> None:
    assert "oom" not in kinds(looker)["docker:web"]
    # written in place: the sampler keeps it open
    Path(f"{tree.top}{CGROUP}/memory.events").write_text("low 0\nhigh 0\nmax 0\noom 0\noom_kill 4\n")
    judged = looker.judge(looker.look(["web"]), time.time())
    assert [one.kind for one in judged[0][1]] == ["oom"]


def test_their_ended_children_count(tree: EngineTree, looker: Rounds) -> None:
    for pid in range(71, 77):
        tree.process(pid, "gone", parent=70, group=GROUP)
        stat = Path(f"{tree.top}/proc/{pid}/stat")
        stat.write_text(stat.read_text().replace(") S ", ") Z "))
    (Path(f"{tree.top}/proc/70/task/70")).mkdir(parents=True, exist_ok=True)
    tree.write("/proc/70/task/70/children", " ".join(map(str, range(71, 77))))
    assert kinds(looker)["docker:web"] == ["near-limit", "zombies"]


def test_a_layer_is_walked_only_when_its_disk_is_full(
    tree: EngineTree, looker: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked: list[str] = []
    measure = growth.measure

    def counted(upper: str, log: str, now: float) -> growth.Measured | None:
        walked.append(upper)
        found = measure(upper, log, now)
        return found._replace(layer=found.total // 10) if found is not None else None

    class Full:
        f_blocks, f_bavail, f_frsize = 1000, 20, 4096

    monkeypatch.setattr(growth, "measure", counted)
    roomy = type("Roomy", (Full,), {"f_bavail": 500})
    for disk, found in ((roomy, ["near-limit"]), (Full, ["disk", "near-limit"])):
        monkeypatch.setattr(os, "statvfs", lambda path, disk=disk: disk)
        assert kinds(looker)["docker:web"] == found
    assert walked == [f"{tree.top}{UPPER}"]


def test_metrics_say_whose_they_are(looker: Rounds) -> None:
    page = exposition.text(looker.look())
    labels = f'{{id="{GROUP}",name="web",image="acme/web:1",engine="docker"}}'
    assert f"container_memory_working_set_bytes{labels} {95 * MIB}\n" in page
    assert f"container_spec_memory_limit_bytes{labels} {100 * MIB}\n" in page
    assert 'pyctr_container_exit_code{id="",name="seed",image="",engine="docker"} 3\n' in page
    assert 'pyctr_containers{state="running"} 1\n' in page
