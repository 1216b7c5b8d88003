"""How much containers have written, and how fast it grows: their writable layers and logs, measured in small steps.

A layer is walked, because nobody counts it, so one look has a bound; what is larger than that is not judged.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from pyctr.core import closelook
from pyctr.core.cgroupstats import Sample
from pyctr.core.engines.model import Foreign
from pyctr.core.linux import mountinfo
from pyctr.core.linux.mount import unescape
from pyctr.core.triage import Disk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine

APART = 10.0
"""Seconds between two measurements that may be compared: a burst is no growth."""
KEPT = 120.0
"""Seconds of measurements that growth is told of."""
RECENT, LONGEST = 300.0, 3600.0
"""Seconds of a record that growth is told of; where it has but one look in them, it is compared with an older one."""


class Measured(NamedTuple):
    """One look; bytes on disk."""

    time: float
    """Monotonic, seconds."""
    layer: int
    log: int
    free: int
    """Left to everybody on the file system of the layer."""
    total: int


class Closer(NamedTuple):
    """What a closer look at a container found."""

    sample: Sample
    """Of which core/closelook and what it has written are filled in."""
    growth: float | None
    """Of layer and log together, bytes per second, from the second look on."""
    sleeps: dict[closelook.Sleep, float]
    written: tuple[Measured, ...]


def measure(upper: str, log: str, now: float) -> Measured | None:
    """None for a layer that is gone, not ours to look at, or too large for one look."""
    try:
        there = os.statvfs(upper)
        layer = closelook.written(upper)
    except OSError:
        return None
    if layer is None:
        return None
    logged = closelook.logged(log) if log else None
    return Measured(now, layer, logged or 0, there.f_bavail * there.f_frsize, there.f_blocks * there.f_frsize)


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


def recorded(path: str, now: float) -> tuple[Measured, ...]:
    """What a container's ring (`ring`) knows of the last minutes; `now` in seconds since the epoch. Raises OSError.

    The recorder looks at a layer every twenty seconds, or less often where there are many.
    """
    from pyctr.core import ring

    looks: list[Measured] = []
    for window in (RECENT, LONGEST):
        looks = [
            Measured(one.time, one.sample.layer, one.sample.log or 0, 0, 0)
            for one in ring.read(path, now - window, now)
            if one.sample.layer is not None
        ]
        if len(looks) > 1:
            break
    return tuple(looks if window == RECENT else looks[-2:])


def closer(engine: Engine, container: Container | Foreign, before: Closer | None) -> Closer:
    """One living container looked at closely, for who has it in view. Raises OSError, PyctrError when it is gone."""
    sample, now = Sample(), engine.monotonic()
    if isinstance(container, Foreign):
        upper, log, group = upper_of(container.pid, engine.paths.proc), container.log.path, container.group
    else:
        upper, log, group = container.path("upper"), container.path("log", "ctr.log"), container.state.group
    pids = engine.group(group).pids()
    sleeps = closelook.fill(sample, pids, engine.paths.proc, before.sleeps if before is not None else {}, now)
    looks = before.written if before is not None else ()
    if upper and (one := measure(upper, log, now)) is not None:
        looks = later(looks, one)
        sample.layer = one.layer
    sample.log = closelook.logged(log) if log else None
    found = disk(looks) if sample.layer is not None else None
    return Closer(sample, found.growth if found is not None else None, sleeps, looks)


def later(measured: Sequence[Measured], one: Measured) -> tuple[Measured, ...]:
    """With one more, and without what is too old to be compared with it."""
    return (*(old for old in measured if one.time - old.time <= KEPT), one)
