"""What probes' results make of a container's health, with a clock of our own; where a check comes from."""

from __future__ import annotations

from typing import Any

import pytest

from pyctr.core import creation, health
from pyctr.core.errors import UsageError
from pyctr.core.images.model import Image
from pyctr.core.spec import ContainerSpec, Health

BEGAN = 1000.0


def verdict(**settings: Any) -> health.Verdict:
    found = health.settings(Health(test=["CMD", "probe"], **settings))
    assert found is not None
    return health.Verdict(found, BEGAN)


def result(code: int) -> dict[str, Any]:
    return {"start": 1.0, "end": 2.0, "code": code, "output": f"said {code}"}


def test_it_starts_and_one_success_makes_it_healthy() -> None:
    found = verdict()
    assert found.to_dict() == {"status": "starting", "streak": 0, "log": []}
    assert found.take(result(0), BEGAN + 30)
    assert (found.status, found.streak) == ("healthy", 0)
    assert not found.take(result(0), BEGAN + 60)


def test_only_retries_failures_in_a_row_make_it_unhealthy_and_one_success_ends_that() -> None:
    found = verdict(retries=3)
    changes = [found.take(result(code), BEGAN + 30) for code in (0, 1, 1, 0, 1, -1)]
    assert (changes, found.status, found.streak) == ([True, *[False] * 5], "healthy", 2)
    assert found.take(result(7), BEGAN + 30)
    assert (found.status, found.streak) == ("unhealthy", 3)
    assert not found.take(result(7), BEGAN + 30)
    assert found.streak == 4
    assert found.take(result(0), BEGAN + 30)
    assert (found.status, found.streak) == ("healthy", 0)


def test_what_never_was_healthy_becomes_unhealthy_after_retries_too() -> None:
    found = verdict(retries=2)
    assert [found.take(result(1), BEGAN) for _ in range(2)] == [False, True]
    assert found.status == "unhealthy"


def test_failures_of_the_start_period_do_not_count_until_the_first_success() -> None:
    found = verdict(retries=1, start_period=10.0)
    assert not found.take(result(1), BEGAN + 9.9)
    assert (found.status, found.streak, len(found.log)) == ("starting", 0, 1)
    assert found.take(result(0), BEGAN + 5)
    assert found.take(result(1), BEGAN + 6), "the period is over with the first success"
    assert found.status == "unhealthy"
    late = verdict(retries=1, start_period=10.0)
    assert late.take(result(1), BEGAN + 10)


def test_probes_are_closer_together_while_it_starts() -> None:
    found = verdict(interval=40.0, start_period=10.0, start_interval=2.0)
    assert found.pause(BEGAN) == 2.0
    assert found.pause(BEGAN + 10) == 40.0
    found.take(result(0), BEGAN + 1)
    assert found.pause(BEGAN + 2) == 40.0
    assert verdict().pause(BEGAN) == 30.0


def test_the_last_five_results_are_kept() -> None:
    found = verdict()
    for code in range(1, 9):
        found.take(result(code), BEGAN)
    assert [entry["code"] for entry in found.log] == [4, 5, 6, 7, 8]


def test_the_last_word_of_a_healthy_one_is_unhealthy() -> None:
    found = verdict()
    found.take(result(0), BEGAN)
    assert found.to_dict(over=True)["status"] == "unhealthy"


@pytest.mark.parametrize(
    ("test", "shell", "args"),
    [
        (["CMD", "curl", "-f", "x"], None, ["curl", "-f", "x"]),
        (["CMD-SHELL", "curl -f x"], None, ["/bin/sh", "-c", "curl -f x"]),
        (["CMD-SHELL", "curl -f x"], ["/bin/bash", "-ec"], ["/bin/bash", "-ec", "curl -f x"]),
        (["NONE"], None, None),
        (["CMD"], None, None),
        (["curl", "x"], None, None),
        ([], None, None),
    ],
)
def test_forms_of_a_test(test: list[str], shell: list[str] | None, args: list[str] | None) -> None:
    found = health.settings(Health(test=test), shell)
    assert (found and found["args"]) == args
    assert health.probed(Health(test=test)) == bool(args)


def merged(asked: Health | None, healthcheck: object) -> Health | None:
    image = Image(
        id="sha256:00",
        digest="sha256:01",
        names=[],
        created=0.0,
        size=0,
        architecture="amd64",
        os="linux",
        config={"Healthcheck": healthcheck},
        history=[],
        layers=[],
    )
    return creation.with_image_defaults(ContainerSpec(image="i", health=asked), image).health


IMAGES = {"Test": ["CMD", "up"], "Interval": 5_000_000_000, "Timeout": 1_500_000_000, "Retries": 7}


def test_the_images_check_is_inherited() -> None:
    assert merged(None, IMAGES) == Health(test=["CMD", "up"], interval=5.0, timeout=1.5, retries=7)
    assert merged(None, None) is None
    assert merged(None, {"Interval": 5}) is None
    assert merged(None, ["rubbish"]) is None
    assert merged(None, {"Test": "curl", "Interval": "often", "Retries": -1}) is None


def test_flags_replace_the_images_check_field_by_field() -> None:
    assert merged(Health(interval=9.0), IMAGES) == Health(test=["CMD", "up"], interval=9.0, timeout=1.5, retries=7)
    mine = Health(test=["CMD-SHELL", "mine"], retries=1)
    assert merged(mine, IMAGES) == Health(test=["CMD-SHELL", "mine"], interval=5.0, timeout=1.5, retries=1)
    assert merged(mine, None) == mine
    assert not health.probed(merged(Health(test=["NONE"]), IMAGES))


def test_times_of_a_check_that_does_not_exist_are_refused() -> None:
    with pytest.raises(UsageError, match="no health check"):
        merged(Health(interval=9.0), None)
