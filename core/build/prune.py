"""What builds keep for later builds, given back: records of steps with their layers, and cache mounts nobody has."""

from __future__ import annotations

import os
import time

from pyctr.core.build.cache import Cache
from pyctr.core.fsutil import Lock, remove_tree
from pyctr.core.images import garbage
from pyctr.core.storage import disk_usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.engine import Engine


class Kept:
    """What a prune would remove: `steps` (keys of records), `mounts` (directories of cache mounts)."""

    def __init__(self, engine: Engine, before: float = 0.0) -> None:
        """Only what was last used before that time (seconds since the epoch); 0: everything."""
        self._engine = engine
        limit = before or time.time() + 1
        self._cache = Cache(engine.paths, engine.images)
        self.steps = self._cache.keys(limit)
        self.mounts = _mounts(f"{engine.paths.build}/mounts", limit)

    def remove(self) -> int:
        """Remove it; bytes that were freed. What a build at work has mounted stays."""
        images = self._engine.images
        freed = sum(_remove(path) for path in self.mounts)
        before = garbage.survey(images).size
        self._cache.forget(self.steps)
        freed += max(0, garbage.survey(images).size - before)
        images.collect()
        return freed


def _mounts(parent: str, limit: float) -> list[str]:
    try:
        names = [f"{parent}/{id}/{name}" for id in os.listdir(parent) for name in os.listdir(f"{parent}/{id}")]
    except FileNotFoundError:
        return []
    locks = sorted(name for name in names if name.endswith(".lock"))
    return [lock.removesuffix(".lock") for lock in locks if os.stat(lock).st_mtime < limit]


def _remove(path: str) -> int:
    lock = Lock(f"{path}.lock")
    try:
        if not lock.try_acquire():
            return 0  # a build has it
    except FileNotFoundError:
        return 0  # another prune was faster
    try:
        size = disk_usage(path)
        remove_tree(path)
        os.unlink(lock.path)
        return size
    finally:
        lock.release()
