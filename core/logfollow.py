"""Following a growing, rotating log without polling: inotify(7) on its directory and poll(2) on a stop descriptor."""

from __future__ import annotations

import os
import select

from pyctr.core.linux import inotify
from pyctr.core.logentries import CRI
from pyctr.core.logfiles import next_after

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyctr.core.logentries import Form
    from pyctr.core.logfiles import LogFile


def follow(
    path: str,
    file: LogFile | None,
    stop: int = -1,
    current: Callable[[], None] | None = None,
    *,
    form: Form = CRI,
) -> Iterator[bytes]:
    """Entries of a log from the position of `file` on, across rotations.

    None for `file` starts with the oldest one there will be. Takes `file` over. Ends when `stop` is readable, after
    what was written before. `current` is called once, when all that was there at first has been taken.
    """
    tail = _Tail(path, file, form)
    watch = inotify.init()
    try:
        # the directory, not the file: a rotation makes a new file, and the first may not be there yet
        mask = inotify.IN_MODIFY | inotify.IN_CREATE | inotify.IN_MOVED_TO
        inotify.add_watch(watch, os.path.dirname(path), mask)
        poller = select.poll()
        poller.register(watch, select.POLLIN)
        if stop >= 0:
            poller.register(stop, select.POLLIN)
        yield from tail.grown()
        if current is not None:
            current()
        while True:
            ready = {fd for fd, _ in poller.poll()}
            if watch in ready:
                inotify.drain(watch)
            yield from tail.grown()
            if stop in ready:
                return
    finally:
        tail.close()
        os.close(watch)


class _Tail:
    def __init__(self, path: str, file: LogFile | None, form: Form) -> None:
        self.path = path
        self.file = file
        self.form = form

    def grown(self) -> Iterator[bytes]:
        """New whole entries; goes on in the newer file after a rotation."""
        while True:
            # asked before reading: the writer renames after its last write, so then this read finds the end
            newer = next_after(self.file, self.path, self.form.flags, packed=self.form.packed)
            try:
                if self.file is not None:
                    yield from self._entries(self.file)
            except BaseException:
                if newer is not None:
                    newer.close()
                raise
            if newer is None:
                return
            self.close()
            self.file = newer

    def _entries(self, file: LogFile) -> Iterator[bytes]:
        if not file.packed and file.size < file.position:
            # docker's way with one file only, and of those who copy a log away: it was emptied and begins anew
            file.position = 0
        return file.entries(self.form.cut)

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None
