"""What was done is taken back, last first, and nothing hides the first error."""

from __future__ import annotations

import pytest

from pyctr.core.undo import Undo


def test_steps_are_undone_in_reverse_upon_failure() -> None:
    done: list[str] = []
    with pytest.raises(KeyError), Undo() as undo:
        undo(done.append, "first")
        undo(done.append, "second")
        raise KeyError
    assert done == ["second", "first"]


def test_nothing_is_undone_upon_success() -> None:
    done: list[str] = []
    with Undo() as undo:
        undo(done.append, "first")
    assert done == []


def test_a_failing_undo_neither_hides_the_error_nor_stops_the_others() -> None:
    done: list[str] = []

    def fail() -> None:
        raise ValueError("busy")

    with pytest.raises(KeyError) as caught, Undo() as undo:
        undo(done.append, "first")
        undo(fail)
        raise KeyError
    assert done == ["first"]
    assert caught.value.__notes__ == ["while undoing: busy"]
