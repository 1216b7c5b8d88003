"""The entries of a log: how the forms are cut and parsed, and how the parts of a line become a line again."""

from __future__ import annotations

import os

from pyctr.core.logfiles import BLOCK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyctr.core.logfiles import Cut, LogFile
    from pyctr.core.logreading import Source

    Line = tuple[int, str, bytes]
    Entry = tuple[int, str, bool, bytes]
    """Timestamp in ns, stream, whether the line ends here, content without newline."""
    Backwards = Callable[[LogFile, int], Iterator[tuple[int, bytes]]]
    """The entries in front of a position from the last one back, each with where it begins. Raises ForwardsOnly."""

LONGEST = 1 << 20
"""Bytes of a line of the file: all of the writers cut what containers say into smaller ones. And how long a line gets
that is put together of those, before it is given in pieces: a container may write one that never ends."""
_days: dict[bytes, int] = {}


def parse(entry: bytes) -> Entry | None:
    """Of one entry in the form CRI, without its newline; None if torn."""
    words = entry.split(b" ", 3)
    if len(words) != 4 or words[1] not in (b"stdout", b"stderr"):
        return None
    stamp = timestamp_ns(words[0])
    if stamp is None:
        return None
    # as kubelet: further tags may follow after a colon, and what is not a part is whole
    return stamp, words[1].decode(), words[2][:2] not in (b"P", b"P:"), words[3]


def timestamp_ns(text: bytes) -> int | None:
    """ns since the epoch of "2026-11-20T23:14:07.412345678Z", also with "+02:00" for Z; None if it is no such stamp."""
    day = _days.get(text[:10])
    try:
        if day is None:
            import calendar

            day = calendar.timegm((int(text[:4]), int(text[5:7]), int(text[8:10]), 0, 0, 0))
            _days.clear()
            _days[text[:10]] = day
        second = day + int(text[11:13]) * 3600 + int(text[14:16]) * 60 + int(text[17:19])
        if text[-6:-5] in (b"+", b"-") and text[-3:-2] == b":":
            # podman writes the local time and how far it is from UTC
            ahead = int(text[-5:-3]) * 3600 + int(text[-2:]) * 60
            second += ahead if text[-6:-5] == b"-" else -ahead
            text = text[:-6] + b"Z"
        fraction = text[20:-1] if text[19:20] == b"." else b""
        return second * 1_000_000_000 + int(fraction.ljust(9, b"0")[:9] or 0)
    except ValueError:
        return None


def cut_lines(buffer: bytes) -> tuple[list[bytes], int]:
    """One entry a line; a line that does not end is thrown away."""
    entries = buffer.split(b"\n")
    rest = len(entries.pop())
    return entries, len(buffer) - (rest if rest <= LONGEST else 0)


class ForwardsOnly(Exception):
    """This file cannot be read from its end."""


def lines_backwards(file: LogFile, end: int) -> Iterator[tuple[int, bytes]]:
    """Of a file of lines; without one that is still being written."""
    if file.packed:
        raise ForwardsOnly
    carry = b""  # the beginning of an entry whose start is in the block before
    newest = True
    while end > 0:
        begin = max(0, end - BLOCK)
        block = os.pread(file.fd, end - begin, begin) + carry
        cut = block.find(b"\n") + 1 if begin else 0
        if begin and not cut and len(block) <= LONGEST:
            carry, end = block, begin
            continue
        at = begin + len(block)
        carry = block[:cut]
        # not splitlines, which also splits at a carriage return, and progress bars are full of those
        pieces = block[cut:].split(b"\n")
        last = pieces.pop()
        if last and newest:
            at -= len(last)
        elif last:
            at -= len(last)
            yield at, last
        for piece in reversed(pieces):
            newest = False
            at -= len(piece) + 1
            yield at, piece
        end = begin


class Form:
    """How the entries of a log are written."""

    def __init__(
        self,
        parse: Callable[[bytes], Entry | None],
        flags: int = 0,
        *,
        packed: bool = False,
        cut: Cut = cut_lines,
        backwards: Backwards = lines_backwards,
        source: Callable[[str], Source] | None = None,
    ) -> None:
        self.parse = parse
        self.flags = flags
        """For open(2): a log of others may be a link, or a pipe that would never answer."""
        self.packed = packed
        """Whether older files may be compressed."""
        self.cut = cut
        self.backwards = backwards
        self.source = source
        """Where it is in no files."""

    @property
    def lines(self) -> bool:
        """Whether it can be cut from anywhere in the file on, as lines can."""
        return self.cut is cut_lines


CRI = Form(parse)


class Joiner:
    """Puts the parts of lines together, per stream: what was written from `since` to `until`, ns since the epoch."""

    def __init__(self, parse: Callable[[bytes], Entry | None], since: int | None, until: int | None) -> None:
        self.parse = parse
        self.since = since
        self.until = until
        self.parts = False
        """Give them as they come instead."""
        self.surplus: dict[str, int] = {}
        """How many lines of a stream are left out first."""
        self.over = False
        """Whether one later than `until` has come."""
        self.open: dict[str, tuple[int, bytearray]] = {}

    def feed(self, entry: bytes) -> Iterator[Line]:
        parsed = self.parse(entry)
        if parsed is None:
            return
        stamp, stream, whole, content = parsed
        if self.until is not None and stamp > self.until:
            self.over = True
            return
        if self.surplus and self.surplus.get(stream):
            self.surplus[stream] -= whole
            return
        if not self.parts and (not whole or stream in self.open):
            stamp, begun = self.open.setdefault(stream, (stamp, bytearray()))
            begun += content
            if not whole and len(begun) <= LONGEST:
                return
            del self.open[stream]
            content = bytes(begun)
        if self.since is None or stamp >= self.since:
            yield stamp, stream, content + b"\n" if whole else content

    def rest(self) -> Iterator[Line]:
        for stream, (stamp, begun) in self.open.items():
            if self.since is None or stamp >= self.since:
                yield stamp, stream, bytes(begun)
        self.open = {}
