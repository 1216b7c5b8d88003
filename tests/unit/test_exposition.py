"""Metrics of the recorded host, as an independent parser reads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core import exposition
from pyctr.core.capture.answers import RecordedEngine
from pyctr.core.capture.moments import Stage, from_json
from pyctr.core.containers import Container
from pyctr.core.rounds import Rounds, Vital

openmetrics = pytest.importorskip("prometheus_client.openmetrics.parser", reason="make setup installs it")
prometheus = pytest.importorskip("prometheus_client.parser", reason="make setup installs it")
HOST = Path(__file__).parents[1] / "golden" / "host" / "host.json"


@pytest.fixture
def vitals(tmp_path: Path) -> Iterator[list[Vital]]:
    stage = Stage(str(tmp_path), from_json(str(HOST)))
    stage.show(9)
    rounds = Rounds(RecordedEngine(stage))
    yield rounds.look()
    rounds.close()


def read(
    vitals: list[Vital], parser: object = openmetrics, **how: bool
) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in parser.text_string_to_metric_families(exposition.text(vitals, **how)):  # type: ignore[attr-defined]
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_both_parsers_read_the_same_numbers(vitals: list[Vital]) -> None:
    new, old = read(vitals), read(vitals, prometheus, openmetrics=False)
    assert new == old
    assert len(new) > 30


def test_values_are_the_kernels_in_base_units(vitals: list[Vital]) -> None:
    found = read(vitals)
    api = next(vital for vital in vitals if vital.container.name == "api-1")
    assert api.sample is not None and api.sample.cpu_usage_us is not None

    def of(name: str, **more: str) -> float:
        values = [
            value for labels, value in found[name] if labels["name"] == "api-1" and labels.items() >= more.items()
        ]
        assert len(values) == 1, name
        return values[0]

    assert of("container_cpu_usage_seconds_total") == pytest.approx(api.sample.cpu_usage_us / 1e6, rel=1e-6)
    assert of("container_cpu_cfs_throttled_periods_total") == api.sample.cpu_throttled
    assert of("container_memory_working_set_bytes") == api.sample.memory_working_set
    assert of("container_spec_memory_limit_bytes") == 64 << 20
    assert of("container_spec_cpu_quota") / of("container_spec_cpu_period") == pytest.approx(0.3)
    assert api.sample.net is not None
    assert of("container_network_receive_bytes_total", interface="eth0") == api.sample.net["eth0"][0]
    assert not [labels for labels, _ in found["container_network_receive_bytes_total"] if labels["interface"] == "lo"]
    assert of("pyctr_container_state", state="running") == 1
    assert of("pyctr_container_state", state="stopped") == 0


def test_who_does_not_run_has_a_state_and_no_use(vitals: list[Vital]) -> None:
    found = read(vitals)
    assert {labels["name"]: value for labels, value in found["pyctr_container_exit_code"]}["seed"] == 3
    for name in ("container_cpu_usage_seconds_total", "container_memory_usage_bytes", "container_start_time_seconds"):
        assert "seed" not in {labels["name"] for labels, _ in found[name]}
    assert sum(value for _, value in found["pyctr_containers"]) == len(vitals)


def test_no_name_breaks_the_text(vitals: list[Vital]) -> None:
    evil = 'a"b\\c\nd{}# EOF\x1b\ud800é'
    container = vitals[0].container
    assert isinstance(container, Container)
    container.state.name = evil
    found = read(vitals)
    assert evil.replace("\ud800", "?") in {labels["name"] for labels, _ in found["pyctr_container_restarts_total"]}


def test_nobody_is_a_valid_answer_too() -> None:
    assert set(read([])) == {"pyctr_build_info", "pyctr_containers"}
