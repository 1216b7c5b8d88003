"""Containers of other engines in a recording: back as they were, and nothing of this machine reached through them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pyctr.core.capture import strangers
from pyctr.core.engines.model import Foreign, Log, Mount, Port

ONE = Foreign(
    "docker", "ab" * 32, "web", "nginx:1", "running", 7, "/docker/" + "ab" * 32,
    command=("nginx", "-g"), started_at=12.5, exit_code=None, labels={"tier": "front"}, addresses=("172.17.0.2",),
    ports=(Port("", 8080, 80),), mounts=(Mount("bind", "/srv", "/data", True),), memory_limit=1 << 20,
    log=Log("json-file", "/var/lib/docker/containers/x/x-json.log"), words=("docker", "-H", "unix:///run/d.sock"),
)  # fmt: skip


def back(document: Any, present: frozenset[str] = frozenset()) -> tuple[Foreign, ...]:
    return strangers.from_document(json.loads(json.dumps(document)), "/stage/root", present)


def test_a_record_comes_back_whole_with_its_log_in_the_recording() -> None:
    name = strangers.log_name(ONE).rpartition("/")[2]
    found = back(strangers.to_document([ONE]), frozenset({name}))
    assert found == (ONE._replace(log=Log("cri", f"/stage/root/others/{name}"), words=()),)


def test_a_log_that_was_not_packed_is_not_looked_for_here() -> None:
    (found,) = back(strangers.to_document([ONE]))
    assert found.log == Log(why="it was not recorded")


@pytest.mark.parametrize(
    "forged",
    [
        {"group": "/../../etc"},
        {"pid": "/../1"},
        {"ports": ["x"]},
        {"labels": ["x"]},
        {"engine": "docker", "memory_limit": {"x": 1}},
    ],
)
def test_what_is_no_record_is_left_out(forged: dict[str, Any]) -> None:
    (told,) = strangers.to_document([ONE])
    assert [one.name for one in back([told | forged, told, 7, None])] == ["web"]


def test_a_log_of_a_forged_record_stays_below_the_recording(tmp_path: Path) -> None:
    (told,) = strangers.to_document([ONE])
    forged = told | {"log": {"form": "json-file", "path": "/etc/shadow"}, "words": ["rm", "-rf"]}
    (found,) = back([forged], frozenset({strangers.log_name(ONE).rpartition("/")[2]}))
    assert found.log.path.startswith("/stage/root/others/") and found.words == ()
