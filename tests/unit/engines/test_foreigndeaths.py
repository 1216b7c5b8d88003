"""Deaths of other engines' containers: told from their engine's record and log, and from what was recorded here."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pyctr.core import deaths, deathtext, foreigndeaths, hostrecord, ring
from pyctr.core.cgroupstats import Sample
from pyctr.core.engine import Engine
from pyctr.core.engines import lookup
from pyctr.core.errors import NotFound
from pyctr.core.linux import kmsg
from tests.support.enginetree import EngineTree

ID = "0123456789abcdef" * 4
BEGAN, ENDED = 1_795_287_600.0, 1_795_287_720.0
"""2026-11-21 19:00:00 and two minutes later."""
GROUP = f"/system.slice/docker-{ID}.scope"


def ended(tree: EngineTree, code: int = 137, **state: Any) -> Engine:
    record = {
        "ID": ID,
        "Name": "/web",
        "State": {
            "StartedAt": "2026-11-21T19:00:00Z", "FinishedAt": "2026-11-21T19:02:00Z", "ExitCode": code, **state,
        },
        "Config": {"Image": "acme/web:1", "Cmd": ["serve"]},
    }  # fmt: skip
    tree.write(f"/var/lib/docker/containers/{ID}/config.v2.json", record)
    limits = {"Memory": 64 << 20, "LogConfig": {"Type": "json-file"}}
    tree.write(f"/var/lib/docker/containers/{ID}/hostconfig.json", limits)
    line = {"log": "no more memory\n", "stream": "stderr", "time": "2026-11-21T19:01:59.5Z"}
    tree.write(f"/var/lib/docker/containers/{ID}/{ID}-json.log", json.dumps(line) + "\n")
    return Engine(tree.paths)


def recorded(tree: EngineTree, kills: int = 0, group: str = GROUP) -> None:
    path = hostrecord.place(tree.paths, group)
    os.makedirs(os.path.dirname(path))
    writer = ring.Writer(path)
    for moment in range(0, 120, 5):
        sample = Sample()
        sample.monotonic, sample.cpu_usage_us = float(moment), moment * 250_000
        sample.memory_current = sample.memory_working_set = (moment + 1) << 19
        sample.memory_limit, sample.memory_events = 64 << 20, {"oom_kill": kills if moment > 100 else 0}
        writer.add(BEGAN + moment, 1, 99, sample)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineTree:
    monkeypatch.setattr(kmsg, "records", lambda: iter(()))  # this machine's has other containers' ends
    return EngineTree(tmp_path)


def test_its_last_minute_its_log_and_what_killed_it(tree: EngineTree) -> None:
    engine = ended(tree)
    recorded(tree, kills=2)
    [document] = deaths.find(engine, "docker:web")
    assert (document["cause"], document["code"], document["signal"]) == ("oom", 137, 9)
    assert document["samples"][-1]["cpu_percent"] == pytest.approx(25)
    assert document["samples"][0]["time"] > ENDED - 70 and len(document["samples"]) == 12
    assert document["memory"]["peak"] == 116 << 19 and document["memory"]["events"]["oom_kill"] == 2
    assert document["log"] == [[1795287719500000000, "stderr", "no more memory"]]
    page = "\n".join(deathtext.lines(document))
    assert "OOM-killed at 58.0M of 64.0M" in page and "2, 2 in the last minute" in page and "no more memory" in page


def test_a_sigkill_that_was_not_for_memory_is_told_apart(tree: EngineTree) -> None:
    engine = ended(tree)
    recorded(tree)
    [document] = deaths.find(engine, ID[:12])
    assert document["cause"] == "killed" and "not for memory" in deathtext.headline(document)


def test_the_engines_own_word_is_enough_where_nobody_recorded(tree: EngineTree) -> None:
    engine = ended(tree, OOMKilled=True)
    [document] = deaths.find(engine, "docker:web")
    assert (document["cause"], document["samples"]) == ("oom", [])
    assert deathtext.headline(document) == "OOM-killed"


def test_another_incarnation_and_another_container_are_not_taken_for_it(tree: EngineTree) -> None:
    engine = ended(tree, 3)
    recorded(tree, kills=5, group=f"/docker/{ID[::-1]}")
    [document] = deaths.find(engine, "docker:web")
    assert (document["cause"], document["samples"]) == ("failed", [])


def test_what_runs_ended_well_or_is_not_there_has_none(tree: EngineTree) -> None:
    engine = ended(tree, 0)
    assert foreigndeaths.of(engine, lookup.find(engine, "docker:web")) == []
    with pytest.raises(NotFound):
        deaths.find(engine, "docker:nobody")
