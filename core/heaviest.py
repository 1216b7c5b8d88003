"""Which processes a container had: those that weighed most, every 20 seconds, in a file of fixed size beside its ring.

    <container>/processes      header ─ 20 s x 96 (32 minutes) ─ 10 min x 432 (3 days)          207,368 bytes at most

The closer look (`closelook`) has read what is needed, so a record costs writing it. Half of the KEPT are those that
used the most CPU since the look before, the others those with the most memory; where there are no more, it is all of
them. How a record finds its place: `slots`. A start path module: shims use it.
"""

from __future__ import annotations

import os
import struct

from pyctr.core import slots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyctr.core.linux.procfs import Stat
    from pyctr.core.redo import Redo

FILE = "processes"
"""In the container's directory."""
KEPT = 8
_HEAD = struct.Struct("<IIQHBBI")
"""CRC-32, boot, milliseconds since the epoch, processes that there were, those kept, zombies (255 and more), the
container's first one"""
_ONE = struct.Struct("<IIQQIHB15s")
"""pid, parent, start in ticks after boot, milliseconds of CPU, KiB of memory, threads, state, name"""
FIELDS = ("pid", "parent", "name", "state", "threads", "cpu", "cpu_ms", "memory", "start_time")
"""Of a process, in the order of documents."""
SIZE = _HEAD.size + KEPT * _ONE.size
FORMAT = slots.Format(b"pyctrpro", 1, SIZE, ((20, 96), (600, 432)))
_PATIENCE = 2.5
"""Steps of a tier after which what was seen is of another time."""
_PAGE = os.sysconf("SC_PAGESIZE") // 1024
_TICK = 1000 // os.sysconf("SC_CLK_TCK")


class Process:
    """One of them, as it was then."""

    __slots__ = ("cpu", "cpu_ms", "memory", "name", "parent", "pid", "start_time", "state", "threads")

    def __init__(self, values: Sequence[Any]) -> None:
        pid, parent, start_time, cpu_ms, memory, threads, state, name = values
        self.pid = pid
        """The host's."""
        self.parent = parent
        self.start_time = start_time
        """Ticks after boot; with the pid it tells a process from a later one."""
        self.cpu_ms = cpu_ms
        """Milliseconds of CPU since it began."""
        self.memory = memory * 1024
        """Bytes that are in memory."""
        self.threads = threads
        # a file that somebody sent has any byte there
        self.state = chr(state) if 0x20 < state < 0x7F else "?"
        self.name = name.rstrip(b"\0").decode("utf-8", "replace")
        self.cpu: float | None = None
        """Percent of a core since the look before; None for one that was not kept then."""

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in FIELDS}


class Seen:
    """What one look found. `rows` are in the order of their pids."""

    __slots__ = ("boot", "first", "rows", "time", "total", "zombies")

    def __init__(self, record: bytes) -> None:
        _, self.boot, wall, self.total, count, self.zombies, self.first = _HEAD.unpack_from(record)
        self.time = wall / 1000
        """Seconds since the epoch."""
        kept = [_ONE.unpack_from(record, _HEAD.size + _ONE.size * number) for number in range(min(count, KEPT))]
        self.rows = sorted((Process(values) for values in kept), key=lambda one: one.pid)

    def to_dict(self) -> dict[str, Any]:
        about = {"time": self.time, "total": self.total, "first": self.first, "zombies": self.zombies}
        return {**about, "rows": [one.to_dict() for one in self.rows]}


def choose(found: Sequence[Stat], before: dict[int, int]) -> tuple[list[Stat], dict[int, int]]:
    """Those to keep, and what the next look wants as `before`."""
    if len(found) <= KEPT:
        return list(found), {}
    used = {one.pid: one.utime + one.stime for one in found}
    busiest = sorted(found, key=lambda one: before.get(one.pid, 0) - used[one.pid])[: KEPT // 2]
    there = {one.pid for one in busiest}
    largest = sorted((one for one in found if one.pid not in there), key=lambda one: -one.rss)
    return busiest + largest[: KEPT - len(busiest)], used


def pack(wall: float, boot: int, first: int, kept: Sequence[Stat], total: int, zombies: int = 0) -> bytes:
    head = _HEAD.pack(0, boot & 0xFFFFFFFF, int(wall * 1000), min(total, 0xFFFF), len(kept), min(zombies, 255), first)
    rows = b"".join(
        _ONE.pack(
            one.pid,
            one.ppid,
            one.start_time,
            (one.utime + one.stime) * _TICK,
            min(one.rss * _PAGE, 0xFFFFFFFF),
            min(one.threads, 0xFFFF),
            ord(one.state[:1] or "?") & 0x7F,
            os.fsencode(one.comm)[:15],
        )
        for one in kept
    )
    return slots.checked((head + rows).ljust(SIZE, b"\0"))


class Writer:
    """Puts what was found into one container's file."""

    __slots__ = ("_before", "_file")

    def __init__(self, path: str, redo: Redo | None = None) -> None:
        self._file = slots.Writer(path, FORMAT, redo)
        self._before: dict[int, int] = {}
        """Ticks of CPU by pid, of a container with more than KEPT."""

    def add(self, wall: float, boot: int, first: int, found: Sequence[Stat], total: int, zombies: int = 0) -> None:
        """`total` are there, of which `found` were looked at; `zombies` are children of the first.

        Raises OSError: FileNotFoundError when the container is gone.
        """
        kept, self._before = choose(found, self._before)
        self._file.put(wall, lambda tier: pack(wall, boot, first, kept, total, zombies))


def read(path: str, since: float = 0.0, until: float = float("inf")) -> list[Seen]:
    """What was seen in [since, until], seconds since the epoch, oldest first. Raises OSError."""
    from itertools import pairwise

    found: dict[int, Seen] = {}
    for _, record in slots.read(path, FORMAT, since, until):
        if wall := slots.time_of(record):
            found.setdefault(wall, Seen(record))
    ordered = [found[wall] for wall in sorted(found)]
    for before, after in pairwise(ordered):
        apart = after.time - before.time
        if before.boot != after.boot or apart > _PATIENCE * FORMAT.tiers[-1][0]:
            continue
        known = {(one.pid, one.start_time): one.cpu_ms for one in before.rows}
        for one in after.rows:
            if (was := known.get((one.pid, one.start_time))) is not None and apart > 0:
                one.cpu = max(0, one.cpu_ms - was) / 10 / apart
    return ordered


def at(path: str, moment: float) -> Seen | None:
    """What was seen last by a moment; None where nobody looked shortly before. Raises OSError."""
    for step, _ in FORMAT.tiers:
        reach = _PATIENCE * step
        # a look more than is asked for: from that the CPU of the first one is measured
        found = read(path, moment - reach - 1.5 * step, moment)
        if found and found[-1].time >= moment - reach:
            return found[-1]
    return None
