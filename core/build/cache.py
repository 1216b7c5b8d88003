"""The build cache: which layer an instruction made out of which files.

    <root>/build/cache/<hex>.json   {"descriptor", "diff_id", "created", "by"}

The file's time is that of its last use. A key is a digest of everything a step's result depends on. The record names
the layer's blob; both stay as long as the record does (`ImageStore.reachable` looks here), whether an image has them or
not.
"""

from __future__ import annotations

import os
from hashlib import sha256

from pyctr.core import jsontext
from pyctr.core.fsutil import make_private_directory, read_json, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.build.state import Layer
    from pyctr.core.images.store import ImageStore
    from pyctr.core.paths import Paths

_FORMAT = 1
"""Part of every key: raised when the same instruction begins to give another result."""


def key(*facts: Any) -> str:
    """64 hex digits of facts that JSON can hold."""
    return sha256(jsontext.dumps([_FORMAT, *facts]).encode()).hexdigest()


class Cache:
    """All records of one pyctr. Safe among several builds: a record is written whole, the last one wins."""

    def __init__(self, paths: Paths, images: ImageStore) -> None:
        self.directory = paths.build_cache
        self.images = images

    def find(self, key: str) -> tuple[Layer, float] | None:
        """The layer of a step done before and when that was; None when there is none, or its blob is gone."""
        path = f"{self.directory}/{key}.json"
        try:
            record = read_json(path)
            descriptor, diff_id = record["descriptor"], str(record["diff_id"])
            created = float(record["created"])
            if not self.images.blobs.has(descriptor["digest"]):
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None  # none, or one that was damaged: the step is done again
        try:
            os.utime(path)
        except FileNotFoundError:
            return None  # pruned just now
        return ({name: descriptor[name] for name in ("mediaType", "digest", "size")}, diff_id), created

    def keys(self, before: float) -> list[str]:
        """Records last used before that time (seconds since the epoch)."""
        try:
            entries = list(os.scandir(self.directory))
        except FileNotFoundError:
            return []
        found = []
        for entry in entries:
            try:
                if entry.name.endswith(".json") and entry.stat().st_mtime < before:
                    found.append(entry.name.removesuffix(".json"))
            except FileNotFoundError:
                continue  # another prune was faster
        return sorted(found)

    def forget(self, keys: list[str]) -> None:
        """Remove records. Their layers go with the next `ImageStore.collect`, if nothing else has them."""
        for key in keys:
            try:
                os.unlink(f"{self.directory}/{key}.json")
            except FileNotFoundError:
                continue  # another prune was faster

    def put(self, key: str, layer: Layer, created: float, by: str) -> None:
        """`created` in seconds since the epoch. The caller holds `ImageStore.adding`: until this is on disk nothing
        else keeps the blob."""
        make_private_directory(self.directory)
        descriptor, diff_id = layer
        record = {"descriptor": descriptor, "diff_id": diff_id, "created": created, "by": by}
        write_json(f"{self.directory}/{key}.json", record)
