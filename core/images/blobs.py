"""Content-addressed blobs of an OCI image layout: blobs/sha256/<hex>, written whole or not at all."""

from __future__ import annotations

import os

from pyctr.core.errors import StorageError
from pyctr.core.fsutil import Lock, make_private_directory, sync_directory
from pyctr.core.images.reference import is_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import BinaryIO

PARTIAL = ".part"
"""Ending of a download that was cut; it is named by its digest (see `download`)."""
KEEP = 24 * 3600
"""Seconds that such a file waits for the pull to be repeated."""


class Blobs:
    """The blobs below one image layout. Half-written ones live in `.ingest`, each under its writer's flock."""

    def __init__(self, layout: str) -> None:
        self.layout = layout
        self.directory = f"{layout}/blobs/sha256"
        self.ingest = f"{layout}/.ingest"

    def path(self, digest: str) -> str:
        """Where the blob is or would be. Raises StorageError for what is no digest (foreign files may say anything)."""
        if not is_digest(digest):
            raise StorageError(f"'{digest}' is not a sha256 digest")
        return f"{self.directory}/{digest[7:]}"

    def has(self, digest: str) -> bool:
        return os.path.exists(self.path(digest))

    def read(self, digest: str, limit: int = 64 << 20) -> bytes:
        """A whole small blob (manifest, configuration). Raises StorageError when it is missing or too big."""
        try:
            with open(self.path(digest), "rb") as file:
                content = file.read(limit + 1)
        except FileNotFoundError:
            raise StorageError(f"blob '{digest}' is missing", hint="remove the image and get it again") from None
        if len(content) > limit:
            raise StorageError(f"blob '{digest}' is too big for a manifest")
        return content

    def open(self, digest: str) -> BinaryIO:
        """The blob for streaming. Raises StorageError when it is missing."""
        try:
            return open(self.path(digest), "rb", buffering=0)
        except FileNotFoundError:
            raise StorageError(f"blob '{digest}' is missing", hint="remove the image and get it again") from None

    def add(self, content: bytes) -> str:
        """Store bytes, return their digest."""
        with self.writer() as writer:
            writer.write(content)
            return writer.commit()

    def writer(self) -> Writer:
        """A blob to be written in pieces and committed."""
        make_private_directory(self.directory)
        make_private_directory(self.ingest)
        self.sweep()
        return Writer(self)

    def sweep(self) -> None:
        """Remove what writers that died left behind."""
        try:
            names = os.listdir(self.ingest)
        except FileNotFoundError:
            return
        for name in names:
            leftover = f"{self.ingest}/{name}"
            if name.endswith(PARTIAL) and not self._stale(leftover):
                continue  # a later pull goes on where it ended
            lock = Lock(leftover)
            try:
                if os.path.exists(leftover) and lock.try_acquire():
                    os.unlink(leftover)
            except FileNotFoundError:
                pass  # its writer committed it just now
            finally:
                lock.release()

    @staticmethod
    def _stale(path: str) -> bool:
        import time

        try:
            return os.stat(path).st_mtime < time.time() - KEEP
        except FileNotFoundError:
            return False


class Writer:
    """One blob being written. Without `commit` nothing of it stays."""

    serial = 0

    def __init__(self, blobs: Blobs) -> None:
        from hashlib import sha256

        Writer.serial += 1
        self.blobs = blobs
        self.size = 0
        self.fresh = False
        """What lies under the name is what was written here, not what lay there before."""
        self._hash = sha256()
        self._temporary = f"{blobs.ingest}/{os.getpid()}.{Writer.serial}"
        self._lock = Lock(self._temporary)
        self._lock.__enter__()

    def write(self, data: bytes | memoryview) -> int:
        self._hash.update(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._lock.fd, view) :]
        self.size += len(data)
        return len(data)

    def commit(self, expected: str = "") -> str:
        """Give the blob its name. Raises StorageError when its digest is not the `expected` one."""
        digest = f"sha256:{self._hash.hexdigest()}"
        if expected and digest != expected:
            raise StorageError(f"blob has digest '{digest}', not '{expected}'", hint="it was damaged on its way")
        target = self.blobs.path(digest)
        if not os.path.exists(target):
            os.fsync(self._lock.fd)
            os.rename(self._temporary, target)
            self.fresh = True
            sync_directory(self.blobs.directory)
        return digest

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            os.unlink(self._temporary)
        except FileNotFoundError:
            pass  # committed
        self._lock.release()
