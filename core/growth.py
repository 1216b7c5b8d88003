"""How much containers have written, and how fast it grows: their writable layers and logs, measured in small steps.

A layer is walked, because nobody counts it, so one look has a bound; what is larger than that is not judged.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from pyctr.core.linux import mountinfo
from pyctr.core.linux.mount import unescape
from pyctr.core.triage import Disk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

ENTRIES = 20_000
"""Files and directories of one look, some 30 ms."""
APART = 10.0
"""Seconds between two measurements that may be compared: a burst is no growth."""
KEPT = 120.0
"""Seconds of measurements that growth is told of."""


class Measured(NamedTuple):
    """One look; bytes on disk."""

    time: float
    """Monotonic, seconds."""
    layer: int
    log: int
    free: int
    """Left to everybody on the file system of the layer."""
    total: int


def measure(upper: str, log: str, now: float) -> Measured | None:
    """None for a layer that is gone, not ours to look at, or too large for one look."""
    try:
        there = os.statvfs(upper)
        layer = _walk(upper)
    except OSError:
        return None
    if layer is None:
        return None
    try:
        logged = os.stat(log).st_blocks * 512 if log else 0
    except OSError:
        logged = 0  # it has none
    return Measured(now, layer, logged, there.f_bavail * there.f_frsize, there.f_blocks * there.f_frsize)


def _walk(top: str) -> int | None:
    size, left, waiting = 0, ENTRIES, [top]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    left -= 1
                    if left < 0:
                        return None
                    try:
                        found = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # the container is at work
                    size += found.st_blocks * 512 // max(1, found.st_nlink)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except FileNotFoundError:
            if not waiting and not size:
                raise
    return size


def upper_of(pid: int, proc: str = "/proc") -> str:
    """The upper directory of a process's root, which is an overlay of any engine's; "" if it is none."""
    try:
        mounts = mountinfo.read(pid, proc)
    except OSError:
        return ""
    for mount in reversed(mounts):
        if mount.target == "/" and mount.fstype == "overlay":
            found = [option[9:] for option in mount.super_options if option.startswith("upperdir=")]
            return unescape(found[0]) if found else ""
    return ""


def disk(measured: Sequence[Measured]) -> Disk | None:
    """What the last of them says, and with an earlier one how fast it grows."""
    if not measured or not measured[-1].total:
        return None
    last = measured[-1]
    before = next((one for one in measured if last.time - one.time >= APART), None)
    growth = None
    if before is not None:
        growth = (last.layer + last.log - before.layer - before.log) / (last.time - before.time)
    return Disk(last.layer, last.log, last.free, last.total, growth)


def later(measured: Sequence[Measured], one: Measured) -> tuple[Measured, ...]:
    """With one more, and without what is too old to be compared with it."""
    return (*(old for old in measured if one.time - old.time <= KEPT), one)
