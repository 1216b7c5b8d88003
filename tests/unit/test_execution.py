"""Detach keys are found however they are typed, and nothing typed is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyctr.core import errors
from pyctr.core.execution import DETACH_KEYS, Keys, detach_keys


def typed(pieces: list[bytes], sequence: bytes = DETACH_KEYS) -> tuple[bytes, bool]:
    keys, out = Keys(sequence), b""
    for piece in pieces:
        data, done = keys.feed(piece)
        out += data
        if done:
            return out, True
    return out, False


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b"ls\r"], (b"ls\r", False)),
        ([b"ls\x10\x11rest"], (b"ls", True)),
        ([b"a\x10", b"\x11"], (b"a", True)),
        ([b"\x10x"], (b"\x10x", False)),
        ([b"\x10", b"\x10", b"\x11"], (b"\x10", True)),
        ([b"\x11\x10"], (b"\x11", False)),
    ],
)
def test_sequences(pieces: list[bytes], expected: tuple[bytes, bool]) -> None:
    assert typed(pieces) == expected


@given(st.lists(st.sampled_from([b"a", b"\x10", b"b\x10", b"\x10\x10", b"c"]), max_size=12))
def test_without_the_whole_sequence_everything_arrives(pieces: list[bytes]) -> None:
    out, done = typed([*pieces, b"z"])
    assert not done and out == b"".join(pieces) + b"z"


def test_no_keys_no_detaching() -> None:
    assert typed([b"\x10\x11"], b"") == (b"\x10\x11", False)


@pytest.mark.parametrize(
    ("text", "keys"), [("ctrl-p,ctrl-q", b"\x10\x11"), ("ctrl-@,a", b"\x00a"), ("", b""), ("ctrl-[", b"\x1b")]
)
def test_notation(text: str, keys: bytes) -> None:
    assert detach_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-pq", "ab", "a,,b", "ctrl-1"])
def test_bad_notation(text: str) -> None:
    with pytest.raises(errors.UsageError, match="bad detach key"):
        detach_keys(text)
