"""Names belong to one container at a time; signals are what people write."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from pyctr.core import errors, names, signals
from pyctr.core.paths import Paths


def paths(tmp_path: Path, *containers: str) -> Paths:
    made = Paths(root=str(tmp_path), run=str(tmp_path / "run"))
    for id in containers:
        os.makedirs(made.container(id))
    return made


def test_a_name_belongs_to_the_first_who_asks(tmp_path: Path) -> None:
    here = paths(tmp_path, "aa", "bb")
    names.claim(here, "web", "aa")
    names.claim(here, "web", "aa")
    with pytest.raises(errors.Conflict, match="'web' belongs to container 'aa'"):
        names.claim(here, "web", "bb")
    names.release(here, "web", "bb")
    with pytest.raises(errors.Conflict):
        names.claim(here, "web", "bb")
    names.release(here, "web", "aa")
    names.claim(here, "web", "bb")
    assert os.readlink(f"{here.names}/web") == "bb"


def test_a_name_whose_container_vanished_is_free(tmp_path: Path) -> None:
    here = paths(tmp_path, "bb")
    names.claim(here, "web", "aa")
    names.claim(here, "web", "bb")
    assert os.readlink(f"{here.names}/web") == "bb"


def test_only_one_of_many_gets_a_name(tmp_path: Path) -> None:
    ids = [f"{number:02x}" for number in range(16)]
    here = paths(tmp_path, *ids)
    won: list[str] = []
    barrier = threading.Barrier(len(ids))

    def ask(id: str) -> None:
        barrier.wait()
        try:
            names.claim(here, "web", id)
        except errors.Conflict:
            return
        won.append(id)

    threads = [threading.Thread(target=ask, args=(id,)) for id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_made_up_names_are_valid_and_rarely_the_same() -> None:
    drawn = [names.random() for _ in range(200)]
    assert len(set(drawn)) > 180
    assert len({names.random(9) for _ in range(200)}) == 200
    for name in drawn:
        names.check(name)


@pytest.mark.parametrize("bad", ["", "a", "-ab", "a b", "a/b", "..", "_x", "ä1", "a\n", "x" * 300])
def test_bad_names_are_refused(bad: str) -> None:
    with pytest.raises(errors.UsageError):
        names.check(bad)


@pytest.mark.parametrize(
    ("text", "number"),
    [("KILL", 9), ("SIGTERM", 15), ("sighup", 1), ("9", 9), (2, 2), ("RTMIN+3", 37), ("SIGRTMAX-1", 63), ("CLD", 17)],
)
def test_signals(text: str | int, number: int) -> None:
    assert signals.number(text) == number


def test_every_signal_of_this_host_has_its_number_and_name() -> None:
    for known in signal.Signals:
        assert signals.number(known.name) == known.value
    assert signals.name(9) == "SIGKILL" and signals.name(15) == "SIGTERM" and signals.name(36) == "SIGRTMIN+2"


@pytest.mark.parametrize("bad", ["", "0", "65", "SIGNOPE", "-9", "RTMIN+99"])
def test_unknown_signals_are_refused(bad: str) -> None:
    with pytest.raises(errors.UsageError, match="unknown signal"):
        signals.number(bad)


def test_a_near_signal_is_suggested() -> None:
    with pytest.raises(errors.UsageError) as caught:
        signals.number("SIGTREM")
    assert "SIGTERM" in caught.value.hint
