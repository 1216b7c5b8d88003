"""The last lines of a log: where they begin, found by walking back over its entries from the newest one.

Each stream has lines of its own, whose parts lie between those of the other. So the place where the last lines begin
may be in front of lines that are not wanted, and those are counted, too, to be left out when it is read from there:

    stderr P the beginning        <- from here on
    stdout F a                    surplus
    stdout F b                    wanted (2)
    stderr F and the end          wanted (1)
"""

from __future__ import annotations

import copy
import os
from array import array
from collections import Counter

from pyctr.core.logentries import LONGEST, ForwardsOnly
from pyctr.core.logfiles import BLOCK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.logentries import Entry, Form
    from pyctr.core.logfiles import LogFile

_HEAD = 64
"""Bytes that an entry has besides its content, about."""


class Tail:
    """Counts lines while their entries pass, the newest one first."""

    def __init__(self, count: int, until: int | None = None, *, unfinished: bool = True) -> None:
        """Lines are those of the log as it was at `until`, ns since the epoch. `unfinished`: whether one that has not
        ended counts; if not, its parts are wanted in any case."""
        self.until = until
        self._count = count
        self._unfinished = unfinished
        self._begin()

    def _begin(self) -> None:
        self.surplus = Counter[str]()
        """Per stream, the lines not wanted that end behind the place."""
        self._wanted = self._count
        self._seen: set[str] = set()
        self._open: set[str] = set()
        """Streams of which the beginning of a wanted line has not passed yet."""
        self._walked = 0

    def later(self, stamp: int) -> bool:
        return self.until is not None and stamp > self.until

    def passed(self, later: bool, stream: str, whole: bool, size: int) -> bool:
        """Whether what is wanted is all there with this entry; it has `size` bytes of content.

        So it is, too, where LONGEST bytes have passed since the last line that is wanted: no line is put together of
        more, and what the other stream wrote into one is not walked over without end.
        """
        if later:
            self._begin()
            return False
        if self._walked > LONGEST and self._wanted:
            self._wanted -= 1
            self._walked = 0
        ends = whole or (self._unfinished and stream not in self._seen)
        if ends and self._wanted:
            self._wanted -= 1
            self._open.add(stream)
            self._walked = 0
        elif ends:
            self._open.discard(stream)
            self.surplus[stream] += 1
        elif stream not in self._seen:
            self._open.add(stream)
        self._seen.add(stream)
        self._walked += size if stream in self._open else size + _HEAD
        return not self._wanted and (not self._open or self._walked > LONGEST)

    def entry(self, parsed: Entry | None) -> bool:
        """`passed` of an entry; one that is torn is passed over."""
        if parsed is None:
            return False
        stamp, stream, whole, content = parsed
        return self.passed(self.later(stamp), stream, whole, len(content))


def seek(chain: list[LogFile], ends: list[int], tail: Tail, form: Form) -> tuple[int, Counter[str]]:
    """Put the positions where the last lines begin; the index of the first file that has of them, and the surplus.

    `ends` are the sizes up to which the files are read. One that is compressed has to be unpacked to its end for this,
    and then once more to be read.
    """
    for index in range(len(chain) - 1, -1, -1):
        file, end = chain[index], ends[index]
        if tail.until is not None and form.lines and not file.packed:
            _, end = bisect(file, end, tail.until, form, unsure=False)
        before = copy.deepcopy(tail)
        try:
            for at, entry in form.backwards(file, end):
                if tail.entry(form.parse(entry)):
                    file.position = at
                    return index, tail.surplus
        except ForwardsOnly:
            tail = before
            if _forwards(file, end, tail, form):
                return index, tail.surplus
    return 0, tail.surplus


def _forwards(file: LogFile, end: int, tail: Tail, form: Form) -> bool:
    """Whether the last lines begin in this file, whose position is then its beginning. Keeps 4 bytes of each entry."""
    kept = array("I")
    for entry in file.entries(form.cut, end):
        parsed = form.parse(entry)
        if parsed is not None:
            stamp, stream, whole, content = parsed
            kept.append(min(len(content), LONGEST) << 3 | tail.later(stamp) << 2 | (stream == "stderr") << 1 | whole)
    file.position = 0
    found = False
    for one in reversed(kept):
        later, stream, whole = bool(one >> 2 & 1), ("stdout", "stderr")[one >> 1 & 1], bool(one & 1)
        found = tail.passed(later, stream, whole, one >> 3) or found
    return found


def bisect(file: LogFile, end: int, moment: int, form: Form, *, unsure: bool) -> tuple[int, int]:
    """Two positions about a block apart: no entry in front of the first is later than `moment` (ns since the epoch),
    each behind the second is. `unsure` is whether one that cannot be read counts as later: what is torn makes only
    one of the two right, the first with True. For forms of lines."""
    low, high, behind = 0, end, end
    while high - low > BLOCK:
        middle = (low + high) // 2
        skip, _, rest = os.pread(file.fd, BLOCK, middle).partition(b"\n")
        entry = form.parse(rest.partition(b"\n")[0])
        if unsure if entry is None else entry[0] > moment:
            high, behind = middle, middle + len(skip) + 1
        else:
            low = middle + len(skip) + 1
    return low, behind
