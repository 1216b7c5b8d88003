"""Who shares which namespace with whom, and with the host (namespaces(7), proc_pid_ns(5)).

A container stands for its first process. The host's namespaces are those of the host's first process, or where this
user may not look at that, our own, which are the same for whoever is not in a container.
"""

from __future__ import annotations

import os
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyctr.core.engine import Engine

OURS = "pyctr"
KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")


class Member(NamedTuple):
    engine: str
    id: str
    name: str
    pid: int
    """Of its first process, as the host counts."""


class Namespace(NamedTuple):
    kind: str
    inode: int
    """The kernel's number for it, as in `net:[4026531840]`."""
    host: bool
    """Whether it is the host's."""
    members: tuple[Member, ...]

    @property
    def shared(self) -> bool:
        return self.host or len(self.members) > 1


def everyone(engine: Engine) -> list[Member]:
    """Containers of any engine that run."""
    from pyctr.core import containers
    from pyctr.core.engines import lookup

    found = [
        Member(OURS, container.id, container.name, pid)
        for container in containers.all(engine)
        if (pid := container.pid)
    ]
    others, _ = lookup.look(engine, lookup.ALL)
    return found + [Member(one.engine, one.id, one.name or one.id[:12], one.pid) for one in others if one.pid]


def named(member: Member) -> str:
    """As `targets.find` takes it: `web`, `docker:web`."""
    return member.name if member.engine == OURS else f"{member.engine}:{member.name}"


def survey(members: Iterable[Member], proc: str = "/proc") -> tuple[list[Namespace], int]:
    """By kind, the host's first and then those with most members; and how many members this user may not look at.

    Namespaces of the host alone are there too, with no members."""
    host = {kind: inode for kind in KINDS if (inode := _inode(proc, 1, kind) or _inode(proc, "self", kind))}
    found: dict[tuple[str, int], list[Member]] = {(kind, inode): [] for kind, inode in host.items()}
    unreadable = 0
    for member in members:
        its = {kind: inode for kind in KINDS if (inode := _inode(proc, member.pid, kind))}
        if not its:
            # one that ended meanwhile is as if it had not been there
            unreadable += os.path.exists(f"{proc}/{member.pid}/stat")
        for kind, inode in its.items():
            found.setdefault((kind, inode), []).append(member)
    every = [
        Namespace(kind, inode, host.get(kind) == inode, tuple(sorted(those, key=lambda one: (one.name, one.engine))))
        for (kind, inode), those in found.items()
    ]
    every.sort(key=lambda one: (one.kind, not one.host, -len(one.members), one.inode))
    return every, unreadable


def _inode(proc: str, pid: int | str, kind: str) -> int:
    """0 where the kernel has no such kind, the process has ended, or is not ours to look at."""
    try:
        link = os.readlink(f"{proc}/{pid}/ns/{kind}")
    except OSError:
        return 0
    return int(link.partition("[")[2].rstrip("]"))
