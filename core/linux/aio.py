"""fsync(2) without waiting for it: the kernel's asynchronous I/O (io_submit(2)), which hands it to a thread of its own.

A thread of ours could do that, too, but a steward forks its heir, and nobody forks safely beside threads.
"""

from __future__ import annotations

import errno
import struct

from pyctr.core.linux.const import SYSCALLS
from pyctr.core.linux.foreign import addressof, buffer
from pyctr.core.linux.libc import syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FSYNC, FDSYNC = 2, 3
"""IOCB_CMD_..., since Linux 4.18."""
_IOCB = struct.Struct("<QIIHhIQqqQII")
"""struct iocb of linux/aio_abi.h: data, key, flags, opcode, priority, descriptor, buffer, bytes, offset, .., .., .."""
_EVENT = struct.Struct("<QQqq")
_MOST = 4


class Flusher:
    """A few fsyncs under way. Raises OSError where the kernel has none, or has no place for one more process.

    There is nothing to close: io_destroy(2) would wait for a disk that does not answer. The kernel does so at the
    process's end.
    """

    def __init__(self) -> None:
        if "io_setup" not in SYSCALLS:
            raise OSError(errno.ENOSYS, "io_setup: not known of this machine")
        place = buffer(8)
        syscall(SYSCALLS["io_setup"], _MOST, addressof(place), name="io_setup")
        self._context = int.from_bytes(place[:], "little")
        self._left = 0
        self.failed = 0
        """The errno of one that has failed, until somebody sets it to 0."""

    def busy(self) -> bool:
        """Whether one is still under way. Raises OSError."""
        if self._left:
            events: Any = buffer(_EVENT.size * _MOST)
            now = buffer(16)
            got = syscall(
                SYSCALLS["io_getevents"], self._context, 0, self._left, addressof(events), addressof(now),
                name="io_getevents",
            )  # fmt: skip
            for number in range(got):
                _, _, result, _ = _EVENT.unpack_from(events, number * _EVENT.size)
                self.failed = -result if result < 0 else self.failed
            self._left -= got
        return self._left > 0

    def begin(self, opcode: int, fd: int) -> None:
        """Have FSYNC or FDSYNC done to what a descriptor is of, which may be closed then. Raises OSError."""
        block = buffer(_IOCB.pack(0, 0, 0, opcode, 0, fd, 0, 0, 0, 0, 0, 0), _IOCB.size)
        pointer = buffer(addressof(block).to_bytes(8, "little"), 8)
        syscall(SYSCALLS["io_submit"], self._context, 1, addressof(pointer), name="io_submit")
        self._left += 1
