"""Diagnoses from measurements: each rule with what triggers it, what does not, and what is only a symptom."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pyctr.core import triage
from pyctr.core.cgroupstats import Rates
from pyctr.core.events import Event
from pyctr.core.past import pasts
from pyctr.core.state import PAUSED, RESTARTING, RUNNING, STOPPED
from pyctr.core.thresholds import USUAL
from pyctr.core.triage import Death, Diagnosis, Disk, Machine, Past, Patient, diagnose

NOW = 1_800_000_000.0
IDLE = Machine(cpus=8, cpu=10.0)


def rates(**values: Any) -> Rates:
    made = Rates()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def kinds(patient: Patient, machine: Machine = IDLE) -> list[str]:
    return [diagnosis.kind for diagnosis in diagnose(patient, machine, NOW)]


def only(patient: Patient, machine: Machine = IDLE) -> Diagnosis:
    found = diagnose(patient, machine, NOW)
    assert len(found) == 1, found
    return found[0]


def facts(diagnosis: Diagnosis) -> dict[str, float | str]:
    return {fact.name: fact.value for fact in diagnosis.facts}


WELL = rates(
    memory_percent_of_limit=60.0,
    memory_limit=1 << 30,
    psi_memory=0.0,
    psi_io=1.0,
    psi_cpu=3.0,
    pids=20,
    pids_limit=100,
    throttled_percent=2.0,
)


@pytest.mark.parametrize(
    "patient",
    [
        Patient(RUNNING, WELL),
        Patient(RUNNING),
        Patient(RUNNING, WELL, health="healthy"),
        Patient(STOPPED, code=0),
        Patient(STOPPED, code=137, signal=9, wanted="stopped", finished=NOW - 5),
        Patient(
            RUNNING, WELL, Past(deaths=(Death(NOW - 20, 0), Death(NOW - 10, 0), Death(NOW - 5, 0))), restart="always"
        ),
        Patient(RUNNING, rates(psi_cpu=80.0)),
    ],
)
def test_who_is_well_has_no_diagnosis(patient: Patient) -> None:
    assert kinds(patient) == []


def test_kills_for_memory_are_a_loop_from_the_second_on_and_hide_their_symptoms() -> None:
    full = rates(memory_percent_of_limit=99.0, memory_limit=32 << 20, memory_peak=32 << 20, psi_memory=40.0)
    once = only(Patient(RUNNING, full, Past(kills=((NOW - 60, 1),))))
    assert (once.kind, once.title, once.since) == ("oom", "OOM-killed", NOW - 60)
    past = Past(kills=((NOW - 60, 1), (NOW - 12, 2)), deaths=tuple(Death(NOW - 12 + n, 137, True) for n in range(4)))
    loop = only(Patient(RUNNING, full, past, memory_limit=32 << 20, restart="always"))
    assert loop.title == "OOM loop" and loop.rank > once.rank
    assert facts(loop) == {"kills in 10 min": 3, "last": 12.0, "limit": 32 << 20, "peak": 32 << 20}
    assert "oom" not in kinds(Patient(RUNNING, WELL, Past(kills=((NOW - USUAL.window_seconds - 1, 5),))))


def test_137_for_memory_and_137_by_hand_are_told_apart() -> None:
    by_hand = only(Patient(STOPPED, code=137, signal=9, finished=NOW - 30))
    assert by_hand.kind == "failed" and facts(by_hand)["SIGKILL"] == "not by the kernel for memory"
    assert kinds(Patient(STOPPED, code=137, signal=9, finished=NOW - 30, oom_killed=True)) == ["oom"]


def test_a_crash_loop_needs_three_failures_in_ten_minutes_and_a_policy() -> None:
    deaths = tuple(Death(NOW - 100 + n, 3 + n % 2) for n in range(5))
    loop = only(Patient(RESTARTING, None, Past(deaths=deaths), restart="always", code=3, finished=NOW - 96))
    assert (loop.kind, loop.since) == ("crash-loop", NOW - 100) and facts(loop)["exit code"] == "3, 4"
    assert kinds(Patient(RUNNING, WELL, Past(deaths=deaths[:2]), restart="always")) == []
    assert kinds(Patient(STOPPED, None, Past(deaths=deaths), code=3, finished=NOW - 96)) == ["failed"]


def test_a_quota_and_a_busy_host_are_told_apart() -> None:
    slow = Patient(RUNNING, rates(throttled_percent=46.0, psi_cpu=38.0, cpu_percent_of_limit=99.0), cpu_limit=2.0)
    quota = only(slow, IDLE)
    assert quota.kind == "throttled" and quota.why.endswith("not the host") and facts(quota)["idle on the host"] == 7.2
    assert "nothing to spare" in only(slow, Machine(cpus=8, cpu=99.0)).why
    waiting = Patient(RUNNING, rates(throttled_percent=0.0, psi_cpu=60.0, cpu_percent_of_limit=20.0), cpu_limit=2.0)
    assert kinds(waiting, Machine(cpus=8, cpu=99.0)) == ["starved"]
    assert kinds(waiting, IDLE) == []
    assert kinds(Patient(RUNNING, rates(psi_cpu=60.0)), Machine(cpus=2, cpu=100.0)) == ["starved"]


def test_memory_near_its_limit_matters_more_when_something_waits_for_it() -> None:
    near = only(Patient(RUNNING, rates(memory_percent_of_limit=93.0, memory_limit=1 << 30, psi_memory=0.0)))
    short = only(Patient(RUNNING, rates(memory_percent_of_limit=93.0, memory_limit=1 << 30, psi_memory=8.0)))
    assert (near.kind, short.kind) == ("near-limit", "memory") and short.rank > near.rank
    host = only(Patient(RUNNING, rates(memory_percent_of_limit=5.0, psi_memory=12.0)))
    assert host.kind == "memory" and "the host" in host.why


@pytest.mark.parametrize(
    ("pids", "limit", "found"), [(10, 10, True), (96, 100, True), (94, 100, False), (1, 1, False), (5, None, False)]
)
def test_pids_at_their_limit(pids: int, limit: int | None, found: bool) -> None:
    assert ("pids" in kinds(Patient(RUNNING, rates(pids=pids, pids_limit=limit)))) is found


def test_one_sleep_that_does_not_end_is_a_stall_without_any_pressure() -> None:
    hung = only(Patient(RUNNING, WELL, waiting=2, stuck=45.0, waits="rpc_wait_bit_killable"))
    assert (hung.kind, hung.since) == ("io", NOW - 45)
    found = facts(hung)
    assert (found["tasks in D"], found["the longest for"], found["in"]) == (2, 45.0, "rpc_wait_bit_killable")
    assert "no signal reaches it" in hung.why
    assert kinds(Patient(RUNNING, WELL, waiting=2, stuck=9.0)) == [], "a disk takes its time"
    assert kinds(Patient(PAUSED, WELL, waiting=2, stuck=45.0)) == ["frozen"], "v1 freezes tasks into the same state"
    pressed = facts(only(Patient(RUNNING, rates(psi_io=60.0), waiting=3)))
    assert (pressed["psi io"], pressed["tasks in D"]) == (60.0, 3)
    assert facts(only(Patient(RUNNING, WELL, zombies=6, waiting=1)))["tasks in D"] == 1


def test_the_rest() -> None:
    assert kinds(Patient(RUNNING, rates(psi_io=60.0))) == ["io"]
    assert only(Patient(PAUSED, past=Past(paused=NOW - 9))).since == NOW - 9
    assert kinds(Patient(RUNNING, WELL, watched=False)) == ["unwatched"]
    sick = only(Patient(RUNNING, WELL, health="unhealthy", streak=4, said="no answer"))
    assert facts(sick) == {"failed probes in a row": 4, "it said": "no answer"}
    assert kinds(Patient(STOPPED, error="no such file", code=127, finished=NOW - 5)) == ["failed"]
    old, new = (only(Patient(STOPPED, code=1, finished=NOW - ago)) for ago in (3 * 86400, 60))
    assert old.rank < new.rank


def test_the_guide_has_every_verdict() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "triage.md").read_text()
    source = Path(triage.__file__).read_text()
    titles = set(re.findall(r'"(?:[a-z-]+)",\n? *\d+(?: if again else \d+)?,\n? *"([^"]+)"', source))
    assert {"OOM loop", "frozen", "CPU-throttled", "unhealthy"} <= titles and len(titles) >= 11
    assert [title for title in titles if title not in guide] == []


def test_the_worst_comes_first() -> None:
    bad = rates(psi_io=60.0, throttled_percent=50.0, pids=10, pids_limit=10)
    assert kinds(Patient(RUNNING, bad, watched=False)) == ["unwatched", "pids", "io", "throttled"]


MIB = 1 << 20
DISK = Disk(layer=100 * MIB, log=1 * MIB, free=900 * MIB, total=10_000 * MIB, growth=0.0)


@pytest.mark.parametrize(
    "disk",
    [
        DISK,
        DISK._replace(growth=None),
        DISK._replace(growth=8 * 1024.0),  # a log that goes on
        DISK._replace(growth=50 * 1024.0),  # full in five hours
        DISK._replace(growth=-5.0 * MIB),
        DISK._replace(free=100 * MIB),  # full by somebody else
        DISK._replace(total=0, free=0),
    ],
)
def test_who_writes_within_reason_fills_no_disk(disk: Disk) -> None:
    assert kinds(Patient(RUNNING, WELL, disk=disk)) == []


def test_a_disk_that_fills_is_told_with_when_it_is_full() -> None:
    found = only(Patient(RUNNING, WELL, disk=DISK._replace(growth=1.0 * MIB)))
    assert (found.kind, found.title) == ("disk", "disk filling")
    assert facts(found)["full in"] == 900 and facts(found)["grows per minute"] == 60 * MIB
    soon = only(Patient(RUNNING, WELL, disk=DISK._replace(growth=3.0 * MIB)))
    assert soon.rank > found.rank


def test_of_a_full_disk_those_are_told_who_have_much_of_it() -> None:
    full = DISK._replace(free=200 * MIB, layer=600 * MIB)
    assert only(Patient(RUNNING, WELL, disk=full)).title == "disk full"
    assert kinds(Patient(STOPPED, code=0, disk=full)) == ["disk"]  # what has ended still has its layer


def test_children_that_nobody_waits_for() -> None:
    assert kinds(Patient(RUNNING, WELL, zombies=USUAL.zombies - 1)) == []
    found = only(Patient(RUNNING, WELL, zombies=200))
    assert found.kind == "zombies" and facts(found) == {"never waited for": 200} and "--init" in found.why


def test_a_clock_that_was_set_back_is_told_of_those_that_run() -> None:
    found = only(Patient(RUNNING, WELL, started=NOW + 3600))
    assert found.kind == "clock" and facts(found) == {"by": 3600}
    for patient in (
        Patient(RUNNING, WELL, started=NOW + 5),
        Patient(RUNNING, WELL, started=NOW - 9e6),
        Patient(STOPPED, code=0, started=NOW + 3600),
    ):
        assert kinds(patient) == []


def test_since_when_it_is_unhealthy_is_what_the_journal_tells() -> None:
    def told(*actions: str) -> float:
        events = [Event(time_ns=int((NOW - 60 + at) * 1e9), action=one, id="a") for at, one in enumerate(actions)]
        past = pasts({}, events, NOW, USUAL.window_seconds)["a"]
        return only(Patient("running", health="unhealthy", past=past)).since

    sick, well = "health_status: unhealthy", "health_status: healthy"
    assert told("start", sick, sick) == NOW - 59
    assert told(sick, well, "pause", sick) == NOW - 57
    assert told(sick, "start", sick) == NOW - 58
    assert told(sick, "start") == 0, "of this life nothing is known"


def test_what_is_longer_ago_than_the_window_is_not_kept_but_counted_on() -> None:
    oom = [
        Event(time_ns=int((NOW - at) * 1e9), action="oom", id="a", attributes={"kills": str(kills)})
        for at, kills in ((9000, 3), (10, 5))
    ]
    deaths = [Event(time_ns=int((NOW - at) * 1e9), action="die", id="a") for at in (9000, 20)]
    past = pasts({}, [oom[0], deaths[0], deaths[1], oom[1]], NOW, USUAL.window_seconds)["a"]
    assert past.kills == ((NOW - 10, 2),) and [death.time for death in past.deaths] == [NOW - 20]
