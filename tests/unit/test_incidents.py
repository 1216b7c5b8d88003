"""Incidents that were made for real and recorded (tests/support/record_incidents.py): each is told first, by the same
readers and rules as on a living host, and of who is well nothing is."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyctr.core.thresholds import USUAL, Thresholds
from pyctr.core.triage import Diagnosis
from pyctr.tui.replay import Replay
from pyctr.tui.snapshot import Focus
from pyctr.tui.sources.triage import Ward

PLACE = Path(__file__).resolve().parents[1] / "golden/incidents"
TOLD = {
    "memory-leak": "oom",
    "crash-loop": "crash-loop",
    "quota": "throttled",
    "fork-bomb": "pids",
    "unhealthy": "unhealthy",
    "failed": "failed",
    "frozen": "frozen",
    "zombies": "zombies",
    "busy-host": "starved",
    "slow-disk": "io",
    "filling-disk": "disk",
    "hung-disk": "io",
    "idle": "",
}


def judged(name: str, bounds: Thresholds = USUAL) -> dict[str, tuple[Diagnosis, ...]]:
    """By container, worst first, at the last moment of the recording."""
    replay = Replay(str(PLACE / f"{name}.capture"), bounds=bounds)
    try:
        replay.poller.look_at(Focus(sources=("triage",)))
        ward = replay.poller.prime().scenes["triage"].document
        assert isinstance(ward, Ward)
        assert ward.cases or ward.quiet, "somebody was there"
        return {case.name: case.diagnoses for case in ward.cases}
    finally:
        replay.close()


@pytest.mark.parametrize("name", TOLD)
def test_it_is_told_first_and_of_nobody_else(name: str) -> None:
    found = judged(name)
    assert {who: told[0].kind for who, told in found.items()} == ({"patient": TOLD[name]} if TOLD[name] else {})


def facts(name: str, kind: str) -> dict[str, float | str]:
    (diagnosis,) = [one for one in judged(name)["patient"] if one.kind == kind]
    return {fact.name: fact.value for fact in diagnosis.facts}


def test_the_numbers_of_the_load_are_told_as_evidence() -> None:
    assert facts("memory-leak", "oom")["limit"] == 32 << 20
    assert facts("quota", "throttled")["quota"] == 0.05 and float(facts("quota", "throttled")["throttled periods"]) > 80
    assert facts("fork-bomb", "pids") == {"pids": 64, "limit": 64}
    assert facts("crash-loop", "crash-loop")["exit code"] == "3"
    assert float(facts("busy-host", "starved")["host cpu"]) > 90
    assert 0 < float(facts("filling-disk", "disk")["full in"]) < 600
    assert float(facts("hung-disk", "io")["the longest for"]) >= 30
    assert float(facts("zombies", "zombies")["never waited for"]) >= 5


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("crash-loop", USUAL._replace(deaths=1000)),
        ("zombies", USUAL._replace(zombies=50)),
        ("hung-disk", USUAL._replace(stuck_seconds=10_000.0, io_stall_percent=100.0)),
    ],
)
def test_the_thresholds_are_what_decides(name: str, bounds: Thresholds) -> None:
    first = [told[0].kind for told in judged(name, bounds).values()]
    assert TOLD[name] not in first


@pytest.mark.parametrize("path", sorted(PLACE.glob("*.capture")), ids=lambda path: path.stem)
def test_each_is_small_and_on_the_list(path: Path) -> None:
    assert path.stem in TOLD and path.stat().st_size < 40_000
