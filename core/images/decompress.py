"""A layer blob as a stream of plain tar bytes with both digests; inflating and hashing run in threads of their own.

zlib and sha256 let the interpreter lock go, so both overlap with each other and with the writing of files.

A few kilobytes can be made to inflate to as many gigabytes. Whatever comes of them is produced in small pieces, so that
it takes no memory, and what grows out of all proportion is refused before it fills the disk.
"""

from __future__ import annotations

import os
import queue
import stat
import threading
import zlib
from collections.abc import Iterator
from hashlib import sha256

from pyctr.core.errors import StorageError, Unsupported, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.images.layers import Source

ENVIRONMENT = "PYCTR_LAYER_EXPANSION"
EXPANSION = 200
"""How many times its packed size something may be. Layers are 2 to 5 times, gzip can do 1,030, zstd 16,000."""
FREE = 256 << 20
"""Bytes that are never too many: an empty database of that size is no attack."""
_PIECE = 1 << 16
_MOST = 1 << 20
"""Bytes inflated at once."""
_AHEAD = 16


def allowed(packed: int) -> int:
    """Bytes that may come of so many. Raises UsageError for a setting that is no number."""
    text = os.environ.get(ENVIRONMENT, "")
    try:
        times = int(text or EXPANSION)
    except ValueError:
        times = 0
    if times < 1:
        raise UsageError(f"{ENVIRONMENT} is '{text}'", hint=f"how many times its packed size, {EXPANSION} by default")
    return max(FREE, times * packed)


class Plain:
    """Iterate over it once, completely; then `digest` is the blob's, `diff_id` that of the plain tar stream.

    A blob whose `digest` is known for sure, or a source that vouches for its own bytes, is not hashed a second time;
    with `hashed` false nothing is.
    """

    def __init__(self, blob: Source, *, digest: str = "", hashed: bool = True) -> None:
        self._blob = blob
        self._hashed = hashed
        self._vouched: str = digest or getattr(blob, "digest", "")
        self._outer = sha256()
        self._inner = sha256()
        self._compressed = True
        self._queue: queue.Queue[bytes | BaseException | None] = queue.Queue(_AHEAD)
        self._unhashed: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self._stop = False
        self._size = size_of(blob)
        self._packed = self._plain = 0

    @property
    def digest(self) -> str:
        return self._vouched or f"sha256:{self._outer.hexdigest()}"

    @property
    def diff_id(self) -> str:
        return f"sha256:{self._inner.hexdigest()}" if self._compressed else self.digest

    def __iter__(self) -> Iterator[bytes]:
        workers = [
            threading.Thread(target=self._produce, name="inflate", daemon=True),
            threading.Thread(target=self._hash, name="hash", daemon=True),
        ]
        for worker in workers:
            worker.start()
        ended = False
        try:
            while True:
                piece = self._queue.get()
                ended = not isinstance(piece, bytes)
                if piece is None:
                    workers[1].join()  # before `_stop`, which would end it in the middle
                    break
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        finally:
            self._stop = True
            while not ended:  # the worker may wait for room; its last word is None or an error
                ended = not isinstance(self._queue.get(), bytes)
            for worker in workers:
                worker.join()

    def _hash(self) -> None:
        while (piece := self._unhashed.get()) is not None:
            if not self._stop:
                self._inner.update(piece)

    def _produce(self) -> None:
        try:
            first = self._read()
            inflate: Any
            if first[:2] == b"\x1f\x8b":
                inflate = _Gzip()
            elif first[:4] == b"\x28\xb5\x2f\xfd":
                inflate = _zstd()
            else:
                inflate = None
                self._compressed = False
            piece = first
            while piece and not self._stop:
                if inflate:
                    self._spread(inflate.feed(piece))
                else:
                    self._queue.put(piece)
                piece = self._read()
            if inflate and not self._stop:
                inflate.finish()
            self._queue.put(None)
        except BaseException as error:
            self._queue.put(error)
        finally:
            self._unhashed.put(None)

    def _spread(self, pieces: Iterator[bytes]) -> None:
        for out in pieces:
            if self._stop:
                break
            self._check(len(out))
            if self._hashed:
                self._unhashed.put(out)
            self._queue.put(out)

    def _read(self) -> bytes:
        piece = self._blob.read(_PIECE)
        self._packed += len(piece)
        if self._hashed and not self._vouched:
            self._outer.update(piece)
        return piece

    def _check(self, more: int) -> None:
        self._plain += more
        if self._plain > FREE and self._plain > allowed(max(self._packed, self._size)):
            raise too_much(max(self._packed, self._size), self._plain - more)


def too_much(packed: int, plain: int) -> StorageError:
    """Of data that is more than `allowed`."""
    return StorageError(
        f"packed data of {packed} bytes unpacks to more than {plain}",
        hint=f"it may be made to fill the disk; if you trust it, {ENVIRONMENT}=2000 allows 2000 times its size",
    )


def size_of(blob: Source) -> int:
    """Of all that is going to be read, 0 where nobody knows."""
    size: int = getattr(blob, "size", 0)
    if not size and hasattr(blob, "fileno"):
        try:
            found = os.fstat(blob.fileno())
        except OSError:
            return 0  # in memory: it has the method, and says so
        size = found.st_size if stat.S_ISREG(found.st_mode) else 0
    return size


class _Gzip:
    """RFC 1952, several members one after the other, zero padding after the last."""

    def __init__(self) -> None:
        self._module = _zlib()
        self._member = self._module.decompressobj(wbits=31)
        self._whole = False

    def feed(self, piece: bytes) -> Iterator[bytes]:
        more = bool(piece)
        while more:
            if self._whole:
                piece = piece.lstrip(b"\0")
                if not piece:
                    break
                self._member = self._module.decompressobj(wbits=31)
                self._whole = False
            try:
                out = self._member.decompress(piece, _MOST)
            except (zlib.error, self._module.error) as error:
                raise StorageError(f"a layer is damaged: {error}", hint="get the image again") from None
            if out:
                yield out
            self._whole = self._member.eof
            piece = self._member.unused_data if self._whole else self._member.unconsumed_tail
            # after a full piece there may be something inside that needs no further input
            more = bool(piece) or (not self._whole and len(out) == _MOST)

    def finish(self) -> None:
        if not self._whole:
            raise StorageError("a layer is cut short", hint="get the image again")


def _zlib() -> Any:
    """isal inflates twice as fast as zlib; the interpreter's own where it is not installed."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib
    return isal_zlib


class _Zstd:
    def __init__(self, module: Any) -> None:
        self._module = module
        self._frame = module.ZstdDecompressor()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        more = bool(piece)
        while more:
            if self._frame.eof:
                self._frame = self._module.ZstdDecompressor()
            try:
                out = self._frame.decompress(piece, _MOST)
            except self._module.ZstdError as error:
                raise StorageError(f"a layer is damaged: {error}", hint="get the image again") from None
            if out:
                yield out
            # it keeps what it has not come to yet
            piece = self._frame.unused_data if self._frame.eof else b""
            more = bool(piece) if self._frame.eof else not self._frame.needs_input

    def finish(self) -> None:
        if not self._frame.eof:
            raise StorageError("a layer is cut short", hint="get the image again")


def _zstd() -> _Zstd:
    return _Zstd(zstd_module())


def zstd_module() -> Any:
    """Python 3.14 has zstd; before, the package backports.zstd gives the same module. Raises Unsupported."""
    from importlib import import_module

    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name)
        except ImportError:
            continue
    raise Unsupported("this is compressed with zstd, which this Python cannot read", hint="pip install backports.zstd")
