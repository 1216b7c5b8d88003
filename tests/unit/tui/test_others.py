"""Containers of other engines among the rows: measured as ours, shown in tabs, judged by triage, never waited for."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core.engines import finder as finders
from pyctr.tui import container_table, details, keys, others
from pyctr.tui.engine import Poller
from pyctr.tui.format import Glyphs
from pyctr.tui.snapshot import Focus, Snapshot
from pyctr.tui.sources.triage import Ward
from pyctr.tui.table import Look
from tests.support.enginetree import EngineTree

ID = "0123456789abcdef" * 4
OTHER = ID[::-1]
KEY = f"docker:{ID}"
GROUP = f"/docker/{ID}"
MIB = 1 << 20
LOWER = "/var/lib/docker/overlay2/l/A:/var/lib/docker/overlay2/l/B"
OVERLAY = f"lowerdir={LOWER},upperdir=/var/lib/docker/overlay2/c/diff,workdir=/w"


@pytest.fixture
def tree(tmp_path: Path) -> EngineTree:
    """A container of docker at 95 % of its memory, and one that failed."""
    made = EngineTree(tmp_path)
    record = {
        "ID": ID,
        "Name": "/we\x1b[31mb",
        "State": {"Running": True, "Pid": 70, "StartedAt": "2026-11-21T19:01:51Z"},
        "Config": {"Image": "acme/web:1"},
        "Path": "httpd",
        "NetworkSettings": {"Networks": {"br\x1b[0m": {"IPAddress": "172.17.0.2"}}},
    }
    hosted = {"LogConfig": {"Type": "json-file"}}
    made.write(f"/var/lib/docker/containers/{ID}/config.v2.json", record)
    made.write(f"/var/lib/docker/containers/{ID}/hostconfig.json", hosted)
    entry = {"log": "hello \x1b[2J\n", "stream": "stdout", "time": "2026-11-21T19:01:51.5Z"}
    made.write(f"/var/lib/docker/containers/{ID}/{ID}-json.log", json.dumps(entry) + "\n")
    made.process(70, "httpd", group=GROUP, inner=1)
    made.write("/proc/70/mountinfo", f"1 2 0:47 / / rw,relatime - overlay overlay rw,{OVERLAY}\n")
    made.group(GROUP, 70)
    cgroup = f"/sys/fs/cgroup{GROUP}"
    made.write(f"{cgroup}/memory.current", f"{95 * MIB}\n")
    made.write(f"{cgroup}/memory.max", f"{100 * MIB}\n")
    made.write(f"{cgroup}/memory.stat", "anon 99614720\ninactive_file 0\n")
    made.write(f"{cgroup}/pids.current", "3\n")
    made.write(f"{cgroup}/cpu.stat", "usage_usec 1000\nuser_usec 500\nsystem_usec 500\n")
    other = OTHER
    ended = {"StartedAt": "2026-11-21T19:01:51Z", "FinishedAt": "2026-11-21T19:02:51Z", "ExitCode": 3}
    for id, name, stopped in ((other, "failed", False), (other.replace("0", "1"), "rests", True)):
        record = {"ID": id, "Name": f"/{name}", "State": ended, "HasBeenManuallyStopped": stopped}
        made.write(f"/var/lib/docker/containers/{id}/config.v2.json", record)
    return made


@pytest.fixture
def poller(tree: EngineTree) -> Iterator[Poller]:
    made = Poller(tree.paths, engines=("pyctr", "docker"), interval=0.05)
    yield made
    made.stop()


def test_rows_have_an_engine_numbers_and_harmless_words(poller: Poller) -> None:
    row = poller.collect().find(KEY)
    assert row is not None
    assert (row.engine, row.status, row.pid, row.image) == ("docker", "running", 70, "acme/web:1")
    assert (row.memory, row.memory_limit, row.pids) == (95 * MIB, 100 * MIB, 3)
    assert "\x1b" not in row.network
    assert row.short_id == ID[:12]


def test_only_wanted_engines_are_shown(tree: EngineTree) -> None:
    assert Poller(tree.paths).collect().containers == ()
    assert Poller(tree.paths, engines=("podman",)).collect().containers == ()


def test_what_its_user_stopped_is_at_rest_and_what_failed_is_not(poller: Poller) -> None:
    rows = {row.name: row for row in poller.collect().containers}
    assert rows["failed"].failed and rows["failed"].ran == 60.0
    assert not rows["rests"].failed


def test_one_that_is_gone_leaves_the_list(poller: Poller, tree: EngineTree) -> None:
    poller.collect()
    tree.ungroup(GROUP)
    tree.end(70)
    (tree.top / f"var/lib/docker/containers/{ID}/config.v2.json").unlink()
    assert poller.collect().find(KEY) is None


def shown(poller: Poller, tab: str) -> str:
    poller.look_at(Focus(selected=KEY, tab=tab))
    snapshot = poller.collect()
    detail = snapshot.detail
    assert detail is not None and not detail.error, detail
    row = snapshot.find(KEY)
    assert row is not None
    lines = details.find(tab).render(detail.document, row, snapshot, 100, 40, Look(Glyphs()))
    text = "\n".join("".join(text for text, _ in line) for line in lines)
    assert "\x1b" not in text
    return text


def test_the_tabs_show_what_the_record_and_the_kernel_say(poller: Poller) -> None:
    assert "engine docker" in shown(poller, "overview")
    assert "/var/lib/docker/overlay2/c/diff" in shown(poller, "layers")
    assert "overlay" in shown(poller, "mounts")
    assert "acme/web:1" in shown(poller, "inspect")
    assert "only docker could tell" in shown(poller, "events")


def test_the_log_of_a_row_is_its_engines_file(poller: Poller) -> None:
    from pyctr.tui import documents

    poller.collect()
    assert [entry.text for entry in documents.log(poller.log(KEY))] == ["hello "]


def test_triage_ranks_them_and_offers_no_act_that_is_not_ours(poller: Poller) -> None:
    from pyctr.tui import triage_table

    poller.look_at(Focus(sources=("triage",)))
    poller.collect()
    ward = poller.collect().scenes["triage"].document
    assert isinstance(ward, Ward)
    case = next(case for case in ward.cases if case.id == KEY)
    assert case.engine == "docker" and case.worst.kind in ("near-limit", "memory")
    said = triage_table.lines(case, {"open": "enter"}, 100, Look(Glyphs()))
    words = "".join(text for line in said for text, _ in line)
    assert "its processes" in words and "raise" not in words


def test_one_that_its_engine_brings_back_again_and_again_loops(poller: Poller, tree: EngineTree) -> None:
    state: dict[str, object] = {"Restarting": True, "Running": True, "StartedAt": "2026-11-21T19:01:51Z"}
    state |= {"FinishedAt": "2026-11-21T19:02:51Z", "ExitCode": 3}
    poller.look_at(Focus(sources=("triage",)))
    kinds = []
    for restarts in range(4):
        record = {"ID": OTHER, "Name": "/loops", "State": state, "RestartCount": restarts}
        tree.write(f"/var/lib/docker/containers/{OTHER}/config.v2.json", record)
        policy = {"RestartPolicy": {"Name": "always"}}
        tree.write(f"/var/lib/docker/containers/{OTHER}/hostconfig.json", policy)
        ward = poller.collect().scenes["triage"].document
        assert isinstance(ward, Ward)
        kinds.append(next(case.worst.kind for case in ward.cases if case.name == "loops"))
    assert kinds == ["failed", "failed", "failed", "crash-loop"]


def test_a_disk_that_hangs_holds_up_no_row_and_is_said(tree: EngineTree, monkeypatch: pytest.MonkeyPatch) -> None:
    sick = threading.Event()
    look = finders.Finder.look

    def hangs(finder: finders.Finder) -> object:
        if sick.is_set():
            threading.Event().wait()
        return look(finder)

    monkeypatch.setattr(finders.Finder, "look", hangs)
    monkeypatch.setattr(others, "EVERY", 0.05)
    monkeypatch.setattr(others, "SLOW", 0.2)
    seen: list[Snapshot] = []
    found, said = threading.Event(), threading.Event()

    def post(snapshot: Snapshot) -> None:
        seen.append(snapshot)
        if snapshot.find(KEY) is not None:
            found.set()
        if "have not answered" in snapshot.limited:
            said.set()

    poller = Poller(tree.paths, engines=("docker",), interval=0.05)
    poller.start(post)
    try:
        assert found.wait(20)
        sick.set()
        assert said.wait(20)
        assert seen[-1].find(KEY) is not None, "what was found last stays"
    finally:
        poller.stop()


def test_what_only_we_do_is_not_offered_for_theirs(poller: Poller) -> None:
    row = poller.collect().find(KEY)
    for name in ("rename", "attach"):
        assert not keys.find(name).available(row, False), name
    for name in ("pause", "kill", "limits"):  # the kernel's
        assert keys.find(name).available(row, False), name
        assert not keys.find(name).available(row, True), name
    assert keys.find("stop").available(row, False), "docker is asked to"
    assert row is not None and keys.find("shell").available(row, False), "its namespaces are joined"
    assert not keys.find("shell").available(row._replace(engine="systemd"), False)
    assert not keys.find("stop").available(row, True)
    for name in ("logs", "inspect", "mark", "new"):
        assert keys.find(name).available(row, False), name


@pytest.mark.parametrize("width", [77, 110, 115, 128, 139, 140, 150])
def test_there_is_an_engine_column_where_there_are_several_and_all_columns_fit(width: int) -> None:
    for engines in (True, False):
        columns = container_table.columns(width, engines=engines)
        assert ("engine" in [column.key for column in columns]) == engines
        assert sum(column.width for column in columns) + sum(column.gap for column in columns[1:]) <= width


def test_rows_are_filtered_by_engine(poller: Poller) -> None:
    row = poller.collect().find(KEY)
    assert row is not None
    assert container_table.Filter("engine:docker").keeps(row)
    assert not container_table.Filter("engine:podman").keeps(row)


def test_the_first_frame_looks_for_nobody(tree: EngineTree, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(finder: finders.Finder) -> object:
        raise AssertionError("it looked")

    monkeypatch.setattr(finders.Finder, "look", fails)
    poller = Poller(tree.paths, engines=("docker",))
    poller.others.later = True
    assert poller.collect().containers == ()


def test_a_mistake_of_ours_is_said_and_the_list_goes_on(tree: EngineTree, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(finder: finders.Finder) -> object:
        raise TypeError("not thought of")

    monkeypatch.setattr(finders.Finder, "look", fails)
    monkeypatch.setattr(others, "EVERY", 0.05)
    said = threading.Event()

    def post(snapshot: Snapshot) -> None:
        if "TypeError: not thought of" in snapshot.limited:
            said.set()

    poller = Poller(tree.paths, engines=("docker",), interval=0.05)
    poller.start(post)
    try:
        assert said.wait(20)
    finally:
        poller.stop()
