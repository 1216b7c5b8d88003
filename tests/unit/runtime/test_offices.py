"""One process of a host holds an office: there are never two of them."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from pyctr.core.runtime import offices


def test_a_file_that_was_removed_meanwhile_is_nobodys_office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "office")
    lock, opened = fcntl.flock, []

    def late(fd: int, operation: int) -> None:
        if not opened:
            os.unlink(path)  # its holder goes, between our open(2) and our flock(2)
        opened.append(fd)
        lock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    first = offices.take(path)
    assert first >= 0 and offices.take(path) == -1, "there would be two of them"
    assert os.path.samestat(os.fstat(first), os.stat(path))
    os.close(first)


def test_one_that_is_held_is_not_abolished_and_who_has_lost_it_notices(tmp_path: Path) -> None:
    path = str(tmp_path / "office")
    lock = offices.take(path)
    offices.abolish(path)
    assert offices.holds(lock, path) and offices.take(path) == -1
    os.unlink(path)
    assert not offices.holds(lock, path)
    other = offices.take(path)
    assert not offices.holds(lock, path) and offices.holds(other, path)
    os.close(lock)
    os.close(other)
    offices.abolish(path)
    offices.abolish(path)
    assert not os.path.exists(path)
