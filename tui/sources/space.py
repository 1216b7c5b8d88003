"""What our images, containers and volumes take on the disk, and what is left there."""

from __future__ import annotations

import os
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.engine import Engine
    from pyctr.tui.sources import Seen

_NAMES = {
    "image": "images",
    "container": "writable layers",
    "volume": "volumes",
    "cache": "build cache",
    "leftover": "leftovers",
}


class Kind(NamedTuple):
    name: str
    number: int
    used: int
    """How many of them something uses."""
    size: int
    free: int
    """Bytes that removing the unused ones would give back."""


class Space(NamedTuple):
    place: str
    """The directory all of it is in."""
    total: int | None = None
    available: int | None = None
    kinds: tuple[Kind, ...] = ()


def collect(engine: Engine, seen: Seen, before: object) -> object:
    from pyctr.core import usage

    root = engine.paths.root
    if not os.path.isdir(root):
        return Space(root)
    recorded = engine.recorded
    if recorded is not None:
        disk = recorded.disk()
    else:
        there = os.statvfs(root)
        disk = there.f_blocks * there.f_frsize, there.f_bavail * there.f_frsize
    kinds = []
    found: list[usage.Used] = []
    for told in recorded.survey() if recorded is not None else usage.survey(engine):
        if isinstance(told, usage.Used):
            found.append(told)
            continue
        if found or told.kind not in (usage.CACHE, usage.LEFTOVER):
            size, free = sum(one.counted for one in found), sum(one.free for one in found)
            kinds.append(Kind(_NAMES[told.kind], len(found), sum(one.active for one in found), size, free))
        found = []
    place = recorded.shown(root) if recorded is not None else root
    total, available = disk or (None, None)
    return Space(place, total, available, tuple(kinds))
