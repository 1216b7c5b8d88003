"""The processes that stand behind containers: what each was started with tells where its engine keeps its files.

containerd-shim-runc-v2 -namespace moby -id <id> -address <socket>      works in its bundle: <state>/.../<ns>/<id>
conmon -c <id> -b <bundle> -l k8s-file:<log> -n <name> --exit-command /usr/bin/podman --exit-command-arg --root ...
[lxc monitor] <lxcpath> <name>
dockerd --data-root <root> -H <socket>                containerd -c <configuration>
"""

from __future__ import annotations

import os
from itertools import pairwise
from typing import NamedTuple

KINDS = {
    b"containerd-shim": "shim",
    b"conmon": "conmon",
    b"conmonrs": "conmon",
    b"lxc-start": "lxc",
    b"lxd": "lxc",
    b"incusd": "lxc",
    b"dockerd": "dockerd",
    b"containerd": "containerd",
}
"""By /proc/PID/comm, which the kernel cuts at 15 bytes."""
YOUNG = 3
"""Looks for which a new process may still become another program."""
AFRESH = 60
"""Looks after which all are read again: a pid may have become another process's."""


class Process(NamedTuple):
    """One of them."""

    pid: int
    kind: str
    words: tuple[str, ...]
    directory: str
    """Where it works; "" without the right to know."""

    def flag(self, *names: str) -> str:
        """The value of `-id X`, `--data-root=X`; the first that is there."""
        for place, word in enumerate(self.words):
            for name in names:
                if word == name and place + 1 < len(self.words):
                    return self.words[place + 1]
                if word.startswith(f"{name}="):
                    return word[len(name) + 1 :]
        return ""

    def after(self, flag: str, name: str) -> str:
        """What conmon's `--exit-command-arg NAME --exit-command-arg VALUE` hands on."""
        arguments = [self.words[place + 1] for place, word in enumerate(self.words[:-1]) if word == flag]
        return next((value for key, value in pairwise(arguments) if key == name), "")


class Processes:
    """Looks again and again; only new processes are read."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._known: dict[int, Process | None] = {}
        self._young: dict[int, int] = {}
        self._looks = 0

    def look(self) -> list[Process]:
        self._looks += 1
        if self._looks % AFRESH == 0:
            self._known = {}
        try:
            pids = {int(name) for name in os.listdir(self._proc) if name.isdigit()}
        except OSError:
            return []
        for pid in self._known.keys() - pids:
            del self._known[pid]
            self._young.pop(pid, None)
        for pid in pids:
            if pid not in self._known:
                self._young[pid] = YOUNG
            elif not self._young.get(pid) or self._known[pid] is not None:
                continue
            else:
                self._young[pid] -= 1
            self._known[pid] = self._read(pid)
        return [process for process in self._known.values() if process is not None]

    def _read(self, pid: int) -> Process | None:
        directory = f"{self._proc}/{pid}"
        try:
            comm = _text(f"{directory}/comm").rstrip(b"\n")
            kind = KINDS.get(comm)
            if kind is None:
                return None
            command = _text(f"{directory}/cmdline")
        except OSError:
            return None  # it ended just now
        words = tuple(word.decode("utf-8", "replace") for word in command.rstrip(b"\0").split(b"\0"))
        if kind == "lxc" and not words[0].startswith("[lxc monitor]"):
            return None
        try:
            place = os.readlink(f"{directory}/cwd")
        except OSError:
            place = ""  # another user's, or it ended
        return Process(pid, kind, words, place)


def _text(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 1 << 16)
    finally:
        os.close(fd)
