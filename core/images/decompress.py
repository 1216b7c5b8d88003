"""A layer blob as a stream of plain tar bytes with both digests; the inflating runs in a thread of its own.

zlib and sha256 let the interpreter lock go, so reading and inflating overlap with hashing and writing files.
"""

from __future__ import annotations

import queue
import threading
import zlib
from collections.abc import Iterator
from hashlib import sha256

from pyctr.core.errors import StorageError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.images.layers import Source

_PIECE = 1 << 16
_AHEAD = 16


class Plain:
    """Iterate over it once, completely; then `digest` is the blob's, `diff_id` that of the plain tar stream."""

    def __init__(self, blob: Source) -> None:
        self._blob = blob
        # a source that vouches for its own bytes is not hashed a second time
        self._vouched: str = getattr(blob, "digest", "")
        self._outer = sha256()
        self._inner = sha256()
        self._compressed = True
        self._queue: queue.Queue[bytes | BaseException | None] = queue.Queue(_AHEAD)
        self._stop = False

    @property
    def digest(self) -> str:
        return self._vouched or f"sha256:{self._outer.hexdigest()}"

    @property
    def diff_id(self) -> str:
        return f"sha256:{self._inner.hexdigest()}" if self._compressed else self.digest

    def __iter__(self) -> Iterator[bytes]:
        worker = threading.Thread(target=self._produce, name="inflate", daemon=True)
        worker.start()
        ended = False
        try:
            while True:
                piece = self._queue.get()
                ended = not isinstance(piece, bytes)
                if piece is None:
                    break
                if isinstance(piece, BaseException):
                    raise piece
                if self._compressed:
                    self._inner.update(piece)
                yield piece
        finally:
            self._stop = True
            while not ended:  # the worker may wait for room; its last word is None or an error
                ended = not isinstance(self._queue.get(), bytes)
            worker.join()

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
                out = inflate.feed(piece) if inflate else piece
                if out:
                    self._queue.put(out)
                piece = self._read()
            if inflate and not self._stop:
                inflate.finish()
            self._queue.put(None)
        except BaseException as error:
            self._queue.put(error)

    def _read(self) -> bytes:
        piece = self._blob.read(_PIECE)
        if not self._vouched:
            self._outer.update(piece)
        return piece


class _Gzip:
    """RFC 1952, several members one after the other, zero padding after the last."""

    def __init__(self) -> None:
        self._module = _zlib()
        self._member = self._module.decompressobj(wbits=31)
        self._whole = False

    def feed(self, piece: bytes) -> bytes:
        out = []
        while piece:
            if self._whole:
                piece = piece.lstrip(b"\0")
                if not piece:
                    break
                self._member = self._module.decompressobj(wbits=31)
                self._whole = False
            try:
                out.append(self._member.decompress(piece))
            except (zlib.error, self._module.error) as error:
                raise StorageError(f"a layer is damaged: {error}", hint="get the image again") from None
            self._whole = self._member.eof
            piece = self._member.unused_data
        return out[0] if len(out) == 1 else b"".join(out)

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

    def feed(self, piece: bytes) -> bytes:
        out = []
        while piece:
            if self._frame.eof:
                self._frame = self._module.ZstdDecompressor()
            try:
                out.append(self._frame.decompress(piece))
            except self._module.ZstdError as error:
                raise StorageError(f"a layer is damaged: {error}", hint="get the image again") from None
            piece = self._frame.unused_data if self._frame.eof else b""
        return b"".join(out)

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
