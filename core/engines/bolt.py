"""Reading a bolt database while its owner has it open: what podman and containerd keep their records in.

    file = pages of one size; page = header (id u64, flags u16, count u16, overflow u32) and elements
    meta pages 0 and 1: the valid one with the higher transaction names the page of the root bucket
    branch element: position u32, key size u32, page u64
    leaf element: flags u32, position u32, key size u32, value size u32
    a leaf of flag 1 is a bucket: (root page u64, sequence u64), and with root 0 the bucket's only page follows inline

go.etcd.io/bbolt, page.go, db.go, bucket.go. The owner locks the file for itself: readers of its own kind would wait for
a daemon that hangs. Nothing is waited for here: pages are written anew, never over ones in use, so what a meta page
leads to is whole until two later transactions have ended. A meta page that changed meanwhile makes the reading torn.
"""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = 0xED0CDAED
_HEADER = struct.Struct("<QHHI")
_META = struct.Struct("<IIIIQQQQQQ")
_BRANCH = struct.Struct("<IIQ")
_LEAF = struct.Struct("<IIII")
_BUCKET = struct.Struct("<QQ")
BRANCH, LEAF = 1, 2
MOST_PAGES = 50_000
"""Read in one look, so that pages that lead in a circle have an end."""


class Torn(ValueError):
    """No bolt database, or one that was written to while it was read."""


class Database:
    """One look at a database, by an open descriptor that the caller closes."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._left = MOST_PAGES
        self.page_size, self._root, self.transaction = self._meta()

    def _meta(self) -> tuple[int, int, int]:
        found = []
        for size in (4096, 16384, 65536):
            for number in (0, 1):
                text = os.pread(self._fd, _HEADER.size + _META.size, number * size)
                if len(text) < _HEADER.size + _META.size:
                    continue
                magic, version, page_size, _, root, _, _, _, transaction, checksum = _META.unpack_from(
                    text, _HEADER.size
                )
                if magic != MAGIC or version != 2 or (number and page_size != size):
                    continue
                if checksum == _fnv(text[_HEADER.size : _HEADER.size + _META.size - 8]):
                    found.append((transaction, page_size, root))
        if not found:
            raise Torn("no bolt database")
        transaction, page_size, root = max(found)
        if page_size < 512 or page_size > 1 << 20:
            raise Torn("no bolt database")
        return page_size, root, transaction

    def settled(self) -> bool:
        """Whether nothing was written since it was opened."""
        return self._meta()[2] == self.transaction

    def root(self) -> Bucket:
        return Bucket(self, self._root, b"")

    def page(self, number: int) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise Torn("more pages than a database of records has")
        first = os.pread(self._fd, self.page_size, number * self.page_size)
        if len(first) < _HEADER.size:
            raise Torn(f"page {number} is beyond the end")
        overflow = _HEADER.unpack_from(first)[3]
        if not overflow:
            return first
        if overflow > 1 << 14:
            raise Torn(f"page {number} is too large")
        return os.pread(self._fd, self.page_size * (overflow + 1), number * self.page_size)


class Bucket:
    """Keys and values, and buckets in it."""

    def __init__(self, database: Database, root: int, inline: bytes) -> None:
        self._database = database
        self._root = root
        self._inline = inline

    def items(self) -> Iterator[tuple[bytes, bytes | Bucket]]:
        """All of them in the order of keys. Raises Torn."""
        pages = [self._inline if not self._root else self._database.page(self._root)]
        try:
            while pages:
                page = pages.pop()
                _, flags, count, _ = _HEADER.unpack_from(page)
                if flags & BRANCH:
                    pages += [
                        self._database.page(_BRANCH.unpack_from(page, _HEADER.size + _BRANCH.size * place)[2])
                        for place in range(count - 1, -1, -1)
                    ]
                elif flags & LEAF:
                    yield from self._leaf(page, count)
                else:
                    raise Torn("a page of another kind")
        except struct.error as error:
            raise Torn(str(error)) from None

    def _leaf(self, page: bytes, count: int) -> Iterator[tuple[bytes, bytes | Bucket]]:
        for place in range(count):
            at = _HEADER.size + _LEAF.size * place
            flags, position, key_size, value_size = _LEAF.unpack_from(page, at)
            begin = at + position + key_size
            key, value = page[at + position : begin], page[begin : begin + value_size]
            if len(value) != value_size:
                raise Torn("a value that is cut off")
            if flags & 1:
                root, _ = _BUCKET.unpack_from(value)
                yield key, Bucket(self._database, root, value[_BUCKET.size :])
            else:
                yield key, value

    def bucket(self, name: bytes) -> Bucket | None:
        found = next((value for key, value in self.items() if key == name), None)
        return found if isinstance(found, Bucket) else None

    def values(self) -> dict[bytes, bytes]:
        """Without the buckets."""
        return {key: value for key, value in self.items() if isinstance(value, bytes)}


def _fnv(text: bytes) -> int:
    """FNV-1a of 64 bits."""
    value = 0xCBF29CE484222325
    for byte in text:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value
