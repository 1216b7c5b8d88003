"""What the processes of a container have open: files, sockets with their addresses, and deleted files that still take
space (what `lsof +L1` shows).

Sources: proc_pid_fd(5), proc_pid_fdinfo(5), proc_pid_net(5), unix(7). Everything that comes from inside is text: faces
neutralise it. Nothing here waits for a FUSE daemon, and nothing is opened that a container could have put there. What
is looked at is bounded; what was left out is counted.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from pyctr.core import sockettables
from pyctr.core.linux import statx

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

FILE, DIRECTORY, SOCKET, PIPE, DEVICE, MEMORY, ANON, OTHER = KINDS = (
    "file", "directory", "socket", "pipe", "device", "memory", "anon", "other",
)  # fmt: skip
LIMIT = 65536
"""Descriptors looked at, if nobody says otherwise."""
PROCESSES = 4096
"""Processes looked at."""
COUNTED = 200_000
"""Descriptors counted of one process: to name them takes the kernel time, too."""
NAMED = 8
"""Processes named per file."""
_DELETED = " (deleted)"
_MODES = {os.O_RDONLY: "r", os.O_WRONLY: "w", os.O_RDWR: "rw", os.O_ACCMODE: "-"}
_BLOCK = 512


class OpenFile(NamedTuple):
    """One file, however many descriptors of however many processes lead to it."""

    kind: str
    path: str
    """As the container's processes know it; of a socket its protocol and addresses; of others what the kernel says."""
    mode: str
    """`r`, `w`, `rw`, of the first descriptor; `-` where none of it is allowed (O_PATH), empty if it is not known."""
    size: int | None
    """Bytes; None for what has none."""
    deleted: bool
    """No name leads to it any more."""
    held: int
    """Bytes on disk that closing a deleted one would free."""
    processes: int
    descriptors: int
    pids: tuple[int, ...]
    """The first of the processes, as the host counts."""


class OpenFiles(NamedTuple):
    files: tuple[OpenFile, ...]
    """Deleted ones first, those that hold most before; then by kind and path."""
    processes: int
    """Looked at."""
    descriptors: int
    """Looked at."""
    left_out: int
    """Descriptors that were not looked at; there may be more in a process with COUNTED or more."""
    passed_over: int
    """Processes that were not looked at, being too many."""
    unreadable: int
    """Processes that this user may not look at, or of which nothing was recorded."""

    @property
    def deleted(self) -> tuple[OpenFile, ...]:
        return tuple(file for file in self.files if file.deleted)

    @property
    def held(self) -> int:
        """Bytes on disk that are in no directory."""
        return sum(file.held for file in self.files)


class _Found:
    """A file while it is counted."""

    __slots__ = ("deleted", "descriptors", "held", "kind", "mode", "namespace", "path", "pids", "size")

    def __init__(self, kind: str, path: str) -> None:
        self.kind = kind
        self.path = path
        self.mode = ""
        self.size: int | None = None
        self.deleted = False
        self.held = 0
        self.namespace = ""
        self.pids: dict[int, None] = {}
        self.descriptors = 0

    def file(self) -> OpenFile:
        pids = tuple(sorted(self.pids))
        return OpenFile(
            self.kind, self.path, self.mode, self.size, self.deleted, self.held, len(pids), self.descriptors,
            pids[:NAMED],
        )  # fmt: skip


def read(pids: Iterable[int], proc: str = "/proc", *, limit: int = LIMIT) -> OpenFiles:
    """Of these processes; those that end meanwhile are as if they had not been there. Raises nothing of its own."""
    asked = sorted(pids)
    names: dict[int, list[str]] = {}
    uncounted = unreadable = 0
    for pid in asked[:PROCESSES]:
        try:
            names[pid], more = _descriptors(f"{proc}/{pid}/fd")
        except ProcessLookupError:
            continue  # it ended
        except FileNotFoundError:
            unreadable += os.path.exists(f"{proc}/{pid}/stat")  # a recording has no descriptors; else it ended
            continue
        except PermissionError:
            unreadable += 1
            continue
        uncounted += more
    found: dict[tuple[object, ...], _Found] = {}
    looked, rest = 0, limit
    # few descriptors first: what they do not need of their share is left to those with many
    order = sorted(names, key=lambda pid: len(names[pid]))
    for place, pid in enumerate(order):
        share = names[pid][: rest // (len(order) - place)]
        uncounted += len(names[pid]) - len(share)
        rest -= len(share)
        looked += len(share)
        _look(pid, share, proc, found)
    _addresses(found, proc)
    files = sorted((one.file() for one in found.values()), key=_order)
    return OpenFiles(tuple(files), len(names), looked, uncounted, max(0, len(asked) - PROCESSES), unreadable)


def _order(file: OpenFile) -> tuple[object, ...]:
    return not file.deleted, -file.held, KINDS.index(file.kind), file.path


def _descriptors(directory: str) -> tuple[list[str], int]:
    """The names in it, and how many of them are too many."""
    names: list[str] = []
    more = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            if len(names) < LIMIT:
                names.append(entry.name)
            else:
                more += 1
                if len(names) + more >= COUNTED:
                    break
    return names, more


def _look(pid: int, names: list[str], proc: str, found: dict[tuple[object, ...], _Found]) -> None:
    namespace = _link(f"{proc}/{pid}/ns/net")
    for name in names:
        path = f"{proc}/{pid}/fd/{name}"
        target = _link(path)
        if not target:
            continue  # closed meanwhile
        key: tuple[object, ...]
        known = None
        if target.startswith("/"):
            known = _stat(path)
            # the descriptors of one file agree in it, not in its name: there may be links, and other mounts of it
            key = (known.device, known.inode) if known is not None else (target,)
        else:
            # of these the kernel has one inode for all (anon_inode), or says the inode
            key = (target,)
        if (one := found.get(key)) is None:
            one = found[key] = _Found(_kind(target), target)
            one.mode = _mode(f"{proc}/{pid}/fdinfo/{name}")
            one.namespace = namespace
            if known is not None:
                _describe(one, known)
        one.descriptors += 1
        one.pids[pid] = None


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""  # closed or ended meanwhile, or not ours to look at


def _stat(path: str) -> statx.Known | None:
    try:
        return statx.cached(path)
    except OSError:
        return None  # closed meanwhile, or on a server that is gone


def _mode(path: str) -> str:
    """`flags:\\t0100002` in octal."""
    try:
        with open(path, "rb") as file:
            for line in file:
                if line.startswith(b"flags:"):
                    flags = int(line.split()[1], 8)
                    return "-" if flags & os.O_PATH else _MODES[flags & os.O_ACCMODE]
    except (OSError, ValueError, IndexError):
        pass  # closed meanwhile: that it was open is all that is known
    return ""


def _kind(target: str) -> str:
    if target.startswith("/"):
        return FILE
    word = target.partition(":")[0]
    return {"socket": SOCKET, "pipe": PIPE, "anon_inode": ANON}.get(word, OTHER)


def _describe(one: _Found, known: statx.Known) -> None:
    kind = stat.S_IFMT(known.mode)
    if kind in (stat.S_IFCHR, stat.S_IFBLK):
        one.kind = DEVICE
    elif kind == stat.S_IFIFO:
        one.kind = PIPE
    elif kind == stat.S_IFDIR:
        one.kind = DIRECTORY
    elif kind == stat.S_IFSOCK:
        one.kind = SOCKET
    gone = known.links == 0
    if gone:
        # of a name that really ends so, there would be links
        one.path = one.path.removesuffix(_DELETED)
    if kind != stat.S_IFREG:
        return
    one.size = known.size
    if gone and one.path.startswith("/memfd:"):
        one.kind = MEMORY  # it never had a name, and takes no disk
    elif gone:
        one.deleted = True
        one.held = known.blocks * _BLOCK


def _addresses(found: dict[tuple[object, ...], _Found], proc: str) -> None:
    """What the tables of their network namespaces call the sockets; one table serves all of a namespace."""
    wanted: dict[str, dict[int, _Found]] = {}
    for one in found.values():
        if one.kind == SOCKET and one.path.startswith("socket:["):
            wanted.setdefault(one.namespace, {})[int(one.path[8:].rstrip("]"))] = one
    for sockets in wanted.values():
        pid = next(iter(next(iter(sockets.values())).pids))
        names = sockettables.names(f"{proc}/{pid}/net", sockets.keys())
        for inode, name in names.items():
            sockets[inode].path = name
