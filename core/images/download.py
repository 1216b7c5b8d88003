"""One blob on its way from a registry into the store: streamed, hashed, resumed where it was cut.

    .ingest/<hex>.part    the bytes so far, under the flock of whoever downloads it

The bytes are hashed as they arrive. What a cut or a cancelled download leaves is taken up again by the next one,
whoever that is; its bytes are hashed again first. Only `publish` gives the blob its name, after its caller has brought
it to disk.
"""

from __future__ import annotations

import os
import threading
from hashlib import sha256

from pyctr.core.errors import NetworkError, StorageError
from pyctr.core.fsutil import Lock, make_private_directory
from pyctr.core.images.blobs import PARTIAL, Blobs
from pyctr.core.images.registry import ATTEMPTS, Answer, Registry
from pyctr.core.images.transport import Cancelled, Unreachable, unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from urllib3 import BaseHTTPResponse

_PIECE = 1 << 18
_WORTH_KEEPING = 1 << 20
"""Bytes below which a cut download is not worth a file."""


class Damaged(StorageError):
    """The bytes that came are not what the digest promises."""


class Partial:
    """The file of a download, held by its lock from `acquire` to `close`. One thread writes; others may read."""

    def __init__(self, blobs: Blobs, digest: str, size: int) -> None:
        make_private_directory(blobs.directory)
        make_private_directory(blobs.ingest)
        self.target = blobs.path(digest)
        self.path = f"{blobs.ingest}/{digest[7:]}{PARTIAL}"
        self.digest = digest
        self.size = size
        self.have = 0
        self.complete = False
        self.restarts = 0
        self.failure: BaseException | None = None
        self._grown = threading.Condition()
        self._hash = sha256()
        self._lock = Lock(self.path)

    def acquire(self) -> bool:
        """False while another download of this blob runs."""
        return self._lock.try_acquire()

    def load(self) -> None:
        """Take over what an earlier download left."""
        found = os.fstat(self._lock.fd).st_size
        if found > self.size:
            self.restart()
            return
        at = 0
        while at < found and (piece := os.pread(self._lock.fd, 1 << 20, at)):
            self._hash.update(piece)
            at += len(piece)
        self._advance(at)

    def restart(self) -> None:
        """From nothing. Whoever read before is told: what it got may have been wrong."""
        with self._grown:
            os.ftruncate(self._lock.fd, 0)
            self._hash = sha256()
            self.have = 0
            self.restarts += 1
            self._grown.notify_all()

    def write(self, piece: bytes) -> None:
        self._hash.update(piece)
        view, at = memoryview(piece), self.have
        while view:
            written = os.pwrite(self._lock.fd, view, at)
            view, at = view[written:], at + written
        self._advance(at)

    def finish(self) -> None:
        """All bytes are here: check them. Raises Damaged."""
        found = f"sha256:{self._hash.hexdigest()}"
        if found != self.digest:
            raise Damaged(
                f"blob '{self.digest[:19]}…' came as '{found[:19]}…'", hint="it was damaged on its way, or is a forgery"
            )
        with self._grown:
            self.complete = True
            self._grown.notify_all()

    def fail(self, error: BaseException) -> None:
        """Let readers go."""
        with self._grown:
            self.failure = self.failure or error
            self._grown.notify_all()

    def read(self, count: int, at: int, restarts: int = -1) -> bytes:
        """Bytes that are here, waiting for them; b"" only after the digest was found right.

        Raises Cancelled, and Restarted when the download began anew since `restarts` was looked at.
        """
        with self._grown:
            while self.have <= at and not self.complete and self.failure is None and restarts in (-1, self.restarts):
                self._grown.wait()
            if self.failure is not None:
                raise Cancelled
            if restarts not in (-1, self.restarts):
                raise Restarted
            available = self.have - at
        return os.pread(self._lock.fd, min(count, available), at) if available > 0 else b""

    def publish(self) -> None:
        """Give the blob its name; its bytes are on disk."""
        os.rename(self.path, self.target)

    def close(self) -> None:
        """Let go; what is not worth resuming is removed."""
        if self._lock.fd < 0:
            return
        try:
            broken = isinstance(self.failure, StorageError)  # or the disk is full: then it makes room
            if broken or (not self.complete and self.have < _WORTH_KEEPING):
                os.unlink(self.path)
        except FileNotFoundError:
            pass  # published under another name meanwhile
        self._lock.release()

    def _advance(self, have: int) -> None:
        with self._grown:
            self.have = have
            self._grown.notify_all()


class Restarted(Exception):
    """A download began anew: what was read of it does not count."""


class Reader:
    """A partial as a file to unpack from while it grows. Who reads to the end has read what `digest` says."""

    def __init__(self, partial: Partial) -> None:
        self._partial = partial
        self._restarts = partial.restarts
        self._at = 0
        self.digest = partial.digest
        self.size = partial.size

    def read(self, count: int) -> bytes:
        piece = self._partial.read(count, self._at, self._restarts)
        self._at += len(piece)
        return piece


def fetch(
    registry: Registry, partial: Partial, progress: Callable[[int], None], resumed: Callable[[int], None]
) -> None:
    """Download the rest of a blob, again and again where it was cut.

    `progress` hears bytes here so far, `resumed` where a cut download goes on. Raises Damaged, StorageError (longer
    than its manifest says, disk full), NetworkError, Cancelled.
    """
    partial.load()
    inherited = partial.have > 0
    failures = 0
    while True:
        before = partial.have
        try:
            if partial.have < partial.size:
                if partial.have:
                    resumed(partial.have)
                _receive(registry, partial, progress)
            partial.finish()
            return
        except Damaged:
            if not inherited:
                raise
            # the bytes of an earlier download may be what is wrong
            inherited = False
            partial.restart()
        except (Unreachable, Cut):
            failures = 0 if partial.have - before >= _WORTH_KEEPING else failures + 1
            if failures >= ATTEMPTS:
                raise
            registry.transport.cancel.wait(0.1 * 2**failures)


class Cut(NetworkError):
    """The connection ended before the blob did."""


def _receive(registry: Registry, partial: Partial, progress: Callable[[int], None]) -> None:
    import urllib3

    try:
        response = registry.blob(partial.digest, partial.have)
    except Answer as answer:
        if answer.status == 416 and partial.have:
            partial.restart()
            response = registry.blob(partial.digest)
        else:
            raise
    cancel = registry.transport.cancel
    cancel.watch(response)
    try:
        _align(response, partial)
        while piece := response.read(_PIECE):
            if partial.have + len(piece) > partial.size:
                raise StorageError(
                    f"blob '{partial.digest[:19]}…' is longer than the {partial.size} bytes its manifest says",
                    hint="the image is broken or hostile",
                )
            partial.write(piece)
            progress(partial.have)
            cancel.check()
    except (urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
        cancel.check()
        if isinstance(error, urllib3.exceptions.IncompleteRead):
            raise Cut(_cut(registry, partial)) from None
        raise unreachable(registry.host, error) from None
    finally:
        cancel.forget(response)
        if partial.have == partial.size:
            response.release_conn()
        else:
            response.close()
    cancel.check()
    if partial.have < partial.size:
        raise Cut(_cut(registry, partial))


def _align(response: BaseHTTPResponse, partial: Partial) -> None:
    """The answer must begin where we stopped; a registry without ranges begins anew."""
    if response.status == 206:
        unit, _, span = response.headers.get("Content-Range", "").partition(" ")
        if unit == "bytes" and span.partition("-")[0] == str(partial.have):
            return
        raise NetworkError("the registry answers another range than it was asked for")
    if partial.have:
        partial.restart()


def _cut(registry: Registry, partial: Partial) -> str:
    return f"'{registry.host}' sent {partial.have} of {partial.size} bytes of blob '{partial.digest[:19]}…'"
