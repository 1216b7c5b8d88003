"""Instructions that only change the configuration: the members they set, as Docker's builder sets them."""

from __future__ import annotations

from typing import Any

import pytest

from pyctr.core.build import config
from pyctr.core.build.dockerfile import parse
from pyctr.core.errors import BuildFailure


def applied(text: str, before: dict[str, Any] | None = None, **variables: str) -> dict[str, Any]:
    found, own = dict(before or {}), set[str]()
    for one in parse(text).instructions:
        config.apply(found, one, variables, "\\", own)
    return found


def test_a_new_entrypoint_drops_the_command_of_the_base_image_only() -> None:
    assert applied('ENTRYPOINT ["a"]', {"Cmd": ["base"]}) == {"Entrypoint": ["a"]}
    assert applied('CMD ["own"]\nENTRYPOINT ["a"]', {"Cmd": ["base"]}) == {"Cmd": ["own"], "Entrypoint": ["a"]}


def test_the_shell_form_goes_by_the_shell_of_that_moment() -> None:
    found = applied('CMD a $x\nSHELL ["/bin/bash", "-c"]\nENTRYPOINT b')
    assert (found["Cmd"], found["Entrypoint"]) == (["/bin/sh", "-c", "a $x"], ["/bin/bash", "-c", "b"])


def test_a_variable_keeps_its_place_when_it_is_set_anew() -> None:
    assert applied("ENV a=3 c=4", {"Env": ["a=1", "b=2"]})["Env"] == ["a=3", "b=2", "c=4"]


def test_paths_are_relative_to_the_one_before() -> None:
    assert applied("WORKDIR a\nWORKDIR ../b/./c\nWORKDIR $d", d="x y")["WorkingDir"] == "/b/c/x y"


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("NONE", {"Test": ["NONE"]}),
        ("CMD a b", {"Test": ["CMD-SHELL", "a b"]}),
        ('--retries=3 CMD ["a", "b"]', {"Test": ["CMD", "a", "b"], "Retries": 3}),
        ("--interval=1.5s --start-period=2m CMD a", {"Interval": 1500000000, "StartPeriod": 120000000000}),
    ],
)
def test_health_checks(text: str, check: dict[str, Any]) -> None:
    assert check.items() <= applied(f"HEALTHCHECK {text}")["Healthcheck"].items()


@pytest.mark.parametrize(
    "text",
    [
        "HEALTHCHECK NONE x",
        "HEALTHCHECK --interval=5 CMD x",
        "HEALTHCHECK --timeout=1us CMD x",
        "HEALTHCHECK run x",
        "EXPOSE 0",
        "EXPOSE 9-8",
        "EXPOSE 80/icmp",
        "ENV =x",
        "LABEL a=b c",
        "VOLUME $none",
        "WORKDIR $none",
        "STOPSIGNAL 99",
        'SHELL "sh"',
    ],
)
def test_what_makes_no_sense_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(BuildFailure, match=r"^Dockerfile:1: "):
        applied(text)


def test_what_was_inherited_is_not_changed_in_place() -> None:
    before = {
        "Env": ["a=1"],
        "Labels": {"a": "b"},
        "ExposedPorts": {"1/tcp": {}},
        "Volumes": {"/a": {}},
        "OnBuild": ["x"],
    }
    kept = {name: value.copy() for name, value in before.items()}  # type: ignore[attr-defined]
    applied("ENV b=2\nLABEL c=d\nEXPOSE 2\nVOLUME /b\nONBUILD RUN y", before)
    assert before == kept
