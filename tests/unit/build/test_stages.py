"""Which stages a build needs, in which order, and what a FROM may say."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyctr.core.build.dockerfile import parse
from pyctr.core.build.stages import Graph, graph
from pyctr.core.errors import BuildFailure, UsageError

BOUNDED = settings(deadline=None, derandomize="PYCTR_FUZZ" not in os.environ, max_examples=200)


def made(text: str, arguments: dict[str, str] | None = None, target: str = "") -> Graph:
    return graph(parse(text), arguments or {}, target=target)


def test_stages_nobody_needs_are_left_out() -> None:
    found = made("FROM a AS one\nFROM b AS two\nFROM scratch\nCOPY --from=two /x /x\n")
    assert found.order == [1, 2]


def test_a_stage_is_needed_by_name_by_number_by_mount_and_as_base() -> None:
    found = made(
        "FROM a AS one\nFROM a AS two\nFROM a AS three\n"
        "FROM One\nCOPY --from=1 a b\nRUN --mount=from=three,target=/x y\n"
    )
    assert found.stages[3].needs == {0, 1, 2}
    assert found.stages[3].base == ""


def test_the_target_is_found_by_name_and_number() -> None:
    text = "FROM a AS one\nFROM b AS two\n"
    assert made(text, target="one").order == [0]
    assert made(text, target="0").order == [0]
    with pytest.raises(UsageError, match="no stage 'tow'") as caught:
        made(text, target="tow")
    assert caught.value.hint == "did you mean 'two'?"


def test_arguments_before_the_first_from_choose_the_image() -> None:
    text = "ARG tag=1\nARG image=alpine:$tag\nFROM $image\n"
    assert made(text).stages[0].base == "alpine:1"
    assert made(text, {"tag": "2"}).stages[0].base == "alpine:2"


def test_the_platform_of_a_stage_may_be_a_variable() -> None:
    found = made("FROM --platform=$BUILDPLATFORM a\n")
    assert found.stages[0].platform == found.globals["BUILDPLATFORM"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("RUN x\nFROM a", "Dockerfile:1: RUN x: RUN before the first FROM"),
        ("# nothing\n", "no FROM"),
        ("FROM a b", "FROM takes an image"),
        ("FROM a AS 1x", "'1x' is no name for a stage"),
        ("FROM a AS x\nFROM b AS X", "Dockerfile:2: FROM b AS X: a second stage 'x'"),
        ("FROM $none", "the image's name '$none' is empty"),
        ("FROM a AS x\nCOPY --from=x a b", "stage 'x' needs itself"),
        ("FROM a\nCOPY --from=7 a b", "no stage 7"),
        ("FROM a AS x\nCOPY --from=y a b\nFROM b AS y\nCOPY --from=x a b", "need each other"),
        ("FROM --platform=l@x a", "bad platform"),
        ("ARG 1a=2\nFROM a", "'1a' is no name for a build argument"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(BuildFailure) as caught:
        made(text)
    assert message in str(caught.value)


@BOUNDED
@given(st.lists(st.lists(st.integers(0, 11), max_size=4), min_size=1, max_size=12))
def test_every_stage_comes_after_what_it_needs(needs: list[list[int]]) -> None:
    text = "".join(
        f"FROM scratch AS s{index}\n" + "".join(f"COPY --from=s{other} a b\n" for other in others if other < index)
        for index, others in enumerate(needs)
    )
    found = made(text)
    assert found.order[-1] == found.target == len(needs) - 1
    for position, index in enumerate(found.order):
        assert found.stages[index].needs <= set(found.order[:position])
    reached, todo = set(), [found.target]
    while todo:
        index = todo.pop()
        reached.add(index)
        todo += found.stages[index].needs
    assert reached == set(found.order)
