"""Container logs in the CRI format, written by the shim, read by everybody.

One entry per line of the file:

    2026-11-20T23:14:07.412345678Z stdout F the line\\n      a whole line, or the end of one
    2026-11-20T23:14:07.412345678Z stderr P no newline y     a part; the next entry of that stream goes on

(kubernetes/design-proposals, kubelet-cri-logging.md). `ctr.log` rotates to `ctr.log.1`, `ctr.log.2` ...
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Line = tuple[int, str, bytes]
    Entry = tuple[int, str, bool, bytes]
    """Timestamp in ns, stream, whether the line ends here, content without newline."""

_BLOCK = 1 << 16


class LogWriter:
    """Appends what one read(2) of the container's output gave. One timestamp and one write(2) per call."""

    def __init__(self, path: str, max_size: int = 10 * 1024 * 1024, max_files: int = 3, fd: int = -1) -> None:
        """`max_size` in bytes, 0 or less never rotates; `max_files` counts the current file too. `fd` is the file of
        another writer that has it open already."""
        self.path = path
        self.max_size = max_size
        self.max_files = max(1, max_files)
        self._second = -1
        self._second_text = ""
        self.fd = fd
        self.size = 0
        try:
            if fd < 0:
                self._open()
            else:
                self.size = os.fstat(fd).st_size
        except OSError:
            pass  # disk full: the container runs without, each write tries again

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self.fd = os.open(self.path, flags, 0o600)
        self.size = os.fstat(self.fd).st_size

    def _stamp(self) -> str:
        now = time.time_ns()
        second = now // 1_000_000_000
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{now % 1_000_000_000:09d}Z"

    def write(self, stream: str, data: bytes) -> None:
        """Log `data` of "stdout" or "stderr". Raises OSError (disk full) with the file as it was."""
        if not data:
            return
        if self.fd < 0:
            self._open()
        head = f"{self._stamp()} {stream} "
        end = data.rfind(b"\n") + 1
        entry = b""
        if end:
            full = f"{head}F ".encode()
            # one C-level pass instead of a loop over the lines
            entry = full + data[: end - 1].replace(b"\n", b"\n" + full) + b"\n"
        if end < len(data):
            entry += f"{head}P ".encode() + data[end:] + b"\n"
        view = memoryview(entry)
        try:
            while view:
                view = view[os.write(self.fd, view) :]
        except OSError:
            # a torn entry would spoil the next one, too
            os.ftruncate(self.fd, self.size)
            raise
        self.size += len(entry)
        if 0 < self.max_size <= self.size:
            try:
                self.rotate()
            except OSError:
                pass  # this entry is written; the next one tries to open again

    def rotate(self) -> None:
        """Shift the files by one and go on in a new one; the oldest goes."""
        # another file may get this number before the new log is open
        self.close()
        if self.max_files == 1:
            os.unlink(self.path)
        for number in range(self.max_files - 1, 0, -1):
            older = f"{self.path}.{number - 1}" if number > 1 else self.path
            try:
                os.rename(older, f"{self.path}.{number}")
            except FileNotFoundError:
                pass  # not that many files yet
        self._open()

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def files(path: str) -> list[str]:
    """The log's files that exist, oldest first."""
    found = [path] if os.path.exists(path) else []
    while os.path.exists(f"{path}.{len(found) or 1}"):
        found.append(f"{path}.{len(found) or 1}")
    found.reverse()
    return found


def read(
    path: str,
    tail: int | None = None,
    since: int | None = None,
    until: int | None = None,
    follow: bool = False,
    *,
    stop: int = -1,
    parts: bool = False,
    current: Callable[[], None] | None = None,
    form: Form | None = None,
) -> Iterator[Line]:
    """(timestamp in ns, stream, line) of every line, rotated files included.

    A line keeps its newline; one without is output that has not ended yet, so that joining a stream's lines gives
    exactly the bytes that were written. `since` and `until` are ns since the epoch, both inclusive; `tail` counts
    lines. With `follow` it goes on as the file grows (inotify(7)) until the descriptor `stop` becomes readable:
    a pidfd of the shim, or a pipe. `parts` gives unfinished lines as they come (prompts) instead of whole lines.
    `current` is called when a follower has had what there was at first. `form` is how entries are
    written, if not as ours.
    """
    form = form or CRI
    chain = _open_chain(path, form.flags)
    joiner = Joiner(parts and tail is None, form)
    try:
        lines = _written(chain, joiner, tail, since)
        if tail is not None:
            lines = _last(lines, tail, joiner, follow)
        for line in lines:
            if until is not None and line[0] > until:
                return
            yield line
        if follow:
            if parts and tail is not None:
                yield from joiner.rest()
            joiner.parts = parts
            from pyctr.core.logfollow import follow as growing

            if current is not None:
                current()
            last = os.dup(chain[-1]) if chain else -1
            position = os.lseek(last, 0, os.SEEK_CUR) if chain else 0
            for entry in growing(path, last, position, stop, flags=form.flags):
                for line in joiner.feed(entry):
                    if until is not None and line[0] > until:
                        return
                    if since is None or line[0] >= since:
                        yield line
        yield from joiner.rest()
    finally:
        for fd in chain:
            os.close(fd)


def _open_chain(path: str, flags: int = 0) -> list[int]:
    """Descriptors of all files, oldest first. A rotation meanwhile shows a file twice: the second is skipped."""
    found: list[int] = []
    seen: set[int] = set()
    number = 0
    while True:
        try:
            fd = os.open(f"{path}.{number}" if number else path, os.O_RDONLY | os.O_CLOEXEC | flags)
        except FileNotFoundError:
            # a gap is a rotation that is just moving that file up
            if number and not os.path.exists(f"{path}.{number + 1}"):
                break
        else:
            inode = os.fstat(fd).st_ino
            if inode in seen:
                os.close(fd)
            else:
                seen.add(inode)
                found.append(fd)
        number += 1
    found.reverse()
    return found


def _written(chain: list[int], joiner: Joiner, tail: int | None, since: int | None) -> Iterator[Line]:
    """What is in the files now; leaves each descriptor's offset behind the last whole entry."""
    first, offset = 0, 0
    if tail is not None:
        first, offset = _tail_start(chain, tail, joiner.form)
    elif since is not None:
        first, offset = _since_start(chain, since, joiner.form)
    for fd in chain[first:]:
        carry = b""
        while block := os.pread(fd, _BLOCK, offset):
            offset += len(block)
            entries = (carry + block).split(b"\n")
            carry = entries.pop()
            for entry in entries:
                for line in joiner.feed(entry):
                    if since is None or line[0] >= since:
                        yield line
        os.lseek(fd, offset - len(carry), os.SEEK_SET)
        offset = 0


def _last(lines: Iterator[Line], count: int, joiner: Joiner, follow: bool) -> Iterator[Line]:
    kept = list(lines)
    if not follow:
        kept.extend(joiner.rest())
    return iter(kept[-count:] if count > 0 else [])


class Joiner:
    """Puts the parts of lines together, per stream."""

    def __init__(self, parts: bool, form: Form) -> None:
        self.parts = parts
        self.form = form
        self.open: dict[str, tuple[int, list[bytes]]] = {}

    def feed(self, entry: bytes) -> Iterator[Line]:
        parsed = self.form.parse(entry)
        if parsed is None:
            return
        stamp, stream, whole, content = parsed
        if self.parts:
            yield stamp, stream, content + b"\n" if whole else content
        elif not whole:
            self.open.setdefault(stream, (stamp, []))[1].append(content)
        elif stream in self.open:
            first, pieces = self.open.pop(stream)
            yield first, stream, b"".join(pieces) + content + b"\n"
        else:
            yield stamp, stream, content + b"\n"

    def rest(self) -> Iterator[Line]:
        for stream, (stamp, pieces) in self.open.items():
            yield stamp, stream, b"".join(pieces)
        self.open = {}


def parse(entry: bytes) -> Entry | None:
    """(timestamp ns, stream, whole line, content) of one entry without its newline; None if torn."""
    words = entry.split(b" ", 3)
    if len(words) != 4 or words[1] not in (b"stdout", b"stderr"):
        return None
    stamp = timestamp_ns(words[0])
    if stamp is None:
        return None
    return stamp, words[1].decode(), words[2][:1] == b"F", words[3]


def _whole(entry: bytes) -> bool:
    return entry.split(b" ", 3)[2:3] == [b"F"]


class Form:
    """How the entries of a log are written, one a line of the file."""

    def __init__(self, parse: Callable[[bytes], Entry | None], whole: Callable[[bytes], bool], flags: int = 0) -> None:
        self.parse = parse
        self.whole = whole
        """Whether a line of output ends with this entry, which may have its newline."""
        self.flags = flags
        """For open(2): a log of others may be a link, or a pipe that would never answer."""


CRI = Form(parse, _whole)
_days: dict[bytes, int] = {}


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


def _tail_start(chain: list[int], count: int, form: Form) -> tuple[int, int]:
    """(index in chain, offset) right behind the entry that ends the line before the last `count` lines."""
    if count <= 0:
        return (len(chain) - 1, os.fstat(chain[-1]).st_size) if chain else (0, 0)
    wanted = count + 1
    newest = True
    for index in range(len(chain) - 1, -1, -1):
        end = os.fstat(chain[index]).st_size
        carry = b""  # the beginning of an entry whose start is in the block before
        while end > 0:
            begin = max(0, end - _BLOCK)
            block = os.pread(chain[index], end - begin, begin) + carry
            cut = block.find(b"\n") + 1 if begin else 0
            if begin and not cut:
                carry, end = block, begin
                continue
            at = begin + len(block)
            carry = block[:cut]
            # not splitlines, which also splits at a carriage return, and progress bars are full of those
            pieces = block[cut:].split(b"\n")
            entries = [piece + b"\n" for piece in pieces[:-1]] + ([pieces[-1]] if pieces[-1] else [])
            for entry in reversed(entries):
                whole = form.whole(entry)
                # an unfinished line at the very end counts as a line
                wanted -= whole or newest
                newest = False
                if wanted <= 0:
                    return index, at
                at -= len(entry)
            end = begin
    return 0, 0


def _since_start(chain: list[int], since: int, form: Form) -> tuple[int, int]:
    """(index, offset) of an entry not later than the first at or after `since`, by bisection."""
    if not chain:
        return 0, 0
    index = 0
    for number in range(1, len(chain)):
        first = form.parse(os.pread(chain[number], _BLOCK, 0).partition(b"\n")[0])
        if first is None or first[0] >= since:
            break
        index = number
    low, high = 0, os.fstat(chain[index]).st_size
    while high - low > _BLOCK:
        middle = (low + high) // 2
        skip, _, rest = os.pread(chain[index], _BLOCK, middle).partition(b"\n")
        entry = form.parse(rest.partition(b"\n")[0])
        if entry is None or entry[0] >= since:
            high = middle
        else:
            low = middle + len(skip) + 1
    return index, low
