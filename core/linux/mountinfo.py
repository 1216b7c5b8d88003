"""Mounts as a process sees them: /proc/PID/mountinfo (proc_pid_mountinfo(5))."""

from __future__ import annotations

from pyctr.core.linux.mount import unescape


class Mount:
    """One line. `device` is "major:minor"; `root` the directory of that file system which is seen at `target`.

    `options` are those of the mount, `super_options` those of the file system.
    """

    __slots__ = ("device", "fstype", "options", "root", "source", "super_options", "target")

    def __init__(self, line: str) -> None:
        # optional fields end at a lone hyphen; nothing holds a blank, see `unescape`
        head, _, tail = line.rstrip("\n").partition(" - ")
        words = head.split(" ")
        self.device = words[2]
        self.root = unescape(words[3])
        self.target = unescape(words[4])
        self.options = words[5].split(",")
        kind, source, options = tail.split(" ", 2)
        self.fstype = unescape(kind)
        self.source = unescape(source)
        self.super_options = options.split(",")

    @property
    def read_only(self) -> bool:
        return "ro" in self.options or "ro" in self.super_options


def read(pid: int | str = "self", proc: str = "/proc") -> list[Mount]:
    """In the order of mounting. Raises OSError: the process is gone, or not ours to look at."""
    with open(f"{proc}/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return [Mount(line) for line in file]
