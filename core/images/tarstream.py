"""A tar archive read forward only: ustar, GNU long names, pax records (POSIX pax(1), tar(5)), sparse files (`sparse`).

Own code rather than `tarfile`, because a layer of 8,000 files spends most of its unpacking in TarInfo there, and
because contents go from the decompressor's buffers straight into files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from zlib import adler32

from pyctr.core.errors import StorageError
from pyctr.core.images import sparse

FILE, HARDLINK, SYMLINK, CHARACTER, BLOCK, DIRECTORY, FIFO = "0", "1", "2", "3", "4", "5", "6"
SPARSE = "S"
_META_LIMIT = 16 << 20
_LAST_ID = 0xFFFFFFFE
"""The one after it tells chown(2) to leave the owner alone."""
_MAJOR, _MINOR = 0xFFF, 0xFFFFF
_LATEST = (1 << 63) - 1
_REPEATED = frozenset({f"{sparse.PREFIX}offset", f"{sparse.PREFIX}numbytes"})


class Entry:
    """One member. `name` and `linkname` are as the archive spells them; nothing in them is to be trusted.

    `size` is how many bytes of contents the archive has. Those of a sparse file belong into `spans`, (offset, count)
    each, of a file of `real` bytes.
    """

    __slots__ = (
        "gid", "kind", "linkname", "major", "minor", "mode", "mtime_ns", "name", "real", "size", "spans", "uid",
        "xattrs",
    )  # fmt: skip

    def __init__(self, name: str, kind: str, size: int) -> None:
        self.name = name
        self.kind = kind
        self.size = size
        self.mode = self.uid = self.gid = self.mtime_ns = self.major = self.minor = self.real = 0
        self.linkname = ""
        self.spans: list[tuple[int, int]] | None = None
        self.xattrs: dict[str, bytes] | None = None


class Stream:
    """Pieces of bytes of any size, consumed in order."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._view = memoryview(b"")
        self._at = 0

    def _more(self) -> bool:
        for piece in self._pieces:
            if piece:
                self._view = memoryview(piece)
                self._at = 0
                return True
        return False

    def exactly(self, count: int) -> bytes:
        """The next `count` bytes. Raises StorageError when the archive ends before."""
        end = self._at + count
        if end <= len(self._view):
            content = bytes(self._view[self._at : end])
            self._at = end
            return content
        parts: list[memoryview] = []
        self._take(count, parts.append)
        return b"".join(parts)

    def fill(self, entry: Entry, fd: int) -> None:
        """Write a file's contents to the descriptor of an empty one; their padding is skipped."""

        def write(part: memoryview) -> None:
            while part:
                part = part[os.write(fd, part) :]

        if entry.spans is None:
            self._take(entry.size, write)
        else:
            for offset, count in entry.spans:
                os.lseek(fd, offset, os.SEEK_SET)
                self._take(count, write)
            os.ftruncate(fd, entry.real)
        self.pad(entry.size)

    def skip(self, count: int) -> None:
        self._take(count, lambda part: None)

    def pad(self, size: int) -> None:
        """Skip the padding after contents of `size` bytes. At the very end some writers (umoci) leave it out."""
        count = -size % 512
        while count and not self.at_end():
            part = min(count, len(self._view) - self._at)
            self._at += part
            count -= part

    def drain(self) -> None:
        """Read to the end, so that digests cover everything."""
        while self._more():
            pass

    def at_end(self) -> bool:
        return self._at >= len(self._view) and not self._more()

    def _take(self, count: int, use: object) -> None:
        while count:
            if self._at >= len(self._view) and not self._more():
                raise StorageError(
                    "the archive ends in the middle of a file", hint="it was cut on its way: get it again"
                )
            part = self._view[self._at : self._at + count]
            use(part)  # type: ignore[operator]
            self._at += len(part)
            count -= len(part)


def entries(stream: Stream) -> Iterator[Entry]:
    """The members. The caller consumes the contents of a member that has some and their padding before the next.

    Raises StorageError for what is no tar archive.
    """
    common: dict[str, bytes] = {}
    own: dict[str, bytes] = {}
    long_name = long_link = b""
    while not stream.at_end():
        header = stream.exactly(512)
        if header[0] == 0 and not any(header):
            break
        if _octal(header[148:156]) != _sum(header) - sum(header[148:156]) + 256:
            raise StorageError("not a tar archive, or a damaged one", hint="a tar header has a wrong checksum")
        kind = chr(header[156])
        size = _number(header[124:136])
        if kind in "LKxg":
            if not 0 <= size <= _META_LIMIT:
                raise StorageError(f"a tar header of {size} bytes")
            content = stream.exactly(size)
            stream.pad(size)
            if kind == "L":
                long_name = content.rstrip(b"\0")
            elif kind == "K":
                long_link = content.rstrip(b"\0")
            elif kind == "x":
                own = _pax(content)
            else:
                common.update(_pax(content))
            continue
        records = {**common, **own} if common else own
        entry = _entry(header, kind, size, records, long_name, long_link)
        if entry.kind == SPARSE or (entry.kind == FILE and own and any(key.startswith(sparse.PREFIX) for key in own)):
            _find_spans(entry, header, own, stream)
        own, long_name, long_link = {}, b"", b""
        yield entry


def _find_spans(entry: Entry, header: bytes, records: dict[str, bytes], stream: Stream) -> None:
    """Of a sparse file; what tells of them is consumed."""

    def block() -> bytes:
        return stream.exactly(512)

    if entry.kind == SPARSE:
        entry.kind = FILE
        spans, entry.real = sparse.of_header(header, block, _number)
    elif records.get(f"{sparse.PREFIX}major", b"0") == b"0":
        spans, entry.real = sparse.of_records(records)
    elif (records[f"{sparse.PREFIX}major"], records.get(f"{sparse.PREFIX}minor")) == (b"1", b"0"):
        spans, entry.real, taken = sparse.of_contents(records, entry.size, block)
        entry.size -= taken
    else:
        raise StorageError("a sparse file in a tar archive of an unknown version", hint="pack it without --sparse")
    entry.spans = sparse.checked(spans, entry.real, entry.size)
    if name := records.get(f"{sparse.PREFIX}name"):
        # the header has a made-up one, for programs that would unpack the map as contents
        if b"\0" in name:
            raise StorageError("a broken name of a sparse file in a tar archive")
        entry.name = os.fsdecode(name)


def _entry(header: bytes, kind: str, size: int, records: dict[str, bytes], long_name: bytes, long_link: bytes) -> Entry:
    raw = header[:100].rstrip(b"\0") if header[99] == 0 else header[:100]
    raw = raw.partition(b"\0")[0]
    if header[257:263] == b"ustar\0" and header[345]:
        raw = header[345:500].partition(b"\0")[0] + b"/" + raw
    link = header[157:257].partition(b"\0")[0]
    if kind in ("\0", "7"):
        kind = DIRECTORY if raw.endswith(b"/") and kind == "\0" else FILE
    entry = Entry("", kind, size)
    entry.mode = _number(header[100:108]) & 0o7777
    entry.uid = _number(header[108:116])
    entry.gid = _number(header[116:124])
    entry.mtime_ns = _number(header[136:148]) * 1_000_000_000
    if kind in (CHARACTER, BLOCK):
        entry.major = _number(header[329:337])
        entry.minor = _number(header[337:345])
    name, link = long_name or raw, long_link or link
    if records:
        name, link = records.get("path", name), records.get("linkpath", link)
        try:
            entry.size = int(records.get("size", size))
            entry.uid = int(records.get("uid", entry.uid))
            entry.gid = int(records.get("gid", entry.gid))
            if mtime := records.get("mtime"):
                whole, _, fraction = mtime.decode().partition(".")
                nanoseconds = int((fraction + "000000000")[:9] or 0)
                entry.mtime_ns = int(whole) * 1_000_000_000 + (-nanoseconds if whole[:1] == "-" else nanoseconds)
        except ValueError:
            raise StorageError(f"a pax header with a wrong number, for '{os.fsdecode(name)}'") from None
        for key, value in records.items():
            if key.startswith("SCHILY.xattr."):
                if entry.xattrs is None:
                    entry.xattrs = {}
                entry.xattrs[key[13:]] = value
    ids_fit = 0 <= entry.uid <= _LAST_ID and 0 <= entry.gid <= _LAST_ID
    device_fits = 0 <= entry.major <= _MAJOR and 0 <= entry.minor <= _MINOR
    if entry.size < 0 or not ids_fit or not device_fits or b"\0" in name or b"\0" in link:
        raise StorageError(f"a broken tar header, for '{os.fsdecode(name)}'")
    if not -_LATEST <= entry.mtime_ns <= _LATEST:
        entry.mtime_ns = _LATEST if entry.mtime_ns > 0 else -_LATEST  # no filesystem keeps it either
    if kind in (HARDLINK, SYMLINK, CHARACTER, BLOCK, FIFO, DIRECTORY):
        entry.size = 0
    entry.name = os.fsdecode(name)
    entry.linkname = os.fsdecode(link)
    return entry


def _pax(content: bytes) -> dict[str, bytes]:
    records: dict[str, bytes] = {}
    at = 0
    while at < len(content) and content[at]:
        space = content.find(b" ", at)
        try:
            length = int(content[at:space])
        except ValueError:
            length = 0
        record = content[space + 1 : at + length]
        key, equals, value = record.partition(b"=")
        if space < 0 or length <= space + 1 - at or not equals or record[-1:] != b"\n":
            raise StorageError("a broken pax header in a tar archive")
        name = key.decode("utf-8", "surrogateescape")
        if name in _REPEATED:
            sparse.joined(records, name, value[:-1])
        else:
            records[name] = value[:-1]
        at += length
    return records


def _sum(header: bytes) -> int:
    """Of all 512 bytes. Adler-32's lower half is one more than the sum, as long as that is below 65,521."""
    return (adler32(header[:256]) & 0xFFFF) + (adler32(header[256:]) & 0xFFFF) - 2


def _octal(field: bytes) -> int:
    text = field.strip(b" \0")
    try:
        return int(text, 8) if text else 0
    except ValueError:
        raise StorageError("not a tar archive, or a damaged one", hint="a tar header has a broken number") from None


def _number(field: bytes) -> int:
    """Octal, or GNU base-256 when the first bit is set."""
    first = field[0]
    if first & 0x80:
        bits = 8 * len(field) - 1
        value = int.from_bytes(field, "big") & ((1 << bits) - 1)
        return value - (1 << bits) if first & 0x40 else value
    return _octal(field)
