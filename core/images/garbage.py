"""What lies in the stores and belongs to nothing: found by looking at what is there, never by counting as things go.

In use is what an image of the index leads to and what a container's record names (`ImageStore.reachable`). The rest is
what killed commands left: blobs without an image, unpacked layers without an image or container, files half written,
downloads that were cut, layers half unpacked or half removed, and the lock files of all of these. Nothing is touched
whose lock somebody holds.
"""

from __future__ import annotations

import os

from pyctr.core.fsutil import Lock, remove_tree
from pyctr.core.images.blobs import PARTIAL
from pyctr.core.images.layers import LayerStore
from pyctr.core.record import Record
from pyctr.core.storage import disk_usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.images.store import ImageStore

    Items = list[tuple[str, int]]


class Garbage(Record):
    """(name, bytes) of everything that belongs to nothing."""

    blobs: Items
    layers: Items
    """Unpacked ones, by diffID."""
    downloads: Items
    """Cut ones; a pull of the same image would go on where they end."""
    halves: Items
    """Paths of what was being written, unpacked or removed when its command was killed."""

    @property
    def size(self) -> int:
        return sum(size for items in (self.blobs, self.layers, self.downloads, self.halves) for _, size in items)

    @property
    def count(self) -> int:
        return len(self.blobs) + len(self.layers) + len(self.downloads) + len(self.halves)


def survey(images: ImageStore) -> Garbage:
    """Look, change nothing. While another pyctr adds an image no blobs and layers are told: they may be its own."""
    layers = LayerStore(images.paths)
    found = Garbage(blobs=[], layers=[], downloads=[], halves=[])
    if os.path.isdir(images.root):
        lock = Lock(f"{images.root}/.gc")
        if lock.try_acquire():
            try:
                _unreachable(images, layers, found)
            finally:
                lock.release()
    ingest = images.blobs.ingest
    for name in _listed(ingest):
        path = f"{ingest}/{name}"
        if _free(path):
            (found.downloads if name.endswith(PARTIAL) else found.halves).append((path, _bytes(path)))
    for name in _listed(layers.root):
        path = f"{layers.root}/{name}"
        if name.endswith(".tmp") and _abandoned(layers, name):
            found.halves.append((path, disk_usage(path)))
        elif name.endswith(".lock") and _free(path):
            found.halves.append((path, 0))
    return found


def sweep(images: ImageStore) -> Garbage:
    """Remove all of it; returns what was there. Raises OSError for what cannot be removed."""
    found = survey(images)
    images.collect()
    for path, _ in (*found.downloads, *found.halves):
        lock = Lock(_lock_of(path))
        if not lock.try_acquire():
            continue  # somebody went on with it meanwhile
        try:
            if path.endswith(".tmp"):
                remove_tree(path)
            _unlink(lock.path)
        finally:
            lock.release()
    LayerStore(images.paths).sweep_links()
    return found


def _unreachable(images: ImageStore, layers: LayerStore, found: Garbage) -> None:
    digests, diff_ids = images.reachable()
    for name in _listed(images.blobs.directory):
        if f"sha256:{name}" not in digests:
            found.blobs.append((f"sha256:{name}", _bytes(f"{images.blobs.directory}/{name}")))
    used = layers.in_use(diff_ids)
    for diff_id in layers.all():
        if diff_id not in used:
            size = layers.info(diff_id).get("size")
            found.layers.append((diff_id, disk_usage(layers.path(diff_id)) if size is None else int(size)))


def _listed(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []


def _lock_of(path: str) -> str:
    """A half of a layer is its lock file's; everything else is locked itself."""
    if not path.endswith(".tmp"):
        return path
    name = os.path.basename(path)[: -len(".tmp")]
    return f"{os.path.dirname(path)}/{name.partition('.')[0]}.lock"


def _free(path: str) -> bool:
    """Does nobody hold the lock on a file that is there?"""
    import fcntl

    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def _abandoned(layers: LayerStore, name: str) -> bool:
    words = name.split(".")
    if len(words) == 3 and words[1].isdecimal():  # mountpoints.PID.tmp
        return not os.path.exists(f"/proc/{words[1]}")
    lock = f"{layers.root}/{words[0]}.lock"
    return not os.path.exists(lock) or _free(lock)


def _bytes(path: str) -> int:
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # its owner did it
