"""A file of fixed size in which a record's place follows from its time: what `ring` and `heaviest` are made of.

    header ─ tier 0 (the finest) ─ tier 1 ─ ...

A record has slot `seconds since the epoch / step % slots` of its tier. So a writer keeps no position, may die at any
moment and go on as another process; what was not written is a gap, because the old record in that slot says an older
time. Every record begins with its CRC-32 (4 bytes) and has its time at byte 8 (milliseconds since the epoch, 8 bytes):
one that a crash tore is none. Slots that were never written are holes: the file takes the space of what is in it.
"""

from __future__ import annotations

import binascii
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyctr.core.redo import Redo

_HEADER = struct.Struct("<8sHHH")
_TIER = struct.Struct("<II")


class Format:
    """One kind of such files. `tiers` are (seconds between two records, number of them), finest first."""

    __slots__ = ("header", "magic", "room", "size", "tiers", "version")

    def __init__(self, magic: bytes, version: int, size: int, tiers: tuple[tuple[int, int], ...]) -> None:
        self.magic, self.version, self.size, self.tiers = magic, version, size, tiers
        self.room = size * (1 + sum(slots for _, slots in tiers))
        """Bytes of a file in which every slot was written."""
        self.header = _HEADER.pack(magic, version, size, len(tiers)) + b"".join(_TIER.pack(*tier) for tier in tiers)
        self.header = self.header.ljust(size, b"\0")

    def known(self, header: bytes) -> list[tuple[int, int]]:
        """The tiers that a file says it has; none if it is not of this format."""
        if len(header) < self.size:
            return []
        magic, version, size, count = _HEADER.unpack_from(header)
        if (magic, version, size) != (self.magic, self.version, self.size):
            return []
        if _HEADER.size + count * _TIER.size > size:
            return []
        tiers = [_TIER.unpack_from(header, _HEADER.size + tier * _TIER.size) for tier in range(count)]
        return [(step, slots) for step, slots in tiers if step]

    def begin(self, fd: int) -> None:
        """Make the open file one of this format, unless it is. Raises OSError."""
        if not self.known(os.pread(fd, self.size, 0)):
            os.ftruncate(fd, 0)  # made just now, or in another format
            os.pwrite(fd, self.header, 0)

    def place(self, tier: int, number: int) -> int:
        """Where the record of that many steps since the epoch is."""
        before = sum(slots for _, slots in self.tiers[:tier])
        return self.size * (1 + before + number % self.tiers[tier][1])


def checked(body: bytes) -> bytes:
    """A record with its check in place of the first four bytes."""
    return binascii.crc32(body[4:]).to_bytes(4, "little") + body[4:]


def time_of(record: bytes) -> int:
    """Milliseconds since the epoch; 0 for an empty slot or what is no whole record."""
    wall = int.from_bytes(record[8:16], "little")
    return wall if wall and int.from_bytes(record[:4], "little") == binascii.crc32(record[4:]) else 0


class Writer:
    """Puts records into one file. No descriptor is kept: files of removed containers are let go."""

    __slots__ = ("_begun", "_format", "_last", "_redo", "path")

    def __init__(self, path: str, format: Format, redo: Redo | None = None) -> None:
        """`redo` hears of every record, too."""
        self.path = path
        self._format = format
        self._redo = redo
        self._last = [-1] * len(format.tiers)
        """By tier, the slot written last."""
        self._begun = False

    def put(self, wall: float, make: Callable[[int], bytes]) -> list[int]:
        """Write the record that `make` gives for each tier whose turn it is; which these are.

        Raises OSError: FileNotFoundError when the container is gone.
        """
        format = self._format
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if not self._begun or os.fstat(fd).st_size < format.size:
                format.begin(fd)
                self._begun = True
            written = []
            for tier, (step, _) in enumerate(format.tiers):
                number = int(wall // step)
                if number != self._last[tier]:
                    record = make(tier)
                    os.pwrite(fd, record, format.place(tier, number))
                    self._last[tier] = number
                    written.append(tier)
                    if self._redo is not None:
                        self._redo.note(self.path, tier, record)
            return written
        finally:
            os.close(fd)


def complete(path: str, format: Format, records: list[tuple[int, bytes]]) -> int:
    """Put (tier, record) where nothing as new is; how many were missing. Raises OSError: FileNotFoundError when the
    directory is gone."""
    missing = 0
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        format.begin(fd)
        for tier, record in records:
            wall = time_of(record)
            if not wall or tier >= len(format.tiers) or len(record) != format.size:
                continue
            number = wall // (format.tiers[tier][0] * 1000)
            at = format.place(tier, number)
            if time_of(os.pread(fd, format.size, at)) // (format.tiers[tier][0] * 1000) < number:
                os.pwrite(fd, record, at)
                missing += 1
    finally:
        os.close(fd)
    return missing


def read(path: str, format: Format, since: float = 0.0, until: float = float("inf")) -> Iterator[tuple[int, bytes]]:
    """(step, record) of those made in [since, until], seconds since the epoch, finest tier first, in no order within
    it. Records may be torn: `time_of` tells.

    A short window costs little: only its slots are read. Empty when there is no file, or one of another format. Raises
    OSError.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    low, high = int(since * 1000), until * 1000
    try:
        base = size = format.size
        end = os.fstat(fd).st_size
        for step, slots in format.known(os.pread(fd, size, 0)):
            for first, count in _slots(since, until, step, slots):
                # a header may say that there are more than there are
                begin = base + first * size
                data = os.pread(fd, max(0, min(count * size, end - begin)), begin)
                for at in range(0, len(data) - size + 1, size):
                    # before all of it is taken apart; a hole has been at no time
                    wall = int.from_bytes(data[at + 8 : at + 16], "little")
                    if wall and low <= wall <= high:
                        yield step, data[at : at + size]
            base += slots * size
    finally:
        os.close(fd)


def _slots(since: float, until: float, step: int, slots: int) -> list[tuple[int, int]]:
    """(first, number) of the slots that a window may have records in: one run, or two around the end of the tier."""
    if until - since >= step * (slots - 1):
        return [(0, slots)]
    first, count = int(since // step) % slots, int(until // step) - int(since // step) + 1
    if first + count <= slots:
        return [(first, count)]
    return [(first, slots - first), (0, first + count - slots)]
