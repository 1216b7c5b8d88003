"""The records of the last intervals once more, in one file that is on the disk for certain: what a power cut takes of
the rings (`ring`, `heaviest`) is put back from here.

    <root>/redo            of our containers          <root>/redo-record            of what `pyctr record` writes

An fsync per container and interval would be too much; one for all of them is one write of 340 bytes a container, in
place, so that the file system has nothing to note about it. The recorder never waits for it: the kernel does it
(`linux/aio`), and while a disk does not answer what is new is kept, up to a bound. A block is

    magic  number  bytes  entries  CRC-32, then of each: tier, lengths of name and record, name below <root>, record

at a multiple of 4096, one after the other around the file, which is so large that a block stays until the kernel has
long written the rings out by itself (vm.dirty_expire_centisecs). A torn block fails its check. Nothing ever has to be
marked as done: `mend` puts in what is newer than what is there, and any number of times.

A file `<root>/redo.off` turns it off: a disk may sleep then, and a power cut costs the last half minute.
"""

from __future__ import annotations

import binascii
import os
import struct

from pyctr.core.linux import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyctr.core.linux.aio import Flusher
    from pyctr.core.paths import Paths

CONTAINERS, OTHERS = "redo", "redo-record"
OFF = "redo.off"
MENDED = "rings-mended"
"""In `<run>`, which a reboot empties; says in which boot the rings were completed."""
_MAGIC = b"pyctrdo1"
_HEAD = struct.Struct("<8sQIII")
_ENTRY = struct.Struct("<BHH")
_PAGE = 4096
_SHORTEST = 120.0
"""Seconds that a block stays at least."""
_INTERVAL = 5.0
_LEAST = 48 * _PAGE
_HELD = 1 << 20
"""Bytes that wait for a disk that does not answer: minutes of 50 containers, one interval of 3,000."""
_BATCH = 2000
"""Records that are put back at a time: 0.6 MB."""
_LARGEST = 256 << 20
"""Bytes of the file, of 20,000 containers."""


class Redo:
    """Takes down what is written into rings. Never raises: without it there are the rings."""

    def __init__(self, paths: Paths, name: str) -> None:
        self._root = f"{paths.root}/"
        self._path = self._root + name
        self._proc = paths.proc
        self._fd = -1
        self._entries = bytearray()
        self._count = 0
        self._since: list[tuple[int, bytes]] = []
        """(entries, bytes) of the blocks written since the last fsync."""
        self._asked: list[tuple[int, bytes]] = []
        """Likewise of those that the last one was for."""
        self._refused: list[tuple[int, bytes]] = []
        """Likewise of those that it failed for."""
        self._new = False
        self._written = 0
        """Bytes since the last fsync."""
        self._coarse = 0
        """Of these, what not every interval has."""
        self._broken = False
        self._flusher: Flusher | None = None
        self._size = self._at = self._number = 0

    def note(self, path: str, tier: int, record: bytes) -> None:
        """A record that was put into the ring of that path just now."""
        if self._broken or len(self._entries) > _HELD or not path.startswith(self._root):
            return
        name = os.fsencode(path[len(self._root) :])
        entry = _ENTRY.pack(tier, len(name), len(record)) + name + record
        self._entries += entry
        self._count += 1
        self._coarse += len(entry) if tier else 0

    def flush(self, *, sync: bool) -> None:
        """Write down what was noted; with `sync`, which ends an interval, have it put on the disk."""
        if self._broken or not (self._entries or self._written):
            return
        try:
            if self._fd < 0 and not self._open():
                return
            assert self._flusher is not None
            if self._flusher.busy():
                return  # a sick disk: all of it at the next interval
            if self._flusher.failed:
                # the kernel takes it for written from now on (fsync(2)), so it is written anew, once
                self._flusher.failed, self._refused = 0, self._asked
            self._asked = []
            if self._entries:
                self._write()
            if sync and self._written:
                self._sync()
        except OSError:
            # the disk is full, or the kernel has no such calls: a power cut costs what it did without us
            self._broken = self._flusher is None
            self._since = []
            self._forget()

    def close(self) -> None:
        """Whoever comes next goes on in the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _forget(self) -> None:
        self._entries.clear()
        self._count = 0

    def _open(self) -> bool:
        if os.path.exists(self._root + OFF):
            self._forget()
            return False
        if self._flusher is None:
            from pyctr.core.linux.aio import Flusher

            self._flusher = Flusher()
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._fd).st_size & -_PAGE
        self._new = not self._size
        self._at = self._number = 0
        for at, number, size in _heads(self._fd, self._size):
            if number >= self._number:
                self._number, self._at = number + 1, _after(at, size)
        return True

    def _write(self) -> None:
        fresh = count, body = self._count, bytes(self._entries)
        for more, again in self._refused:
            count, body = count + more, body + again
        self._refused = []
        length = _after(0, len(body))
        if length > self._size:
            self._grow(self._at + length)
        if self._at + length > self._size:
            self._at = 0
        rest = _HEAD.pack(_MAGIC, self._number, len(body), count, 0)[8:-4]
        head = _MAGIC + rest + binascii.crc32(body, binascii.crc32(rest)).to_bytes(4, "little")
        os.pwrite(self._fd, head + body, self._at)
        self._at += length
        self._number += 1
        self._written += length
        self._since.append(fresh)
        self._forget()

    def _sync(self) -> None:
        from pyctr.core.linux import aio

        # of what a later interval writes this one must still be there for that long
        wanted = int(1.25 * (self._written - self._coarse) * (_stay(self._proc) / _INTERVAL + 1))
        if wanted > self._size:
            self._grow(wanted)
        assert self._flusher is not None
        self._written = self._coarse = 0
        self._asked, self._since = self._since, []
        self._flusher.begin(aio.FDSYNC, self._fd)
        if self._new:
            self._new = False
            directory = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self._flusher.begin(aio.FSYNC, directory)
            finally:
                os.close(directory)  # the kernel has a reference of its own
        if os.path.exists(self._root + OFF):
            self.close()

    def _grow(self, size: int) -> None:
        """Zeros are written, not promised: what is written in their place later changes nothing but itself."""
        size = min(max(_after(0, size), _LEAST), _LARGEST)
        zeros = bytes(16 * _PAGE)
        while self._size < size:
            self._size += os.pwrite(self._fd, zeros[: size - self._size], self._size)


def _after(at: int, size: int) -> int:
    """Where the next block may begin."""
    return -(-(at + _HEAD.size + size) // _PAGE) * _PAGE


def _stay(proc: str) -> float:
    """Seconds after which what was written is on the disk without anybody's asking, twice."""
    times = 0.0
    for name in ("dirty_expire_centisecs", "dirty_writeback_centisecs"):
        try:
            with open(f"{proc}/sys/vm/{name}", "rb", buffering=0) as file:
                times += int(file.read(32)) / 100
        except (OSError, ValueError):
            pass  # a kernel without it has the usual 30 and 5 s
    return max(_SHORTEST, 2 * times)


def _heads(fd: int, size: int) -> Iterator[tuple[int, int, int]]:
    """(place, number, bytes of its body) of what looks like a block."""
    at = 0
    while at < size:
        head = os.pread(fd, _HEAD.size, at)
        if len(head) < _HEAD.size:
            return
        magic, number, length, _, _ = _HEAD.unpack(head)
        if magic == _MAGIC and _after(at, length) <= size:
            yield at, number, length
            at = _after(at, length)
        else:
            at += _PAGE


def entries(path: str) -> Iterator[tuple[str, int, bytes]]:
    """(path below <root>, tier, record) of all whole blocks in a file. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for at, _, length in _heads(fd, os.fstat(fd).st_size):
            block = os.pread(fd, _HEAD.size + length, at)
            body = block[_HEAD.size :]
            check = int.from_bytes(block[_HEAD.size - 4 : _HEAD.size], "little")
            if binascii.crc32(body, binascii.crc32(block[8 : _HEAD.size - 4])) != check:
                continue  # what the power cut tore, or the end of an older one
            place = 0
            while place + _ENTRY.size <= length:
                tier, name, record = _ENTRY.unpack_from(body, place)
                place += _ENTRY.size
                yield os.fsdecode(body[place : place + name]), tier, body[place + name : place + name + record]
                place += name + record
    finally:
        os.close(fd)


def mend(paths: Paths) -> int:
    """Complete the rings after a reboot, once; how many records were missing.

    Whoever reads rings calls this first, and whoever writes them. Costs one open(2) from the second time on. Never
    raises: what cannot be mended is a gap.
    """
    try:
        boot = procfs.boot_id(paths.proc)
        return 0 if _mended(paths) == boot else _mend(paths, boot)
    except OSError:
        return 0  # not ours to write, or a recording of a host


def _mended(paths: Paths) -> str:
    """The boot in which it was done."""
    try:
        with open(f"{paths.run}/{MENDED}") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _mend(paths: Paths, boot: str) -> int:
    found = [path for name in (CONTAINERS, OTHERS) if os.path.exists(path := f"{paths.root}/{name}")]
    missing = sum(_complete(paths.root, path) for path in found)
    if found:
        with open(f"{paths.run}/{MENDED}", "w") as file:
            file.write(boot)
    return missing


def _complete(root: str, path: str) -> int:
    import fcntl

    lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    missing = 0
    try:
        # who comes meanwhile does not wait for somebody who was stopped, and may do it again
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        some: list[tuple[str, int, bytes]] = []
        for entry in entries(path):
            some.append(entry)
            if len(some) == _BATCH:
                missing += _put_back(root, some)
                some.clear()
        return missing + _put_back(root, some)
    finally:
        os.close(lock)


def _put_back(root: str, found: list[tuple[str, int, bytes]]) -> int:
    from pyctr.core import heaviest, ring, slots

    by_ring: dict[str, list[tuple[int, bytes]]] = {}
    for name, tier, record in found:
        by_ring.setdefault(name, []).append((tier, record))
    missing = 0
    for name, records in by_ring.items():
        if ".." in name.split("/"):
            continue  # not of ours
        try:
            format = heaviest.FORMAT if name.endswith(f"/{heaviest.FILE}") else ring.FORMAT
            missing += slots.complete(f"{root}/{name}", format, records)
        except OSError:
            continue  # removed since, or something else has its place
    return missing
