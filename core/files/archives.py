"""Bytes of a tar archive out of any of the usual compressions, told apart by their first bytes."""

from __future__ import annotations

import zlib

from pyctr.core.errors import StorageError, Unsupported
from pyctr.core.images.decompress import FREE, allowed, size_of, too_much, zstd_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Protocol

    class Readable(Protocol):
        """What an archive is read from."""

        def read(self, count: int, /) -> bytes: ...


_PIECE = 1 << 18
_HEADER = 512
_MOST = 1 << 20


def plain(stream: Readable) -> Iterator[bytes]:
    """The uncompressed archive in pieces. Raises StorageError for damage, Unsupported for a missing module."""
    first = _fill(stream, 6)
    make = _decompressor(first)
    return _pieces(first, stream) if make is None else _inflated(make, stream, _pieces(first, stream))


def is_archive(stream: Readable) -> bool:
    """Does it begin with a tar header, compressed or not? Whatever cannot be read as one is none."""
    try:
        header = b""
        for piece in plain(stream):
            header += piece
            if len(header) >= _HEADER:
                break
    except (StorageError, Unsupported):
        return False
    return _is_header(header[:_HEADER])


def _is_header(header: bytes) -> bool:
    """By its checksum, which tar(5) has had from the beginning; an archive of nothing is two blocks of zeros."""
    if len(header) < _HEADER:
        return False
    if not any(header):
        return True
    try:
        told = int(header[148:156].strip(b" \0") or b"-", 8)
    except ValueError:
        return False
    return told == sum(header) - sum(header[148:156]) + 256


def _fill(stream: Readable, count: int) -> bytes:
    got = b""
    while len(got) < count and (piece := stream.read(count - len(got))):
        got += piece
    return got


def _pieces(first: bytes, stream: Readable) -> Iterator[bytes]:
    if first:
        yield first
    while piece := stream.read(_PIECE):
        yield piece


def _decompressor(first: bytes) -> Callable[[], Any] | None:
    if first[:2] == b"\x1f\x8b":
        return lambda: zlib.decompressobj(wbits=31)
    if first[:3] == b"BZh":
        from bz2 import BZ2Decompressor

        return BZ2Decompressor
    if first[:6] == b"\xfd7zXZ\0":
        from lzma import LZMADecompressor

        return LZMADecompressor
    if first[:4] == b"\x28\xb5\x2f\xfd":
        module = zstd_module()
        return lambda: module.ZstdDecompressor()
    return None


def _inflated(make: Callable[[], Any], stream: Readable, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Several streams one after the other are one; zeros after the last are padding.

    No more comes of it than may come of a layer of that size.
    """
    one = make()
    whole = size_of(stream)
    packed = plain = 0
    for piece in pieces:
        packed += len(piece)
        while piece:
            if one.eof:
                piece = piece.lstrip(b"\0")
                if not piece:
                    break
                one = make()
            for out in _little_by_little(one, piece):
                plain += len(out)
                if plain > FREE and plain > allowed(max(packed, whole)):
                    raise too_much(max(packed, whole), plain - len(out))
                yield out
            piece = one.unused_data if one.eof else b""
    if not one.eof:
        raise StorageError("the archive is cut short", hint="get it again")


def _little_by_little(one: Any, piece: bytes) -> Iterator[bytes]:
    """All that comes of a piece, `_MOST` bytes at once: some compress 16,000 times."""
    gives_back = hasattr(one, "unconsumed_tail")  # zlib does not keep what it has not come to
    while True:
        try:
            out = one.decompress(piece, _MOST)
        except Exception as error:  # each module has its own; none of them means anything else
            raise StorageError(f"the archive is damaged: {error}", hint="get it again") from None
        if out:
            yield out
        piece = one.unconsumed_tail if gives_back else b""
        if one.eof or (one.needs_input if not gives_back else not piece and len(out) < _MOST):
            return
