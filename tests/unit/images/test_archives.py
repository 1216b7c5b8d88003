"""Packed archives of `cp -` and ADD: every compression comes out whole, and none of them fills memory or disk."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Callable

import pytest

from pyctr.core.errors import StorageError
from pyctr.core.files import archives
from pyctr.core.images import decompress

PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("way", PACKERS)
def test_what_was_packed_comes_out_in_small_pieces(way: str) -> None:
    content = os.urandom(300_000) + bytes(5 << 20) + b"end"
    pack = PACKERS[way]
    # two streams, one after the other, and padding
    packed = pack(content[:1_000_000]) + pack(content[1_000_000:]) + bytes(512)
    pieces = list(archives.plain(io.BytesIO(packed)))
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= 1 << 20
    for cut in (len(packed) - 600, 200):
        with pytest.raises(StorageError, match="cut short"):
            list(archives.plain(io.BytesIO(packed[:cut])))


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    free = 8 << 20
    for module in (archives, decompress):
        monkeypatch.setattr(module, "FREE", free)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    one = packer.compress(bytes(free // 2)) + packer.flush()
    total = 0
    with pytest.raises(StorageError, match="unpacks to more than"):
        for piece in archives.plain(io.BytesIO(one * 8)):
            total += len(piece)
    assert 0 < total <= free
