"""Container logs in the CRI format, written by the shim, read by everybody (core/logreading).

One entry per line of the file:

    2026-11-20T23:14:07.412345678Z stdout F the line\\n      a whole line, or the end of one
    2026-11-20T23:14:07.412345678Z stderr P no newline y     a part; the next entry of that stream goes on

(kubernetes/design-proposals, kubelet-cri-logging.md). `ctr.log` rotates to `ctr.log.1`, `ctr.log.2` ...
"""

from __future__ import annotations

import os
import time


class LogWriter:
    """Appends what one read(2) of the container's output gave. One timestamp and one write(2) per call."""

    def __init__(self, path: str, max_size: int = 10 * 1024 * 1024, max_files: int = 3, fd: int = -1) -> None:
        """`max_size` in bytes, 0 or less never rotates; `max_files` counts the current file too. `fd` is the file of
        another writer that has it open already."""
        self.path = path
        self.max_size = max_size
        self.max_files = max(1, max_files)
        self._second = -1
        self._second_text = ""
        self.fd = fd
        self.size = 0
        try:
            if fd < 0:
                self._open()
            else:
                self.size = os.fstat(fd).st_size
        except OSError:
            pass  # disk full: the container runs without, each write tries again

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self.fd = os.open(self.path, flags, 0o600)
        self.size = os.fstat(self.fd).st_size

    def _stamp(self) -> str:
        now = time.time_ns()
        second = now // 1_000_000_000
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{now % 1_000_000_000:09d}Z"

    def write(self, stream: str, data: bytes) -> None:
        """Log `data` of "stdout" or "stderr". Raises OSError (disk full) with the file as it was."""
        if not data:
            return
        if self.fd < 0:
            self._open()
        head = f"{self._stamp()} {stream} "
        end = data.rfind(b"\n") + 1
        entry = b""
        if end:
            full = f"{head}F ".encode()
            # one C-level pass instead of a loop over the lines
            entry = full + data[: end - 1].replace(b"\n", b"\n" + full) + b"\n"
        if end < len(data):
            entry += f"{head}P ".encode() + data[end:] + b"\n"
        view = memoryview(entry)
        try:
            while view:
                view = view[os.write(self.fd, view) :]
        except OSError:
            # a torn entry would spoil the next one, too
            os.ftruncate(self.fd, self.size)
            raise
        self.size += len(entry)
        if 0 < self.max_size <= self.size:
            try:
                self.rotate()
            except OSError:
                pass  # this entry is written; the next one tries to open again

    def rotate(self) -> None:
        """Shift the files by one and go on in a new one; the oldest goes."""
        # another file may get this number before the new log is open
        self.close()
        if self.max_files == 1:
            os.unlink(self.path)
        for number in range(self.max_files - 1, 0, -1):
            older = f"{self.path}.{number - 1}" if number > 1 else self.path
            try:
                os.rename(older, f"{self.path}.{number}")
            except FileNotFoundError:
                pass  # not that many files yet
        self._open()

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
