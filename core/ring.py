"""One container's past on disk: a file of fixed size, fine for minutes, coarse for days.

    header ─ 5 s x 192 (16 minutes) ─ 60 s x 768 (12.8 hours) ─ 10 min x 1024 (7.1 days)       500,220 bytes at most

A record has its place by the time it was made: slot `seconds since the epoch / step % slots` of its tier. So a writer
keeps no position, may die at any moment and go on as another process; what was not written is a gap, because the old
record in that slot says an older time. A record that a crash tore, or another format, fails its CRC-32 and is no
record. Slots that were never written are holes: the file takes the space of what is in it.

Records hold counters, not rates: any two of one incarnation give the exact mean between them, however far apart.
Memory and pids in the two coarse tiers are the highest since the record before; so is what takes a closer look than
every record has (`closelook`), which is in those alone for which somebody looked.

Nothing is fsynced: a sample is no reason to wake a disk. A process that dies loses nothing, a power cut what the
kernel has not written out yet, usually the last half minute (vm.dirty_expire_centisecs).
"""

from __future__ import annotations

import binascii
import os
import struct

from pyctr.core.cgroupstats import Sample

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE = "history"
"""In the container's directory."""
TIERS = ((5, 192), (60, 768), (600, 1024))
"""(seconds between two records, number of them), finest first."""
MAGIC = b"pyctrhis"
_HEADER = struct.Struct("<8sHHH")
_TIER = struct.Struct("<II")
VERSION = 2
_RECORD = struct.Struct("<IIQQIIQQQQIIQQQQQQQQIIIIIIIIIIIQQQQQQQQQ")
SIZE = _RECORD.size
"""Bytes of a record, and of the header."""
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
    return _checked(body)


def _checked(body: bytes) -> bytes:
    return binascii.crc32(body[4:]).to_bytes(4, "little") + body[4:]


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
    check, cores, wall, moment, boot, pid, *words = _RECORD.unpack(body)
    if not wall or check != binascii.crc32(body[4:]):
        return None
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
    """Puts records of one container into its file. No descriptor is kept: files of removed containers are let go."""

    __slots__ = ("_begun", "_last", "_most", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        # by tier: the slot written last, and what was highest since
        self._last = [-1] * len(TIERS)
        self._most: list[dict[str, Any]] = [{} for _ in TIERS]
        self._begun = False

    def add(self, wall: float, boot: int, pid: int, sample: Sample) -> None:
        """Into every tier whose turn it is. Raises OSError: FileNotFoundError when the container is gone."""
        values = sample.__dict__
        for most in self._most[1:]:
            for name in HIGHEST:
                value = values.get(name)
                if value is not None and value > most.get(name, -1):
                    most[name] = value
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if not self._begun or os.fstat(fd).st_size < SIZE:
                if not _tiers(os.pread(fd, SIZE, 0)):
                    os.ftruncate(fd, 0)  # made just now, or in another format
                    os.pwrite(fd, _header(), 0)
                self._begun = True
            base = SIZE
            for tier, (step, slots) in enumerate(TIERS):
                number = int(wall // step)
                if number != self._last[tier]:
                    record = pack(wall, boot, pid, sample, self._most[tier])
                    os.pwrite(fd, record, base + number % slots * SIZE)
                    self._last[tier] = number
                    self._most[tier] = {}
                base += slots * SIZE
        finally:
            os.close(fd)


def _header() -> bytes:
    header = _HEADER.pack(MAGIC, VERSION, SIZE, len(TIERS)) + b"".join(_TIER.pack(*tier) for tier in TIERS)
    return header.ljust(SIZE, b"\0")


def read(path: str, since: float = 0.0, until: float = float("inf")) -> list[Reading]:
    """Records made in [since, until], seconds since the epoch, oldest first; where tiers overlap the finest.

    A short window costs little: only its slots are read. Empty when there is no file, or one of another format. Raises
    OSError.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    found: dict[tuple[int, float], Reading] = {}
    low, high = int(since * 1000), until * 1000
    try:
        base = SIZE
        for step, slots in _tiers(os.pread(fd, SIZE, 0)):
            for first, count in _slots(since, until, step, slots):
                data = os.pread(fd, count * SIZE, base + first * SIZE)
                for at in range(0, len(data) - SIZE + 1, SIZE):
                    # before all of it is taken apart; a hole has been at no time
                    wall = int.from_bytes(data[at + 8 : at + 16], "little")
                    if wall and low <= wall <= high and (reading := unpack(data[at : at + SIZE], step)):
                        # a coarse one is made of the same sample as a fine one
                        found.setdefault((reading.boot, reading.sample.monotonic), reading)
            base += slots * SIZE
    finally:
        os.close(fd)
    return sorted(found.values(), key=lambda reading: reading.time)


def _tiers(header: bytes) -> list[tuple[int, int]]:
    """As the file says; none if it is no ring of this format."""
    if len(header) < SIZE:
        return []
    magic, version, size, count = _HEADER.unpack_from(header)
    if magic != MAGIC or version != VERSION or size != SIZE or _HEADER.size + count * _TIER.size > SIZE:
        return []
    tiers = [_TIER.unpack_from(header, _HEADER.size + tier * _TIER.size) for tier in range(count)]
    return [(step, slots) for step, slots in tiers if step]


def _slots(since: float, until: float, step: int, slots: int) -> list[tuple[int, int]]:
    """(first, number) of the slots that a window may have records in: one run, or two around the end of the tier."""
    if until - since >= step * (slots - 1):
        return [(0, slots)]
    first, count = int(since // step) % slots, int(until // step) - int(since // step) + 1
    if first + count <= slots:
        return [(first, count)]
    return [(first, slots - first), (0, first + count - slots)]
