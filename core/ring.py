"""One container's past on disk: a file of fixed size, fine for minutes, coarse for days.

    header ─ 5 s x 192 (16 minutes) ─ 60 s x 768 (12.8 hours) ─ 10 min x 1024 (7.1 days)       500,220 bytes at most

How a record finds its place, and why a writer may die at any moment: `slots`.

Records hold counters, not rates: any two of one incarnation give the exact mean between them, however far apart.
Memory and pids in the two coarse tiers are the highest since the record before; so is what takes a closer look than
every record has (`closelook`), which is in those alone for which somebody looked.

These files are never fsynced: a process that dies loses nothing. What a power cut takes of them, at most what the
kernel had not written out yet, is put back from the one file that is (`redo`).
"""

from __future__ import annotations

import struct

from pyctr.core import slots
from pyctr.core.cgroupstats import Sample

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.redo import Redo

FILE = "history"
"""In the container's directory."""
TIERS = ((5, 192), (60, 768), (600, 1024))
"""(seconds between two records, number of them), finest first."""
_RECORD = struct.Struct("<IIQQIIQQQQIIQQQQQQQQIIIIIIIIIIIQQQQQQQQQ")
SIZE = _RECORD.size
"""Bytes of a record, and of the header."""
FORMAT = slots.Format(b"pyctrhis", 2, SIZE, TIERS)
_SMALL, _LARGE = (1 << 32) - 1, (1 << 64) - 1
"""What stands for a value that was not known."""
_FIELDS: tuple[tuple[str, int], ...] = (
    ("cpu_usage_us", _LARGE),
    ("cpu_user_us", _LARGE),
    ("cpu_system_us", _LARGE),
    ("cpu_throttled_us", _LARGE),
    ("cpu_periods", _SMALL),
    ("cpu_throttled", _SMALL),
    ("memory_current", _LARGE),
    ("memory_working_set", _LARGE),
    ("memory_anon", _LARGE),
    ("memory_limit", _LARGE),
    ("memory_swap", _LARGE),
    ("memory_refaults", _LARGE),
    ("layer", _LARGE),
    ("log", _LARGE),
    ("pids_failures", _SMALL),
    ("processes", _SMALL),
    ("threads", _SMALL),
    ("open_files", _SMALL),
    ("waiting", _SMALL),
)
_PRESSURES = (("cpu", 2), ("memory", 2), ("memory", 3), ("io", 2), ("io", 3))
"""Totals in microseconds: `some` of the processors, `some` and `full` of the others."""
_FRACTIONS = (("stuck", 10), ("load", 100))
"""Small words that follow, and what is 1 in them."""
HIGHEST = (
    "memory_current", "memory_working_set", "memory_anon", "memory_swap", "pids",
    "layer", "log", "processes", "threads", "open_files", "waiting", "stuck",
)  # fmt: skip


class Reading:
    """A record: who was measured when, and what was measured."""

    __slots__ = ("boot", "pid", "sample", "step", "time")

    def __init__(self, time: float, boot: int, pid: int, step: int, sample: Sample) -> None:
        self.time = time
        """Seconds since the epoch. The sample's `monotonic` is CLOCK_BOOTTIME."""
        self.boot = boot
        """Differs between two boots of the host."""
        self.pid = pid
        """The container's first process: another one is another incarnation, whose counters began anew."""
        self.step = step
        """Seconds until the next record of its tier."""
        self.sample = sample


def pack(wall: float, boot: int, pid: int, sample: Sample, highest: dict[str, Any] | None = None) -> bytes:
    """A record of a sample; `highest` are values of HIGHEST to put in place of its own."""
    values = sample.__dict__
    if highest:
        values = {**values, **highest}
    get = values.get
    words = [_word(get(name), unknown) for name, unknown in _FIELDS]
    events: dict[str, int] = get("memory_events") or {}
    psi = get("psi") or {}
    received, sent = _network(get("net"))
    cores = get("cpu_limit")
    body = _RECORD.pack(
        0,
        _small(None if cores is None else round(cores * 1000)),
        int(wall * 1000),
        int(sample.monotonic * 1000),
        boot & _SMALL,
        pid & _SMALL,
        *words,
        *(_small(None if (value := get(name)) is None else round(value * one)) for name, one in _FRACTIONS),
        _small(events.get("oom")),
        _small(events.get("oom_kill")),
        _small(get("pids")),
        _small(get("pids_limit")),
        _large(get("io_read_bytes")),
        _large(get("io_write_bytes")),
        received,
        sent,
        *(_large(psi[name][part] if name in psi else None) for name, part in _PRESSURES),
    )
    return slots.checked(body)


def _word(value: int | None, unknown: int) -> int:
    return unknown if value is None else max(0, min(value, unknown - 1))


def _small(value: int | None) -> int:
    return _word(value, _SMALL)


def _large(value: int | None) -> int:
    return _word(value, _LARGE)


def _network(net: dict[str, Any] | None) -> tuple[int, int]:
    """Bytes received and sent, over all interfaces but lo."""
    if net is None:
        return _LARGE, _LARGE
    others = [counters for name, counters in net.items() if name != "lo"]
    return sum(one[0] for one in others), sum(one[1] for one in others)


def unpack(body: bytes, step: int) -> Reading | None:
    """The record in these bytes; None for an empty slot or what is no whole record."""
    if not slots.time_of(body):
        return None
    _, cores, wall, moment, boot, pid, *words = _RECORD.unpack(body)
    sample = Sample()
    sample.monotonic = moment / 1000
    known = sample.__dict__
    for (name, unknown), word in zip(_FIELDS, words, strict=False):
        if word != unknown:
            known[name] = word
    if cores != _SMALL:
        sample.cpu_limit = cores / 1000
    rest = words[len(_FIELDS) :]
    for name, one in _FRACTIONS:
        if (word := rest.pop(0)) != _SMALL:
            known[name] = word / one
    oom, kills, pids, most, read, written, received, sent, *stalled = rest
    sample.memory_events = {name: word for name, word in (("oom", oom), ("oom_kill", kills)) if word != _SMALL} or None
    sample.pids = pids if pids != _SMALL else None
    sample.pids_limit = most if most != _SMALL else None
    if read != _LARGE and written != _LARGE:
        sample.io_read_bytes, sample.io_write_bytes = read, written
        sample.io = {"all": (read, written, 0, 0)}
    if received != _LARGE:
        sample.net = {"all": (received, sent, 0, 0, 0, 0, 0, 0)}
    psi: dict[str, Any] = {}
    for (name, part), word in zip(_PRESSURES, stalled, strict=True):
        if word != _LARGE:
            psi.setdefault(name, [0.0, None, 0, None])[part] = word
    sample.psi = {name: tuple(values) for name, values in psi.items()} or None
    return Reading(wall / 1000, boot, pid, step, sample)


class Writer:
    """Puts records of one container into its file, and remembers what was highest between two of a tier."""

    __slots__ = ("_file", "_most")

    def __init__(self, path: str, redo: Redo | None = None) -> None:
        self._file = slots.Writer(path, FORMAT, redo)
        self._most: list[dict[str, Any]] = [{} for _ in TIERS]

    def add(self, wall: float, boot: int, pid: int, sample: Sample) -> None:
        """Into every tier whose turn it is. Raises OSError: FileNotFoundError when the container is gone."""
        values = sample.__dict__
        for most in self._most[1:]:
            for name in HIGHEST:
                value = values.get(name)
                if value is not None and value > most.get(name, -1):
                    most[name] = value
        for tier in self._file.put(wall, lambda tier: pack(wall, boot, pid, sample, self._most[tier])):
            self._most[tier] = {}


def read(path: str, since: float = 0.0, until: float = float("inf")) -> list[Reading]:
    """Records made in [since, until], seconds since the epoch, oldest first; where tiers overlap the finest.

    A short window costs little: only its slots are read. Empty when there is no file, or one of another format. Raises
    OSError.
    """
    found: dict[tuple[int, float], Reading] = {}
    for step, record in slots.read(path, FORMAT, since, until):
        if (reading := unpack(record, step)) is not None:
            # a coarse one is made of the same sample as a fine one
            found.setdefault((reading.boot, reading.sample.monotonic), reading)
    return sorted(found.values(), key=lambda reading: reading.time)
