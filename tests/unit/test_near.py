"""Hints name the word that was meant."""

from __future__ import annotations

import pytest

from pyctr.cli.main import VERBS
from pyctr.core.near import near, nearest


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("strat", "start"), ("lgos", "logs"), ("kil", "kill"), ("inspct", "inspect"), ("xyzzy", ""), ("", "")],
)
def test_the_verb_that_was_meant(typed: str, meant: str) -> None:
    assert nearest(typed, VERBS) == meant


def test_exchanged_letters_come_first_and_nothing_twice() -> None:
    assert near("bew", ["web", "beer", "web"]) == ["web"]
