"""Docker's `local` log driver: entries of protobuf between two lengths, and older files that may be compressed.

    length  entry  length      length  entry  length ...         lengths are 4 bytes, the highest first

container.log is the newest file, container.log.1 or container.log.1.gz the one before (moby, daemon/logger/local and
daemon/logger/loggerutils; api/types/plugins/logdriver/entry.proto). Written and compressed by docker alone; here it is
only read, and with suspicion: nothing in it is larger than it may be, and what is torn is passed over.
"""

from __future__ import annotations

import os
import select
import struct
import zlib
from collections import deque

from pyctr.core import logs
from pyctr.core.linux import inotify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
MOST = 1_000_000
"""Bytes of an entry: docker refuses longer ones when it reads."""
UNPACKED = 1 << 29
"""Bytes that one compressed file gives at most: it may be made by a container to fill a disk, or to take for ever."""
_BLOCK = 1 << 16
_EDGE = 4
_MARKS = (b"\x0a\x06stdout", b"\x0a\x06stderr")
"""How every entry begins: its first field."""


def parse(entry: bytes) -> logs.Entry | None:
    """(timestamp ns, stream, whole line, content) of an entry; None for what is none."""
    stream, stamp, line, partial, last = "", 0, b"", False, False
    try:
        for field, value in _fields(entry):
            if field == 1 and isinstance(value, bytes):
                stream = value.decode("ascii", "replace")
            elif field == 2 and isinstance(value, int):
                stamp = value
            elif field == 3 and isinstance(value, bytes):
                line = value
            elif field == 4:
                partial = bool(value)
            elif field == 5 and isinstance(value, bytes):
                last = any(number == 1 and one for number, one in _fields(value))
    except (IndexError, ValueError):
        return None
    if stream not in ("stdout", "stderr"):
        return None
    return stamp, stream, not partial or last, line


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of a protobuf message. Raises IndexError, ValueError for what is none."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
        elif kind == 2:
            size, at = _varint(message, at)
            if at + size > len(message):
                raise ValueError("a field beyond the end of its message")
            yield key >> 3, message[at : at + size]
            at += size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"no field is of kind {kind}")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number without an end")


def _whole(entry: bytes) -> bool:
    parsed = parse(entry)
    return parsed is not None and parsed[2]


FORM = logs.Form(parse, _whole)


def cut(buffer: bytes) -> tuple[list[bytes], int]:
    """The entries that are whole, and how many bytes were used up. After what is torn it goes on at the next one."""
    found: list[bytes] = []
    at = 0
    while len(buffer) - at >= _EDGE:
        (size,) = struct.unpack_from(">I", buffer, at)
        end = at + _EDGE + size + _EDGE
        if 0 < size <= MOST and end > len(buffer):
            break  # still being written
        if 0 < size <= MOST and buffer[end - _EDGE : end] == buffer[at : at + _EDGE]:
            found.append(buffer[at + _EDGE : end - _EDGE])
            at = end
            continue
        places = [place for mark in _MARKS if (place := buffer.find(mark, at + _EDGE + 1)) >= 0]
        if not places:
            return found, max(at, len(buffer) - _EDGE - len(_MARKS[0]))
        at = min(places) - _EDGE
    return found, at


class _File:
    """One file of the log; `position` is behind the last entry that was given."""

    def __init__(self, path: str) -> None:
        """Raises OSError."""
        self.packed = path.endswith(".gz")
        self.fd = os.open(path, FLAGS)
        self.inode = os.fstat(self.fd).st_ino
        self.position = 0

    def entries(self) -> Iterator[bytes]:
        """Those behind `position`."""
        carry = b""
        for block in self._unpacked() if self.packed else self._blocks():
            found, used = cut(carry + block)
            carry = (carry + block)[used:]
            self.position += used
            yield from found

    def _blocks(self) -> Iterator[bytes]:
        at = self.position
        while block := os.pread(self.fd, _BLOCK, at):
            at += len(block)
            yield block

    def _unpacked(self) -> Iterator[bytes]:
        unpacker, at, given = zlib.decompressobj(zlib.MAX_WBITS | 16), 0, 0
        while (block := os.pread(self.fd, _BLOCK, at)) and given < UNPACKED:
            at += len(block)
            while block and given < UNPACKED:
                try:
                    made = unpacker.decompress(block, _BLOCK)
                except zlib.error:
                    return  # being written, or none of docker's
                given += len(made)
                if made:
                    yield made
                block = unpacker.unconsumed_tail

    def seek_back(self, wanted: int) -> int:
        """Put the position before the entries of the last `wanted` lines; how many lines are missing for that."""
        if self.packed:
            # only forwards: the caller keeps the last ones
            return wanted - sum(map(_whole, self.entries()))
        at = os.fstat(self.fd).st_size
        while at > 2 * _EDGE and wanted > 0:
            (size,) = struct.unpack(">I", os.pread(self.fd, _EDGE, at - _EDGE))
            begin = at - size - 2 * _EDGE
            if not 0 < size <= MOST or begin < 0 or os.pread(self.fd, _EDGE, begin) != struct.pack(">I", size):
                # torn, or being written: from its beginning, then
                wanted -= sum(map(_whole, self.entries()))
                at = 0
                break
            # one that ends a line belongs to that line and is wanted; the one before it ends the line before
            wanted -= _whole(os.pread(self.fd, size, begin + _EDGE))
            at = begin
        self.position = at
        return wanted

    def close(self) -> None:
        os.close(self.fd)


def _chain(path: str) -> list[_File]:
    """All files, oldest first; one that is being compressed is taken once."""
    found: list[_File] = []
    number = 0
    while True:
        for name in (f"{path}.{number}", f"{path}.{number}.gz") if number else (path,):
            try:
                file = _File(name)
            except FileNotFoundError:
                continue
            if any(file.inode == other.inode for other in found):
                file.close()  # it was moved on while we looked
            else:
                found.append(file)
            break
        else:
            if number and not any(os.path.exists(f"{path}.{number + 1}{end}") for end in ("", ".gz")):
                break
        number += 1
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
) -> Iterator[logs.Line]:
    """As `logs.read`."""
    joiner = logs.Joiner(parts and tail is None, FORM)
    chain = _chain(path)
    try:
        for line in _written(chain, joiner, tail, since, follow=follow):
            if until is not None and line[0] > until:
                return
            yield line
        if follow:
            if parts and tail is not None:
                yield from joiner.rest()
            joiner.parts = parts
            for entry in _grown(path, chain, stop, current):
                for line in joiner.feed(entry):
                    if until is not None and line[0] > until:
                        return
                    if since is None or line[0] >= since:
                        yield line
        yield from joiner.rest()
    finally:
        for file in chain:
            file.close()


def _written(
    chain: list[_File], joiner: logs.Joiner, tail: int | None, since: int | None, *, follow: bool
) -> Iterator[logs.Line]:
    """What is in the files now."""
    first = 0
    if tail is not None:
        # one more than wanted: an unfinished line at the end is none that an entry ends
        wanted, first = tail + 1, len(chain)
        while first and wanted > 0:
            first -= 1
            wanted = chain[first].seek_back(wanted)
            if chain[first].packed:
                chain[first].position = 0
    lines: Iterator[logs.Line] = (
        line
        for file in chain[first:]
        for entry in file.entries()
        for line in joiner.feed(entry)
        if since is None or line[0] >= since
    )
    if tail is None:
        yield from lines
        return
    kept = deque(lines, maxlen=tail)
    if not follow:
        kept.extend(joiner.rest())
    yield from kept


def _grown(path: str, chain: list[_File], stop: int, current: Callable[[], None] | None) -> Iterator[bytes]:
    """Entries as they are written, across rotations; `chain` then has the files that are still open."""
    watch = inotify.init()
    try:
        # the directory, not the file: a rotation makes a new file, and the first may not be there yet
        inotify.add_watch(watch, os.path.dirname(path), inotify.IN_MODIFY | inotify.IN_CREATE | inotify.IN_MOVED_TO)
        poller = select.poll()
        poller.register(watch, select.POLLIN)
        if stop >= 0:
            poller.register(stop, select.POLLIN)
        yield from _news(path, chain)
        if current is not None:
            current()
        while True:
            ready = {fd for fd, _ in poller.poll()}
            if watch in ready:
                inotify.drain(watch)
            yield from _news(path, chain)
            if stop in ready:
                return
    finally:
        os.close(watch)


def _news(path: str, chain: list[_File]) -> Iterator[bytes]:
    """What the newest file we have got meanwhile, and all of those that came after it."""
    while True:
        now = _chain(path)
        newest = chain[-1] if chain else None
        # what was written before the rotation that is seen now is read before anything of the next file
        if newest is not None:
            yield from newest.entries()
        places = [place for place, file in enumerate(now) if newest is not None and file.inode == newest.inode]
        # ours may have been compressed, which makes it another file, or be gone: then all that are not packed are new
        later = now[places[0] + 1 :] if places else [file for file in now if not file.packed]
        for file in now:
            if file not in later:
                file.close()
        if not later:
            return
        for file in chain:
            file.close()
        chain[:] = later[:1]
        for file in later[1:]:
            file.close()
