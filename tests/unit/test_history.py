"""Rates of the past are exact, and none are made up where nothing is known."""

from __future__ import annotations

import pytest

from pyctr.core import history
from pyctr.core.cgroupstats import Sample
from pyctr.core.ring import Reading


def reading(at: float, usage: float, *, pid: int = 7, boot: int = 1, step: int = 5, **values: object) -> Reading:
    sample = Sample()
    sample.monotonic = at
    sample.cpu_usage_us = int(usage * 1e6)
    sample.__dict__.update(values)
    return Reading(1e9 + at, boot, pid, step, sample)


def cpu(readings: list[Reading]) -> list[float | None]:
    return [moment.rates.cpu_percent for moment in history.moments(readings)]


def test_rates_are_the_mean_between_two_readings() -> None:
    assert cpu([reading(0, 0), reading(5, 2.5), reading(10, 12.5)]) == [None, 50, 200]


def test_a_gap_is_a_gap() -> None:
    found = history.moments([reading(0, 0), reading(5, 1), reading(65, 61), reading(70, 66)])
    assert [moment.gap for moment in found] == [False, False, True, False]
    assert [moment.rates.cpu_percent for moment in found] == [None, 20, None, 100]


def test_coarse_readings_are_no_gap() -> None:
    found = history.moments([reading(0, 0, step=60), reading(60, 30, step=60), reading(120, 90), reading(125, 95)])
    assert [moment.rates.cpu_percent for moment in found] == [None, 50, 100, 100]
    assert not any(moment.gap for moment in found)


@pytest.mark.parametrize("other", [{"pid": 8}, {"boot": 2}])
def test_another_incarnation_has_no_rates_from_the_one_before(other: dict[str, int]) -> None:
    assert cpu([reading(0, 1), reading(5, 2), reading(10, 50, **other), reading(15, 55, **other)]) == [
        None, 20, None, 100,
    ]  # fmt: skip


def test_a_counter_that_fell_gives_no_rate() -> None:
    assert cpu([reading(0, 9), reading(5, 1), reading(10, 6)]) == [None, None, 100]


def test_pressure_is_the_share_of_the_interval() -> None:
    def psi(total: int) -> dict[str, object]:
        return {"memory": (0.0, None, total, 0)}

    found = history.moments([reading(0, 0, psi=psi(0)), reading(10, 1, psi=psi(2_500_000)), reading(20, 2)])
    assert [moment.rates.psi_memory for moment in found] == [None, 25, None]
    assert found[1].rates.psi_io is None


def test_thinned_out_it_keeps_peaks_sums_and_gaps() -> None:
    readings = [reading(5.0 * n, 2.5 * n, memory_current=100 + n, memory_events={"oom_kill": n}) for n in range(12)]
    readings += [reading(600 + 5.0 * n, 500 + 5.0 * n, memory_current=1) for n in range(12)]
    found = history.thin(history.moments(readings), 4)
    assert len(found) == 4
    assert [moment.gap for moment in found] == [False, False, True, False]
    assert [moment.rates.cpu_percent for moment in found] == [50, 50, 100, 100]
    assert [moment.rates.memory_current for moment in found] == [105, 111, 1, 1]
    assert [moment.rates.oom_kills for moment in found] == [5, 6, None, None]
