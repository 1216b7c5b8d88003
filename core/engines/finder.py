"""The containers of other engines right now: what the kernel runs, joined with what the engines have on record.

A group is the container whose id its name has; a record whose container has a group of another name is known by its
process. A record alone is a container that does not run, a group alone one of which nobody here may read the record.
"""

from __future__ import annotations

import os

from pyctr.core.cgroups.files import read_or
from pyctr.core.engines import groups
from pyctr.core.engines.containerd import DOCKERS
from pyctr.core.engines.model import Foreign
from pyctr.core.engines.processes import Processes
from pyctr.core.engines.stores import Stores, monitored
from pyctr.core.linux import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyctr.core.cgroups import Layout
    from pyctr.core.engines.groups import Group
    from pyctr.core.engines.processes import Process
    from pyctr.core.paths import Paths


class _Life:
    """An incarnation: which process, in which group."""

    __slots__ = ("born", "identity", "networked", "pid", "started_at")

    def __init__(self, identity: tuple[int, int], pid: int, born: int, started_at: float, networked: bool) -> None:
        self.identity = identity
        self.pid = pid
        self.born = born
        self.started_at = started_at
        self.networked = networked


class Finder:
    """Looks again and again, in one thread. `services` has systemd's services, too."""

    def __init__(self, paths: Paths, layout: Layout, *, services: bool = False) -> None:
        self.limited = ""
        """What this user may not know; empty when everything may be known."""
        self._paths = paths
        self._layout = layout
        self._services = services
        self._processes = Processes(paths.proc)
        self._stores = Stores(paths)
        self._lives: dict[str, _Life] = {}
        self._boot: float | None = None

    def look(self) -> tuple[Foreign, ...]:
        """Never raises for what is missing, half-made or just going away."""
        processes = self._processes.look()
        records: dict[tuple[str, str], Foreign] = {}
        for record in self._stores.look(processes):
            records.setdefault((_kin(record.engine), record.id), record)
        self.limited = self._stores.limited
        behind = _supervisors(processes)
        found: dict[str, Foreign] = {}
        known: set[str] = set()
        for group in groups.walk(self._layout, services=self._services):
            if group.path == f"/{self._paths.cgroup_parent}/{group.id}" and group.id not in behind:
                known.add(group.id)  # ours
                continue
            one = self._of_group(group, records, behind)
            if one is not None:
                known.add(one.id)
                found[one.key] = one if one.inside in known or not one.inside else one._replace(inside="")
        for record in records.values():
            if record.key not in found:
                found[record.key] = self._alone(record, behind)
        self._lives = {key: life for key, life in self._lives.items() if key in found}
        return tuple(sorted(found.values(), key=lambda one: (one.engine, one.name, one.id)))

    def _of_group(
        self, group: Group, records: dict[tuple[str, str], Foreign], behind: dict[str, Process]
    ) -> Foreign | None:
        supervisor = behind.get(group.id)
        record = next((found for kin in ("oci", "lxc", "nspawn") if (found := records.get((kin, group.id)))), None)
        if group.engine in ("lxc", "nspawn", "systemd"):
            record = records.get((group.engine, group.id))
        if record is None:
            engine = _engine(supervisor) or group.engine or self._runner(group)
            if not engine:
                return None
            name = supervisor.flag("-n", "--name") if supervisor is not None else ""
            record = Foreign(engine, group.id, name)
        one = record._replace(
            name=record.name or record.short_id,
            group=group.path,
            inside=group.inside,
            supervisor=supervisor.pid if supervisor is not None else 0,
        )
        return self._alive(one, group.identity)

    def _runner(self, group: Group) -> str:
        """Who runs the processes in a group that has an id for a name and is in nobody's records. A pod has none of its
        own, and those of another pyctr have its shim above them."""
        for pid in sorted(self._own(group.path)):
            try:
                parent = procfs.stat(procfs.stat(pid, self._paths.proc).ppid, self._paths.proc)
            except (OSError, ValueError):
                continue  # ended just now
            return "other-pyctr" if parent.comm.startswith("pyctr") else "oci"
        return ""

    def _own(self, group: str) -> set[int]:
        text = read_or(f"{groups.top(self._layout)}{group}/cgroup.procs")
        return {int(word) for word in text.split() if word.isdecimal()}

    def _alone(self, record: Foreign, behind: dict[str, Process]) -> Foreign:
        """A record without a group of its name: its process may tell of another one."""
        supervisor = behind.get(record.id)
        pid = record.pid
        if supervisor is not None and supervisor.kind == "lxc":
            pid = next(iter(procfs.children(supervisor.pid, self._paths.proc)), 0)
        group = self._group_of(pid, supervisor.pid) if supervisor is not None and pid else ""
        name = record.name or record.short_id
        if not group or supervisor is None:
            return self._ended(record._replace(name=name))
        return self._alive(record._replace(name=name, group=group, pid=pid, supervisor=supervisor.pid), (0, 0))

    def _group_of(self, pid: int, parent: int) -> str:
        """The group of a supervisor's child; "" when it is not that: the record is old, and the pid somebody else's."""
        try:
            if procfs.stat(pid, self._paths.proc).ppid != parent:
                return ""
        except (OSError, ValueError):
            return ""
        path = ""
        for line in read_or(f"{self._paths.proc}/{pid}/cgroup").splitlines():
            _, controllers, where = line.split(":", 2)
            if (controllers == "" and not path) or "memory" in controllers.split(","):
                path = where
        return path if path != "/" else ""

    def _alive(self, one: Foreign, identity: tuple[int, int]) -> Foreign:
        """With what the kernel says: running, paused, or nothing in the group any more."""
        life = self._lives.get(one.key)
        if life is None or life.identity != identity or not self._still(life):
            pid = self._first(one)
            try:
                born = procfs.stat(pid, self._paths.proc).start_time if pid else 0
            except (OSError, ValueError):
                pid = 0
            if not pid:
                return self._ended(one)
            life = _Life(identity, pid, born, self._since(born), self._networked(pid))
            self._lives[one.key] = life
        return one._replace(
            status="paused" if self._frozen(one.group) else "running",
            pid=life.pid,
            own_network=life.networked,
            # a record may be of the incarnation before
            started_at=one.started_at if abs(one.started_at - life.started_at) < 5 else life.started_at,
            finished_at=0.0,
            exit_code=None,
            oom_killed=False,
        )

    def _still(self, life: _Life) -> bool:
        try:
            return procfs.alive(life.pid, life.born, self._paths.proc)
        except (OSError, ValueError):
            return False

    def _networked(self, pid: int) -> bool:
        """Whether its network is not this process's, whose counters would be taken for its own."""
        proc = self._paths.proc
        try:
            return os.readlink(f"{proc}/{pid}/ns/net") != os.readlink(f"{proc}/self/ns/net")
        except FileNotFoundError:
            return True  # a recorded host keeps the counters of those that have some
        except OSError:
            return False  # another user's: nothing said is better than the host's numbers

    def _frozen(self, group: str) -> bool:
        """By either freezer: on a host with both each engine has its own preference."""
        layout = self._layout
        if layout.unified and "frozen 1" in read_or(f"{layout.unified}{group}/cgroup.events"):
            return True
        return layout.version("freezer") == 1 and read_or(
            f"{layout.controllers['freezer']}{group}/freezer.state"
        ).startswith("FROZEN")

    def _ended(self, one: Foreign) -> Foreign:
        status = one.status
        if status in ("running", "paused", ""):
            status = "stopped"  # its daemon has not heard of it, or cannot any more
        return one._replace(status=status, pid=0, group="", supervisor=0)

    def _first(self, one: Foreign) -> int:
        """PID 1 of the container: the recorded one if it is in the group, else the first of its pid namespace."""
        pids = self._members(one.group)
        if one.pid and one.pid in pids:
            return one.pid
        for pid in sorted(pids):
            try:
                inner = procfs.status(pid, self._paths.proc).get("NSpid", "").split()
            except OSError:
                continue  # ended just now
            if len(inner) > 1 and inner[-1] == "1":
                return pid
        return min(pids, default=0)

    def _members(self, group: str) -> set[int]:
        """Processes of the group, or of the nearest groups below it that have some."""
        mount = groups.top(self._layout)
        level = [mount + group]
        for _ in range(groups.DEPTH):
            pids = {int(word) for path in level for word in read_or(f"{path}/cgroup.procs").split() if word.isdecimal()}
            if pids or not level:
                return pids
            level = [below for path in level for below in _directories(path)]
        return set()

    def _since(self, born: int) -> float:
        """Seconds since the epoch of a start time in ticks after boot."""
        if self._boot is None:
            self._boot = 0.0
            for line in read_or(f"{self._paths.proc}/stat").splitlines():
                if line.startswith("btime "):
                    self._boot = float(line.split()[1])
        return self._boot + born / os.sysconf("SC_CLK_TCK") if self._boot else 0.0


def _directories(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _kin(engine: str) -> str:
    """Engines whose ids are of one kind; names are each engine's own."""
    return engine if engine in ("lxc", "nspawn", "systemd") else "oci"


def _engine(supervisor: Process | None) -> str:
    if supervisor is None:
        return ""
    if supervisor.kind == "shim":
        namespace = supervisor.flag("-namespace")
        return "docker" if namespace == DOCKERS else "kubernetes" if namespace == "k8s.io" else "containerd"
    if supervisor.kind == "conmon":
        return "podman" if "podman" in supervisor.flag("--exit-command") else "cri-o"
    return supervisor.kind


def _supervisors(processes: Iterable[Process]) -> dict[str, Process]:
    """By the id, or name, of the container they are behind."""
    found = {}
    for process in processes:
        if process.kind == "shim":
            found[process.flag("-id")] = process
        elif process.kind == "conmon":
            found[process.flag("-c", "--cid")] = process
        elif process.kind == "lxc":
            found[monitored(process)[1]] = process
    return found
