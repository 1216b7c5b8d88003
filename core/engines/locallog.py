"""Docker's `local` log driver: entries of protobuf between two lengths, and older files that may be compressed.

    length  entry  length      length  entry  length ...         lengths are 4 bytes, the highest first

container.log is the newest file, container.log.1 or container.log.1.gz the one before (moby, daemon/logger/local and
daemon/logger/loggerutils; api/types/plugins/logdriver/entry.proto). Written and compressed by docker alone; here it is
only read, and with suspicion: nothing in it is larger than it may be, and what is torn is passed over.
"""

from __future__ import annotations

import os
import re
import struct

from pyctr.core.logentries import Form, ForwardsOnly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyctr.core.logentries import Entry
    from pyctr.core.logfiles import LogFile

MOST = 1_000_000
"""Bytes of an entry: docker refuses longer ones when it reads."""
_EDGE = 4
_MARK = re.compile(rb"\x0a\x06std(?:out|err)")
"""How every entry begins: its first field. One search for both, or one that is nowhere is looked for each time."""
_MARK_SIZE = 8


def parse(entry: bytes) -> Entry | None:
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
        mark = _MARK.search(buffer, at + _EDGE + 1)
        if mark is None:
            return found, max(at, len(buffer) - _EDGE - _MARK_SIZE)
        at = mark.start() - _EDGE
    return found, at


def _backwards(file: LogFile, end: int) -> Iterator[tuple[int, bytes]]:
    """By the length behind each entry."""
    if file.packed:
        raise ForwardsOnly
    at = end
    while at > 2 * _EDGE:
        edge = os.pread(file.fd, _EDGE, at - _EDGE)
        size = int.from_bytes(edge)
        begin = at - size - 2 * _EDGE
        if not 0 < size <= MOST or begin < 0 or os.pread(file.fd, _EDGE, begin) != edge:
            raise ForwardsOnly  # torn, being written, or emptied since its size was asked for
        yield begin, os.pread(file.fd, size, begin + _EDGE)
        at = begin


FORM = Form(parse, os.O_NOFOLLOW | os.O_NONBLOCK, packed=True, cut=cut, backwards=_backwards)
