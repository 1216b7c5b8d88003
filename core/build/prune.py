"""What builds keep for later builds: told with what it frees, and given back.

Records of steps hold their layers; cache mounts are directories. A layer that an image, a container or another record
has as well is nobody's to count: it stays when a record goes.
"""

from __future__ import annotations

import os
import time

from pyctr.core.build.cache import Cache
from pyctr.core.fsutil import Lock, read_json, remove_tree
from pyctr.core.record import Record
from pyctr.core.storage import disk_usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyctr.core.engine import Engine
    from pyctr.core.images.model import Image


class Step(Record):
    """One record of the cache."""

    key: str
    by: str
    """The instruction."""
    size: int
    """Bytes that go with it and the steps told before it."""
    used_at: float


class Kept(Record):
    """What a prune would remove."""

    steps: list[Step]
    mounts: list[tuple[str, int]]
    """(directory, bytes) of cache mounts."""

    @property
    def size(self) -> int:
        return sum(step.size for step in self.steps) + sum(size for _, size in self.mounts)

    @property
    def count(self) -> int:
        return len(self.steps) + len(self.mounts)


def survey(engine: Engine, before: float = 0.0, without: Iterable[Image] = ()) -> Kept:
    """Look, change nothing: what was last used before that time (seconds since the epoch), or all. Images `without`
    are to go, too, and keep no layer any more."""
    limit = before or time.time() + 1
    return Kept(
        steps=steps(engine, limit, {image.digest for image in without}),
        mounts=[(path, disk_usage(path)) for path in mounts(engine, limit)],
    )


def steps(engine: Engine, before: float, without: Iterable[str] = ()) -> list[Step]:
    """Records last used before that time, with the bytes that only they have. `without`: digests of images to go."""
    cache = Cache(engine.paths, engine.images)
    doomed = cache.keys(before)
    told = {
        part
        for image in engine.images.list()
        if image.digest not in without
        for layer in image.layers
        for part in (layer.digest, f"unpacked {layer.diff_id}")
    }
    told |= {f"unpacked {diff_id}" for diff_id in engine.layers.in_use(set())}
    for key in sorted(set(cache.keys(time.time() + 1)) - set(doomed)):
        told |= _parts(engine, f"{cache.directory}/{key}.json")[1].keys()
    found = []
    for key in doomed:
        path = f"{cache.directory}/{key}.json"
        by, parts = _parts(engine, path)
        size = sum(size for part, size in parts.items() if part not in told)
        told |= parts.keys()
        try:
            found.append(Step(key=key, by=by, size=size, used_at=os.stat(path).st_mtime))
        except FileNotFoundError:
            continue  # another prune was faster
    return found


def mounts(engine: Engine, before: float) -> list[str]:
    """Directories of cache mounts last used before that time."""
    parent = f"{engine.paths.build}/mounts"
    try:
        names = [f"{parent}/{id}/{name}" for id in os.listdir(parent) for name in os.listdir(f"{parent}/{id}")]
    except FileNotFoundError:
        return []
    found = []
    for lock in sorted(name for name in names if name.endswith(".lock")):
        try:
            if os.stat(lock).st_mtime < before:
                found.append(lock.removesuffix(".lock"))
        except FileNotFoundError:
            continue  # another prune was faster
    return found


def remove(engine: Engine, kept: Kept) -> int:
    """Remove it; bytes that were freed. What a build at work has mounted stays."""
    freed = sum(size for path, size in kept.mounts if _remove(path))
    Cache(engine.paths, engine.images).forget([step.key for step in kept.steps])
    engine.images.collect()
    return freed + sum(step.size for step in kept.steps)


def _parts(engine: Engine, path: str) -> tuple[str, dict[str, int]]:
    """(instruction, {blob or unpacked layer: bytes}) of a record."""
    try:
        record = read_json(path)
        digest, diff_id = str(record["descriptor"]["digest"]), str(record["diff_id"])
        packed = int(record["descriptor"]["size"]) if engine.images.blobs.has(digest) else 0
        unpacked = int(engine.layers.info(diff_id).get("size") or 0)
        # a layer that is not compressed has one digest for both
        return str(record.get("by") or ""), {digest: packed, f"unpacked {diff_id}": unpacked}
    except (OSError, ValueError, KeyError, TypeError):
        return "", {}  # damaged, or pruned just now: a build does not use it either


def _remove(path: str) -> bool:
    lock = Lock(f"{path}.lock")
    try:
        if not lock.try_acquire():
            return False  # a build has it
    except FileNotFoundError:
        return False  # another prune was faster
    try:
        sweep(path)
        remove_tree(path)
        os.unlink(lock.path)
    finally:
        lock.release()
    return True


def sweep(path: str) -> None:
    """Remove what builds that were killed left of their first filling of a cache mount."""
    parent, name = os.path.split(path)
    for other in os.listdir(parent):
        if (
            other.startswith(f"{name}.")
            and other.endswith(".tmp")
            and not os.path.exists(f"/proc/{other.split('.')[1]}")
        ):
            remove_tree(f"{parent}/{other}")
