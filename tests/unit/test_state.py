"""The one table of transitions, and the status derived from facts."""

from __future__ import annotations

import itertools

import pytest

from pyctr.core.state import (
    ALLOWED,
    CREATED,
    DEAD,
    PAUSED,
    RESTARTING,
    RUNNING,
    STOPPED,
    Exit,
    Process,
    State,
    derive,
)

PROCESS = Process(
    pid=2, start_time=1, shim_pid=1, shim_start_time=1, boot_id="b", started_at=1.0, started_monotonic=1.0
)


def state(**fields: object) -> State:
    return State(**{"id": "a", "name": "n", "created_at": 0.0, "spec": {}, **fields})


@pytest.mark.parametrize(
    ("record", "facts", "expected"),
    [
        (state(), (False, False, False), CREATED),
        (state(process=PROCESS), (True, True, False), RUNNING),
        (state(process=PROCESS), (True, True, True), PAUSED),
        (state(process=PROCESS), (True, False, False), RUNNING),
        (state(process=PROCESS), (False, False, False), STOPPED),
        (state(process=PROCESS), (False, True, False), RUNNING),
        (state(process=PROCESS, exit=Exit(code=0)), (False, True, False), STOPPED),
        (state(process=PROCESS, exit=Exit(code=0), restarting=True), (False, True, False), RESTARTING),
        (state(process=PROCESS, exit=Exit(code=0), restarting=True), (False, False, False), STOPPED),
        (state(process=PROCESS, removing=True), (True, True, False), DEAD),
        (state(exit=Exit(code=1)), (False, False, False), STOPPED),
    ],
)
def test_status(record: State, facts: tuple[bool, bool, bool], expected: str) -> None:
    alive, shim_alive, frozen = facts
    assert derive(record, alive=alive, shim_alive=shim_alive, frozen=frozen) == expected


def test_what_each_verb_may_be_asked_in() -> None:
    allowed = {
        (verb, status)
        for verb, status in itertools.product(ALLOWED, (CREATED, RUNNING, PAUSED, RESTARTING, STOPPED, DEAD))
        if status in ALLOWED[verb]
    }
    assert ("start", RUNNING) not in allowed and ("start", STOPPED) in allowed
    assert ("pause", PAUSED) not in allowed and ("unpause", RUNNING) not in allowed
    assert ("remove", RUNNING) not in allowed and ("remove --force", RUNNING) in allowed
    assert {verb for verb, status in allowed if status == DEAD} == {"remove", "remove --force"}
    assert {verb for verb, status in allowed if status == CREATED} == {
        *("start", "restart", "rename", "update", "remove", "remove --force"),
    }


def test_a_record_survives_being_written_and_read() -> None:
    record = state(process=PROCESS, exit=Exit(code=3), volumes={"/a": "/b"})
    document = record.to_dict()
    document["from_the_future"] = 1
    again = State.from_dict(document)
    assert again.process == PROCESS and again.to_dict()["from_the_future"] == 1
