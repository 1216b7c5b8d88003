"""The TUI in a pty: time to the first useful frame, CPU and bytes while it runs."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from pathlib import Path


class Screen:
    """A program in a 120x40 terminal; reads and counts what it writes."""

    def __init__(self, words: list[str], env: dict[str, str], rows: int = 40, columns: int = 120) -> None:
        self.began = time.perf_counter()
        self.seen = b""
        self.count = 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(words[0], words, {**env, "TERM": "xterm-256color", "COLORTERM": "truecolor"})
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, text: bytes, seconds: float) -> float:
        """Seconds from the start until the program wrote `text`; RuntimeError if it never did."""
        deadline = time.perf_counter() + seconds
        while text not in self.seen:
            self.read(deadline - time.perf_counter())
            if time.perf_counter() > deadline:
                raise RuntimeError(f"no {text!r} within {seconds} s: {self.seen[-400:]!r}")
        return time.perf_counter() - self.began

    def read(self, seconds: float) -> None:
        if seconds > 0 and select.select([self.fd], [], [], seconds)[0]:
            piece = os.read(self.fd, 65536)
            self.count += len(piece)
            self.seen = (self.seen + piece)[-200_000:]

    def watch(self, seconds: float) -> tuple[float, float]:
        """CPU as a fraction of one core, and bytes per second, over an interval."""
        before, count, began = self.cpu(), self.count, time.perf_counter()
        while (left := began + seconds - time.perf_counter()) > 0:
            self.read(left)
        took = time.perf_counter() - began
        return (self.cpu() - before) / took, (self.count - count) / took

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        os.kill(self.pid, signal.SIGTERM)
        while True:
            try:
                self.read(1)
            except OSError:
                break  # the terminal's other side is gone: the program ended
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                break
        os.close(self.fd)
