"""The user's own thresholds: what is taken, what is refused and how, and that every rule goes by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyctr.core import thresholds
from pyctr.core.cgroupstats import Rates
from pyctr.core.errors import UsageError
from pyctr.core.past import pasts
from pyctr.core.state import RUNNING, STOPPED
from pyctr.core.thresholds import USUAL, Thresholds
from pyctr.core.triage import Death, Disk, Machine, Past, Patient, diagnose
from pyctr.tui.container_table import Filter
from pyctr.tui.snapshot import ContainerRow

NOW = 1_800_000_000.0


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "triage.toml"
    path.write_text(text)
    return str(path)


def test_who_has_no_file_has_the_usual_ones(tmp_path: Path) -> None:
    assert thresholds.load(f"{tmp_path}/none.toml") == USUAL
    assert thresholds.load(write(tmp_path, "")) == USUAL


def test_it_lies_beside_the_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "pyctr").mkdir()
    write(tmp_path / "pyctr", "pids_percent = 50\nzombies = 9\n")
    assert thresholds.load() == USUAL._replace(pids_percent=50, zombies=9)


@pytest.mark.parametrize(
    ("text", "complaint", "hint"),
    [
        ("memory_percent = 120", "memory_percent = 120 is not a percentage above 0, up to 100", "= 90 is usual"),
        ("memory_percent = 0", "memory_percent = 0 is not a percentage", "usual"),
        ("memory_percent = nan", "memory_percent = nan is not a percentage", "usual"),
        ('io_stall_percent = "30%"', "io_stall_percent = '30%' is not a percentage", "= 25 is usual"),
        ("io_stall_percent = true", "io_stall_percent = True is not a percentage", "usual"),
        ("window_seconds = -1", "window_seconds = -1 is not a number of seconds above 0", "= 600 is usual"),
        ("stale_seconds = inf", "stale_seconds = inf is not a number of seconds", "usual"),
        ("growth_bytes_per_second = 0", "growth_bytes_per_second = 0 is not a number of bytes", "= 16384 is usual"),
        ("deaths = 2.5", "deaths = 2.5 is not a whole number from 1 on", "= 3 is usual"),
        ("zombies = 0", "zombies = 0 is not a whole number", "usual"),
        ("memory_precent = 80", "no threshold is called 'memory_precent'", "perhaps memory_percent"),
        ("qqq = 80", "no threshold is called 'qqq'", "one of window_seconds, deaths"),
        ("pids_percent = 80\nio_stall_percent 30", "line 2", "memory_percent = 95"),
    ],
)
def test_what_cannot_be_is_said_with_file_and_key_and_what_to_try(
    tmp_path: Path, text: str, complaint: str, hint: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        thresholds.load(path)
    assert path in caught.value.message and complaint in caught.value.message
    assert hint in (caught.value.hint or "")


def rates(**values: Any) -> Rates:
    made = Rates()
    for name, value in values.items():
        setattr(made, name, value)
    return made


BUSY = Machine(cpus=2, cpu=95.0)
DISK = Disk(layer=60.0, log=0.0, free=20.0, total=1000.0)
SICK: list[tuple[str, Patient, float]] = [
    ("window_seconds", Patient(RUNNING, None, Past(kills=((NOW - 500, 1),))), 400),
    ("deaths", Patient(RUNNING, None, Past(deaths=(Death(NOW - 9, 1),) * 3), restart="always"), 4),
    ("pids_percent", Patient(RUNNING, rates(pids=96, pids_limit=100)), 97),
    ("memory_percent", Patient(RUNNING, rates(memory_percent_of_limit=92.0, memory_limit=1 << 30)), 93),
    ("host_memory_stall_percent", Patient(RUNNING, rates(psi_memory=12.0)), 13),
    ("io_stall_percent", Patient(RUNNING, rates(psi_io=30.0)), 31),
    ("stuck_seconds", Patient(RUNNING, waiting=1, stuck=31.0), 32),
    ("throttled_percent", Patient(RUNNING, rates(throttled_percent=30.0)), 31),
    ("cpu_stall_percent", Patient(RUNNING, rates(psi_cpu=40.0)), 41),
    ("host_busy_percent", Patient(RUNNING, rates(psi_cpu=40.0)), 96),
    ("at_quota_percent", Patient(RUNNING, rates(psi_cpu=40.0, cpu_percent_of_limit=70.0)), 60),
    ("growth_bytes_per_second", Patient(RUNNING, disk=DISK._replace(growth=2e4, free=1e6, total=1e7)), 3e4),
    ("full_in_seconds", Patient(RUNNING, disk=DISK._replace(growth=2e4, free=1e6, total=1e7)), 40),
    ("full_percent", Patient(RUNNING, disk=DISK), 1),
    ("much_percent", Patient(RUNNING, disk=DISK), 7),
    ("zombies", Patient(RUNNING, zombies=6), 7),
    ("ahead_seconds", Patient(RUNNING, started=NOW + 100), 101),
]


@pytest.mark.parametrize(("name", "patient", "value"), SICK, ids=[name for name, _, _ in SICK])
def test_each_moves_the_line_between_sick_and_well(name: str, patient: Patient, value: float) -> None:
    assert len(diagnose(patient, BUSY, NOW)) == 1
    assert diagnose(patient, BUSY, NOW, USUAL._replace(**{name: value})) == ()


def test_two_change_what_is_said() -> None:
    near = Patient(RUNNING, rates(memory_percent_of_limit=92.0, memory_limit=1 << 30, psi_memory=6.0))
    assert [one.kind for one in diagnose(near, BUSY, NOW)] == ["memory"]
    assert [one.kind for one in diagnose(near, BUSY, NOW, USUAL._replace(memory_stall_percent=7))] == ["near-limit"]
    old = Patient(STOPPED, code=1, finished=NOW - 5000)
    fresh, stale = diagnose(old, BUSY, NOW), diagnose(old, BUSY, NOW, USUAL._replace(stale_seconds=4000))
    assert fresh[0].rank > stale[0].rank
    covered = {name for name, _, _ in SICK} | {"memory_stall_percent", "stale_seconds"}
    assert covered == set(Thresholds._fields)


def test_the_window_is_named_and_kept_as_long_as_it_is() -> None:
    wide = USUAL._replace(window_seconds=5400)
    past = Past(kills=((NOW - 5000, 1),))
    assert diagnose(Patient(RUNNING, None, past), BUSY, NOW, wide)[0].facts[0].name == "kills in 90 min"
    assert pasts({"a": past}, (), NOW, wide.window_seconds)["a"] == past
    assert pasts({"a": past}, (), NOW, USUAL.window_seconds)["a"].kills == ()


def test_the_filter_for_what_needs_somebody_goes_by_them() -> None:
    row = ContainerRow(id="a", name="ab", status=RUNNING, throttled=30.0)
    assert Filter(faults=True).keeps(row)
    assert not Filter(faults=True).keeps(row, USUAL._replace(throttled_percent=31))


def test_the_guide_has_every_one_with_its_number() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "triage.md").read_text()
    for name, value in USUAL._asdict().items():
        assert f"| `{name}` | {value:g} |" in guide
