"""Who of a shim's children has ended: the container's first process, execs, probes, adopted orphans."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports enum
import os

from pyctr.core.runtime.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyctr.core.runtime.loop import Loop


class Children(dict[int, "Callable[[int], None]"]):
    """pid -> what is called with its exit code (negative: the signal) when it has been reaped."""

    def watch(self, loop: Loop) -> None:
        """SIGCHLD as bytes in a pipe: ours, and orphans of a container that shares the host's pid namespace."""
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        _signal.signal(_signal.SIGCHLD, lambda number, frame: None)
        loop.add(reader, READ, lambda events: self._reap(reader))
        os.write(writer, b"!")  # who died before this is reaped by the first turn

    def _reap(self, reader: int) -> None:
        try:
            while os.read(reader, 512):
                pass
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if handler := self.pop(pid, None):
                handler(os.waitstatus_to_exitcode(status))
