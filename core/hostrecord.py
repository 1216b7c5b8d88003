"""The past of every other cgroup on the machine: docker's, podman's, systemd's services. What `pyctr record` does.

    <root>/record/<path of the group>/history        a ring (`ring`), as each container of ours has one itself
    <root>/record/<path of the group>/processes      the heaviest of its processes (`heaviest`)

Groups are found in the cgroup tree alone, nobody is asked. One that has been made anew under the same name is told by
its inode. Rings of groups that are gone are kept until room is needed; the oldest go first.
"""

from __future__ import annotations

import os
import time

from pyctr.core import cgroups, closelook, errors, fsutil, growth, heaviest, hosthistory, redo, ring
from pyctr.core.cgroups.group import Manager
from pyctr.core.cgroupstats import Sampler
from pyctr.core.linux import procfs
from pyctr.core.runtime import offices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyctr.core.cgroupstats import Sample
    from pyctr.core.paths import Paths

DIRECTORY = "record"
EVERY = float(ring.TIERS[0][0])
FIND = 15.0
"""Seconds between two looks at the tree for what is new or gone."""
CLOSELY = float(heaviest.FORMAT.tiers[0][0]) - 1
ROOM = 256 << 20
"""Bytes that all rings together may take: some 380 full ones."""
DEEPEST = 8
"""Levels of the tree. Below the group of a container are its own."""
RING = ring.FORMAT.room + heaviest.FORMAT.room
"""Bytes of one that is full, with its processes."""


def place(paths: Paths, group: str) -> str:
    """The ring of a cgroup ("/docker/<id>")."""
    return f"{paths.root}/{DIRECTORY}{group}/{ring.FILE}"


def recorded(paths: Paths) -> Iterator[tuple[str, os.stat_result]]:
    """(group, status of its ring) of all that are on record, also of groups that are gone."""
    top = f"{paths.root}/{DIRECTORY}"
    for directory, _, names in os.walk(top):
        if ring.FILE in names:
            try:
                yield directory[len(top) :], os.stat(f"{directory}/{ring.FILE}")
            except FileNotFoundError:
                continue  # made room for another one


class _Known:
    __slots__ = ("inode", "processes", "sleeps", "through", "writer")

    def __init__(self, inode: int, path: str, log: redo.Redo) -> None:
        self.inode = inode
        self.writer = ring.Writer(path, log)
        self.processes = heaviest.Writer(f"{os.path.dirname(path)}/{heaviest.FILE}", log)
        self.sleeps: dict[closelook.Sleep, float] = {}
        self.through: int | None = None
        """A process in a network of its own, by which that is measured."""


class HostRecorder:
    """Raises Conflict when another one is at work on these roots, PyctrError where there are no cgroups."""

    def __init__(self, paths: Paths, room: int = ROOM) -> None:
        self.paths = paths
        self._room = room
        self._layout = cgroups.detect(paths.cgroup_root)
        fsutil.make_private_directory(paths.run)
        fsutil.make_private_directory(f"{paths.root}/{DIRECTORY}")
        self._lock = offices.take(f"{paths.run}/{DIRECTORY}.lock")
        if self._lock < 0:
            raise errors.Conflict("this machine is recorded already", hint="by 'systemctl status pyctr-record'?")
        self._boot = int(procfs.boot_id(paths.proc).replace("-", "")[:8] or "0", 16)
        self._sampler = Sampler(self._layout, paths.proc, medium=1.0, slow=20.0)
        self._network = _network(paths.proc, 1)
        redo.mend(paths)
        self.redo = redo.Redo(paths, redo.OTHERS)
        self._host = hosthistory.Writer(paths, self._boot, self.redo)
        self.known: dict[str, _Known] = {}
        self._closely = 0.0
        """When the processes are looked at next, by the monotonic clock."""

    @property
    def tree(self) -> str:
        """The hierarchy that is looked at: with v1 one of those that have the counters; groups have the same path in
        each."""
        for name in ("memory", "pids", "cpuacct", "cpu"):
            if directory := self._layout.controllers.get(name):
                return directory
        return self._layout.unified

    def run(self, wait: Callable[[float], bool]) -> None:
        """Record until `wait(seconds)` says that it is enough."""
        due = 0.0
        while True:
            if time.monotonic() >= due:
                self.find()
                due = time.monotonic() + FIND
            self.record()
            if wait(EVERY - time.time() % EVERY):
                return

    def find(self) -> None:
        """Look for groups that are new or gone, and make room."""
        found = dict(self._groups("", DEEPEST))
        for group in self.known.keys() - found.keys():
            self._forget(group)
        room = self._make_room(found)
        for group, inode in found.items():
            known = self.known.get(group)
            if known is not None and known.inode != inode:
                self._forget(group)
                known = None
            if known is None:
                path = place(self.paths, group)
                if not os.path.exists(path):
                    if room < RING:
                        continue  # until another one goes
                    room -= RING
                    fsutil.make_private_directory(os.path.dirname(path))
                known = self.known[group] = _Known(inode, path, self.redo)
            known.through = self._through(group)

    def record(self) -> None:
        """Measure the machine and every known group once, and write it down."""
        try:
            self._host.add(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), self._sampler.sample_host())
        except OSError:
            pass  # the disk is full: a gap
        closely = time.monotonic() >= self._closely
        if closely:
            self._closely = time.monotonic() + CLOSELY
        for group, known in list(self.known.items()):
            sample = self._sampler.sample(group, known.through)
            if not sample.known:
                continue  # gone: the next look notices
            sample.monotonic = time.clock_gettime(time.CLOCK_BOOTTIME)
            try:
                if closely:
                    self._look_closely(group, known, sample)
                known.writer.add(time.time(), self._boot, known.inode, sample)
            except OSError:
                continue  # the disk is full: a gap
        self.redo.flush(sync=True)

    def _look_closely(self, group: str, known: _Known, sample: Sample) -> None:
        pids = Manager(self._layout, group).pids()
        seen: list[procfs.Stat] = []
        known.sleeps = closelook.fill(sample, pids, self.paths.proc, known.sleeps, sample.monotonic, seen)
        known.processes.add(time.time(), self._boot, known.inode, seen, len(pids))
        upper = growth.upper_of(pids[0], self.paths.proc) if pids else ""
        try:
            # a service of a host whose own root is an overlay has none of its own
            if upper and upper != growth.upper_of(1, self.paths.proc):
                sample.layer = closelook.written(upper)
        except OSError:
            pass  # it ended just now

    def close(self) -> None:
        self.redo.close()
        self._sampler.close()
        os.close(self._lock)

    def _forget(self, group: str) -> None:
        self._sampler.forget(group)
        del self.known[group]

    def _groups(self, group: str, levels: int) -> Iterator[tuple[str, int]]:
        """(path, inode) of the groups that have processes, themselves or below them; not of our own."""
        try:
            entries = [entry for entry in os.scandir(self.tree + group) if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return  # it went while we looked
        for entry in entries:
            path = f"{group}/{entry.name}"
            if path == f"/{self.paths.cgroup_parent}":
                continue  # who is in there has its own record
            if self._inhabited(path):
                yield path, entry.inode() & 0xFFFFFFFF
            if levels > 1:
                yield from self._groups(path, levels - 1)

    def _inhabited(self, group: str) -> bool:
        return self._first(group) > 0

    def _first(self, group: str) -> int:
        try:
            with open(f"{self.tree}{group}/cgroup.procs", "rb", buffering=0) as file:
                word = file.read(16).split(b"\n")[0]
        except OSError:
            return 0  # gone, or a threaded group of v2, whose domain is measured
        return int(word) if word.isdigit() else 0

    def _through(self, group: str) -> int | None:
        pid = self._first(group)
        network = _network(self.paths.proc, pid) if pid else 0
        return pid if network and network != self._network else None

    def _make_room(self, live: dict[str, int]) -> int:
        """Remove the oldest rings of groups that are gone until one more fits; bytes that are left then.

        A ring counts as full: it will be.
        """
        rings = sorted(recorded(self.paths), key=lambda one: one[1].st_mtime)
        room = self._room - RING * len(rings)
        wanted = RING * sum(1 for group in live if not os.path.exists(place(self.paths, group)))
        for group, _ in rings:
            if room >= min(wanted, self._room):
                break
            if group not in live:
                _remove(self.paths, group)
                room += RING
        return room


def _remove(paths: Paths, group: str) -> None:
    top = f"{paths.root}/{DIRECTORY}"
    try:
        for name in (ring.FILE, heaviest.FILE):
            if os.path.exists(path := f"{top}{group}/{name}"):
                os.unlink(path)
        while group:
            os.rmdir(top + group)
            group = group.rpartition("/")[0]
    except OSError:
        return  # somebody else's ring is below it


def _network(proc: str, pid: int) -> int:
    try:
        return os.stat(f"{proc}/{pid}/ns/net").st_ino
    except OSError:
        return 0
