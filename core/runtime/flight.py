"""What every container of this host uses is written down, every five seconds, into the container's ring.

A shim that measured its own container would have to wake for it, and a shim that has woken owns 1 to 3 MB of memory
that it shared before (decision 0019). So one process does it for all of them, the `steward`.

What runs is known from `<run>/containers`; what was measured goes to `<container>/history` (`ring`).
"""

from __future__ import annotations

import os
import time

from pyctr.core import cgroups, closelook, fsutil, heaviest, hosthistory, redo, ring
from pyctr.core.cgroups.group import Manager
from pyctr.core.cgroupstats import Sample, Sampler
from pyctr.core.linux import procfs
from pyctr.core.paths import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyctr.core.runtime.loop import Loop

EVERY = float(ring.TIERS[0][0])
_SLICE = 32
"""Containers measured before the loop's others have their turn: 3 ms."""
_PAUSE = 0.02
_CLOSELY = 20.0
"""Seconds after which all have been looked at closely, unless that takes longer than _SHARE of each interval."""
_SHARE = 0.005
"""Seconds of an interval: 0.1 % of a core. What is over goes to the next one."""
_CHILDREN = 100
"""Of a first process, that are looked at for zombies."""
_ENTRIES = 5000
"""Files of a layer: some 7 ms. That of a larger one is the screens' to measure."""


class _Known:
    """A container that is measured."""

    __slots__ = ("group", "pid", "process", "processes", "round", "sleeps", "stamp", "through", "writer")

    def __init__(self, directory: str, log: redo.Redo) -> None:
        self.writer = ring.Writer(f"{directory}/{ring.FILE}", log)
        self.processes = heaviest.Writer(f"{directory}/{heaviest.FILE}", log)
        self.stamp = 0
        self.group = ""
        self.pid = 0
        self.process: dict[str, int] = {}
        """The last one on record: a `state.Process`."""
        self.through: int | None = None
        """The process by which its network is measured; none where that is somebody else's, too."""
        self.round = -1
        """Of closer looks, the last that it had."""
        self.sleeps: dict[closelook.Sleep, float] = {}


class Recorder:
    """Measures every container that has a shim, and writes it down."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self._boot = int(procfs.boot_id(paths.proc).replace("-", "")[:8] or "0", 16)
        # of a group that does not run only what others may change is looked at
        self._layout = cgroups.detect(paths.cgroup_root)
        self._sampler = Sampler(self._layout, paths.proc, _descriptors(), medium=1.0, slow=20.0)
        self._known: dict[str, _Known] = {}
        # where the kernel does not tell them, to find a process's children is to look at every process
        self._counts = os.path.exists(f"{paths.proc}/self/task/{os.getpid()}/children")
        redo.mend(paths)
        self._redo = redo.Redo(paths, redo.CONTAINERS)
        self._host = hosthistory.Writer(paths, self._boot, self._redo)
        self._round, self._begun, self._left, self._late = 0, time.monotonic(), _SHARE, False

    def ids(self) -> list[str]:
        """Of those that run now, once in an interval; what is known of others is forgotten."""
        self._left = _SHARE
        if not self._late and time.monotonic() - self._begun >= _CLOSELY - 1:
            self._round, self._begun = self._round + 1, time.monotonic()
        self._late = False
        try:
            ids = os.listdir(f"{self.paths.run}/containers")
        except FileNotFoundError:
            ids = []
        except OSError:
            return []  # no descriptor is free just now: a gap, and nothing is forgotten
        for id in self._known.keys() - set(ids):
            self._sampler.forget(self._known.pop(id).group)
        return ids

    def record_host(self) -> None:
        """The machine itself, which is the header's line when somebody looks back. Raises OSError."""
        self._host.add(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), self._sampler.sample_host())

    def record(self, id: str) -> bool:
        """Measure one now; False when there is nothing to measure, or no room to write it down."""
        known = self._known.get(id)
        if known is None:
            known = self._known[id] = _Known(self.paths.container(id), self._redo)
        if not self._look(known, id):
            return False
        sample = self._sampler.sample(known.group, known.through)
        if not sample.known or sample.pids == 0:
            return False  # it has ended just now
        if known.round != self._round:
            if self._left > 0:
                began = time.monotonic()
                self._look_closely(known, id, sample, began)
                known.round = self._round
                self._left -= time.monotonic() - began
            else:
                self._late = True
        sample.monotonic = time.clock_gettime(time.CLOCK_BOOTTIME)
        try:
            known.writer.add(time.time(), self._boot, known.pid, sample)
        except OSError:
            return False  # removed just now, or the disk is full: a gap
        return True

    def abandoned(self, id: str) -> bool:
        """Whether one that does not run has a shim no more, which would have taken it from `<run>/containers`."""
        process = self._known[id].process
        return bool(process) and not any(
            procfs.alive(process[f"{who}pid"], process[f"{who}start_time"], self.paths.proc) for who in ("", "shim_")
        )

    def flush(self, *, over: bool) -> None:
        """Have what was recorded survive a power cut, from the moment when all of an interval is `over`."""
        self._redo.flush(sync=over)

    def _look_closely(self, known: _Known, id: str, sample: Sample, now: float) -> None:
        pids = Manager(self._layout, known.group).pids()
        seen: list[procfs.Stat] = []
        known.sleeps = closelook.fill(sample, pids, self.paths.proc, known.sleeps, now, seen)
        dead = procfs.zombies(known.pid, self.paths.proc, _CHILDREN) if self._counts else 0
        try:
            known.processes.add(time.time(), self._boot, known.pid, seen, len(pids), dead)
        except OSError:
            pass  # removed just now, or the disk is full: a gap
        sample.log = closelook.logged(self.paths.container(id, "log", "ctr.log"))
        try:
            sample.layer = closelook.written(self.paths.container(id, "upper"), _ENTRIES)
        except OSError:
            pass  # another driver than overlay has none

    def _look(self, known: _Known, id: str) -> bool:
        """Read the record of a container again if it has changed; whether something of it runs."""
        path = self.paths.container(id, "state.json")
        try:
            stamp = os.stat(path).st_mtime_ns
            if stamp == known.stamp:
                return known.pid > 0
            state = fsutil.read_json(path)
        except (OSError, ValueError):
            return False
        process, network = state.get("process") or {}, state.get("network") or {}
        if known.group and known.pid != process.get("pid"):
            self._sampler.forget(known.group)
        known.stamp, known.group, known.process = stamp, state.get("group") or "", process
        known.pid = 0 if state.get("exit") or not known.group else int(process.get("pid") or 0)
        known.through = None if network.get("mode") in (None, "none", "host", "container") else known.pid
        return known.pid > 0

    def close(self) -> None:
        self._redo.flush(sync=True)
        self._redo.close()
        self._sampler.close()


def _descriptors() -> int:
    """How many may be kept: half of what the process may have at all."""
    try:
        with open("/proc/self/limits", "rb", buffering=0) as file:
            text = file.read(4096)
        return int(text[text.index(b"Max open files") :].split(None, 4)[3]) // 2
    except (OSError, ValueError, IndexError):
        return 256


class Flight:
    """The recorder at work, from now on; `settle` is told who was `abandoned`. Raises OSError, PyctrError where nothing
    can be measured."""

    def __init__(self, loop: Loop, paths: Paths, settle: Callable[[list[str]], None]) -> None:
        self._loop = loop
        self._recorder = Recorder(paths)
        self._settle = settle
        self._waiting: list[str] = []
        self._abandoned: list[str] = []
        self._turn()

    def _turn(self) -> None:
        if not self._waiting:
            self._waiting = self._recorder.ids()
            try:
                self._recorder.record_host()
            except Exception:
                pass  # as below; or the disk is full: a gap
        for _ in range(min(_SLICE, len(self._waiting))):
            id = self._waiting.pop()
            try:
                if not self._recorder.record(id) and self._recorder.abandoned(id):
                    self._abandoned.append(id)
            except Exception:
                continue  # a text of the kernel's that we do not understand is no reason to lose the others
        self._recorder.flush(over=not self._waiting)
        if self._abandoned and not self._waiting:
            self._settle(self._abandoned)
            self._abandoned = []
        # all of a host at the same moments, whoever is the recorder
        rest = _PAUSE if self._waiting else EVERY - time.time() % EVERY
        self._loop.at(time.monotonic() + rest, self._turn)

    def close(self) -> None:
        self._loop.at(None, self._turn)
        self._recorder.close()
