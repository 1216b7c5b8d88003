"""Following a growing, rotating log without polling: inotify(7) on its directory and poll(2) on a stop descriptor."""

from __future__ import annotations

import os
import select

from pyctr.core.linux import inotify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def follow(
    path: str,
    fd: int,
    position: int,
    stop: int = -1,
    current: Callable[[], None] | None = None,
    *,
    flags: int = 0,
) -> Iterator[bytes]:
    """Entries (without newline) of a log from `position` of the open file `fd` on, across rotations.

    -1 for `fd` starts with `path` itself. Takes `fd` over. Ends when `stop` is readable, after what was written before.
    `current` is called once, when all that was there at first has been taken. `flags` are for open(2), besides reading.
    """
    directory, _ = os.path.split(path)
    file = _Tail(path, fd, position, os.O_RDONLY | os.O_CLOEXEC | flags)
    watch = inotify.init()
    try:
        # the directory, not the file: a rotation makes a new file, and the first may not be there yet
        inotify.add_watch(watch, directory, inotify.IN_MODIFY | inotify.IN_CREATE | inotify.IN_MOVED_TO)
        poller = select.poll()
        poller.register(watch, select.POLLIN)
        if stop >= 0:
            poller.register(stop, select.POLLIN)
        yield from file.grown()
        if current is not None:
            current()
        while True:
            ready = {fd for fd, _ in poller.poll()}
            if watch in ready:
                inotify.drain(watch)
            yield from file.grown()
            if stop in ready:
                return
    finally:
        file.close()
        os.close(watch)


class _Tail:
    def __init__(self, path: str, fd: int, position: int, flags: int) -> None:
        self.flags = flags
        self.path = path
        self.fd = fd
        self.position = position
        self.carry = b""

    def grown(self) -> Iterator[bytes]:
        """New whole entries; goes on in the newer file after a rotation."""
        while True:
            if self.fd < 0:
                try:
                    self.fd = os.open(self.path, self.flags)
                except FileNotFoundError:
                    return  # not there yet: its creation wakes us
            # asked before reading: the writer renames after its last write, so then this read finds the end
            newer = self._newer()
            while block := os.pread(self.fd, 1 << 16, self.position):
                self.position += len(block)
                entries = (self.carry + block).split(b"\n")
                self.carry = entries.pop()
                yield from entries
            if newer is None:
                return
            os.close(self.fd)
            self.fd, self.position, self.carry = newer, 0, b""

    def _newer(self) -> int | None:
        """A descriptor of the next younger file after rotations; None when there is none, or it is not there yet."""
        own = os.fstat(self.fd).st_ino
        younger, number = -1, 0
        while True:
            name = f"{self.path}.{number}" if number else self.path
            try:
                fd = os.open(name, self.flags)
            except FileNotFoundError:
                if number and self._continues(number):
                    # a rotation is under way and has just moved this one on: what lies behind counts
                    if younger >= 0:
                        os.close(younger)
                    younger, number = -1, 0
                    continue
                if number:
                    return younger  # ours was rotated away entirely: the oldest there is
                fd = -1
            if fd >= 0 and os.fstat(fd).st_ino == own:
                os.close(fd)
                # a younger one that is only about to be made wakes us when it is; by then it may be several
                return younger if number and younger >= 0 else None
            if younger >= 0:
                os.close(younger)
            younger, number = fd, number + 1

    def _continues(self, number: int) -> bool:
        """Whether there is a file with a higher number."""
        directory, name = os.path.split(self.path)
        numbers = (entry[len(name) + 1 :] for entry in os.listdir(directory or ".") if entry.startswith(f"{name}."))
        return any(text.isdigit() and int(text) > number for text in numbers)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
