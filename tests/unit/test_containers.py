"""Finding a container by what a user typed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyctr.core import containers, errors, names
from pyctr.core.engine import Engine
from pyctr.core.paths import Paths
from pyctr.core.state import CREATING, State

A, B, C = "ab" * 32, "ac" * 32, "f0" * 32


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = Engine(Paths(root=str(tmp_path), run=str(tmp_path / "run")))
    for number, (id, name) in enumerate(((A, "web"), (B, "worker-1"), (C, "abcd"))):
        os.makedirs(engine.paths.container(id))
        names.claim(engine.paths, name, id)
        containers.save_state(engine.paths, State(id=id, name=name, created_at=float(number), spec={"image": "x"}))
    return engine


@pytest.mark.parametrize(
    ("ref", "id"),
    [("web", A), ("/web", A), (A, A), ("ab" * 6, A), ("f", C), ("ac", B), ("abcd", C)],
)
def test_by_name_id_or_unique_beginning(engine: Engine, ref: str, id: str) -> None:
    assert containers.find(engine, ref).id == id


def test_an_ambiguous_beginning_lists_the_candidates(engine: Engine) -> None:
    with pytest.raises(errors.Ambiguous) as caught:
        containers.find(engine, "a")
    assert A[:12] in caught.value.hint and B[:12] in caught.value.hint


def test_an_unknown_name_suggests_near_ones(engine: Engine) -> None:
    with pytest.raises(errors.NotFound) as caught:
        containers.find(engine, "worker1")
    assert "'worker1'" in str(caught.value) and "worker-1" in caught.value.hint


@pytest.mark.parametrize("ref", ["", "..", "../containers", "we b", "no/such"])
def test_odd_names_are_just_not_there(engine: Engine, ref: str) -> None:
    with pytest.raises(errors.NotFound):
        containers.find(engine, ref)


def test_all_are_newest_first_without_those_being_made(engine: Engine) -> None:
    os.makedirs(engine.paths.container("dd" * 32))
    fresh = State(id="dd" * 32, name="", created_at=9.0, spec={"image": "x"}, desired=CREATING)
    containers.save_state(engine.paths, fresh)
    os.makedirs(f"{engine.paths.containers}/.new-{'ee' * 32}")
    assert [container.name for container in containers.all(engine)] == ["abcd", "worker-1", "web"]
    with pytest.raises(errors.NotFound):
        containers.find(engine, "dd" * 32)


def test_a_broken_record_is_named(engine: Engine) -> None:
    with open(engine.paths.container(A, "state.json"), "w") as file:
        file.write("{")
    with pytest.raises(errors.StorageError, match="abababababab"):
        containers.find(engine, "web")
    assert [container.name for container in containers.all(engine)] == ["abcd", "worker-1"]
    assert len(containers.broken(engine)) == 1
