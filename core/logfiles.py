"""The files of one log: the one that is written to, and those that were rotated away.

    ctr.log    ctr.log.1      ctr.log.2         the higher the number, the older
    x.log      x.log.1.gz     x.log.2.gz        docker's with `compress=true`, and of its `local` driver always
    0.log      0.log.20261120-231407            kubelet's, and older ones with .gz (kubelet, logs/container_log_manager)

What others wrote is read with suspicion: a file may be torn, or made to unpack without end. No more than a block of it
and one entry is in memory.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Cut = Callable[[bytes], tuple[list[bytes], int]]
    """The whole entries at the beginning of some bytes, and how many bytes those are."""

BLOCK = 1 << 16
UNPACKED = 1 << 30
"""Bytes that one compressed file gives at most, each time it is read: it may be made to take for ever."""
FILES = 1000
"""Files of one log at most, as many of each kind of name: each takes a descriptor."""


class LogFile:
    """An open file of a log; `position` is behind the last entry that was given, counted in unpacked bytes."""

    def __init__(self, path: str, flags: int = 0) -> None:
        """`flags` are for open(2), besides reading. Raises OSError, also for what is no regular file."""
        self.packed = path.endswith(".gz")
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
        status = os.fstat(self.fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(self.fd)
            raise OSError(errno.EINVAL, "no regular file", path)
        self.inode = status.st_ino
        self.position = 0

    @property
    def size(self) -> int:
        return os.fstat(self.fd).st_size

    def entries(self, cut: Cut, end: int = sys.maxsize) -> Iterator[bytes]:
        """Those behind `position`, and in front of `end` where it is not compressed."""
        carry = b""
        for block in self._unpacked() if self.packed else self._blocks(end):
            buffer = carry + block if carry else block
            found, used = cut(buffer)
            carry = buffer[used:]
            self.position += used
            yield from found

    def _blocks(self, end: int) -> Iterator[bytes]:
        at = self.position
        while at < end and (block := os.pread(self.fd, min(BLOCK, end - at), at)):
            at += len(block)
            yield block

    def _unpacked(self) -> Iterator[bytes]:
        unpacker, at, given, begin = zlib.decompressobj(zlib.MAX_WBITS | 16), 0, 0, self.position
        while (block := os.pread(self.fd, BLOCK, at)) and given < UNPACKED:
            at += len(block)
            while block and given < UNPACKED:
                try:
                    made = unpacker.decompress(block, BLOCK)
                except zlib.error:
                    return  # being written, or no such file at all
                given += len(made)
                if given > begin:
                    yield made[max(0, len(made) - (given - begin)) :]
                block = unpacker.unconsumed_tail

    def packs(self, other: LogFile) -> bool:
        """Whether this compressed file is what `other` was: a gzip file ends with checksum and size (RFC 1952)."""
        trailer = os.pread(self.fd, 8, max(0, self.size - 8))
        if other.packed or trailer[4:] != (other.size & 0xFFFFFFFF).to_bytes(4, "little"):
            return False
        at = checksum = 0
        while block := os.pread(other.fd, BLOCK, at):
            at += len(block)
            checksum = zlib.crc32(block, checksum)
        return trailer[:4] == checksum.to_bytes(4, "little")

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def chain(path: str, flags: int = 0, *, packed: bool = False) -> list[LogFile]:
    """All files of a log, oldest first; `packed` with compressed ones, too. Raises OSError for one that cannot be read.

    No more than the newest FILES of those that are counted, and of those that have a time. While files are moved up,
    one may be seen twice, which is told by its inode; and there may be a gap.
    """
    found: list[LogFile] = []
    try:
        _numbered(found, path, flags, packed)
        found.reverse()
        if packed:
            numbered = len(found)
            _dated(found, path, flags)
            found = found[numbered:] + found[:numbered]
    except BaseException:
        for file in found:
            file.close()
        raise
    return found


def _numbered(found: list[LogFile], path: str, flags: int, packed: bool) -> None:
    """Add those that are counted, newest first."""
    ends = ("", ".gz") if packed else ("",)
    for number in range(FILES):
        for end in ends if number else ("",):
            try:
                file = LogFile(f"{path}.{number}{end}" if number else path, flags)
            except FileNotFoundError:
                continue
            if any(file.inode == other.inode for other in found):
                file.close()
            else:
                found.append(file)
            break  # of one that is being compressed, what is whole
        else:
            if number and not any(os.path.exists(f"{path}.{number + 1}{end}") for end in ends):
                break


def _dated(found: list[LogFile], path: str, flags: int) -> None:
    """Add those that have the time of their rotation for a name, oldest first."""
    directory, name = os.path.split(path)
    names: dict[str, str] = {}
    for one in sorted(os.listdir(directory)) if os.path.isdir(directory) else ():
        time = one.removeprefix(f"{name}.").removesuffix(".gz")
        if len(time) == 15 and time[8] == "-" and time[:8].isdigit() and time[9:].isdigit():
            names.setdefault(time, one)  # without .gz: whole as long as it is there
    for one in list(names.values())[-FILES:]:
        try:
            found.append(LogFile(f"{directory}/{one}", flags))
        except FileNotFoundError:
            continue  # compressed or thrown away just now


def next_after(file: LogFile | None, path: str, flags: int = 0, *, packed: bool = False) -> LogFile | None:
    """The file that was begun after this one, once there is one; without one, or when it is gone, the oldest."""
    if file is not None:
        try:
            if os.stat(path).st_ino == file.inode:
                return None
        except FileNotFoundError:
            pass  # a rotation is under way
    files = chain(path, flags, packed=packed)
    place = -1
    if file is not None:
        inodes = [one.inode for one in files]
        if file.inode in inodes:
            place = inodes.index(file.inode)
        else:
            place = next((at for at, one in enumerate(files) if one.packed and one.packs(file)), -1)
    found = files[place + 1] if place + 1 < len(files) else None
    for one in files:
        if one is not found:
            one.close()
    return found
