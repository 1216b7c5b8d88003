"""One group of one container: its directories in every hierarchy of the host, and what can be done to it.

A start costs no RCU grace period (about 10 ms) as long as the first process gets in the cheap way:

    v2       born inside: clone3(CLONE_INTO_CGROUP) with the descriptor of `open_for_clone()`
    v1       the single-threaded child calls `join()`: "0" into `tasks` moves the writer alone and needs
             no global lock, while any write to `cgroup.procs` takes cgroup_threadgroup_rwsem
    hybrid   both

All writes go to `group` and the directories above it that pyctr made, with one exception: where the parent of
our topmost directory on v2 does not hand down a controller, it is asked to ("+pids" in its
`cgroup.subtree_control`), because no limit could work otherwise. Nothing is ever taken away there.
"""

from __future__ import annotations

import errno
import os
import time

from pyctr.core import errors
from pyctr.core.cgroups.files import put, read, read_or, refused, write
from pyctr.core.cgroups.tree import is_in, pairs, remove_tree, v2_group, wait_event, wait_exits, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.cgroups import Layout


SIGKILL = 9  # the signal module would cost the shim its enum machinery


class Manager:
    """The contract. `group` is a path below every hierarchy's root, e.g. "/pyctr/<id>"."""

    def __init__(self, layout: Layout, group: str) -> None:
        parts = group.strip("/").split("/")
        if not all(parts) or ".." in parts or "." in parts:
            raise errors.UsageError(f"'{group}' is not a group below the root", hint="for example '/pyctr/web'")
        self.layout = layout
        self.group = "/" + "/".join(parts)
        self.mode: str = layout.mode
        self.unified = layout.unified + self.group if layout.unified else ""
        """Our directory in the v2 tree: the group itself on v2, the twin on hybrid, "" on v1."""

    def has_v1(self, controller: str) -> bool:
        return self.layout.version(controller) == 1

    def has_v2(self, controller: str) -> bool:
        return self.layout.version(controller) == 2

    def directory(self, controller: str) -> str:
        """Our directory in the controller's hierarchy. KeyError if the host has no such controller."""
        return self.layout.controllers[controller] + self.group

    def paths(self) -> dict[str, str]:
        """Hierarchy ("cpu,cpuacct", "name=systemd", "unified") -> our directory there, existing or not."""
        names: dict[str, list[str]] = {}
        for controller, mountpoint in self.layout.controllers.items():
            if mountpoint != self.layout.unified:
                names.setdefault(mountpoint, []).append(controller)
        out = {",".join(controllers): mountpoint + self.group for mountpoint, controllers in names.items()}
        if self.unified:
            out["unified"] = self.unified
        return out

    def writes(self, resources: dict[str, Any] | None) -> list[tuple[str, str]]:
        """(absolute file, value) that `create` will write, in order. Changes nothing; the group need not exist.

        The v2 device rules appear as one entry whose file ends in "[bpf] devices". Raises UsageError for
        limits that contradict each other, Unsupported for a controller this host does not have.
        """
        return [(self.file(controller, file), value) for controller, file, value in self.entries(resources or {})]

    def entries(self, resources: dict[str, Any]) -> list[tuple[str, str, str]]:
        """`writes` as (controller, file, value); see `make.place` for a file of several names."""
        from pyctr.core.cgroups import devices, make, v1, v2

        make.require(self.layout, resources)
        out = v1.writes(resources, self.has_v1)
        if self.layout.unified:
            out += v2.writes(resources, self.has_v2)
            if self.mode == "v2" and resources.get("devices"):
                out.append(
                    (
                        "devices",
                        make.BPF,
                        "; ".join(devices.text(rule) for rule in devices.normal(resources["devices"])),
                    )
                )
        out += v2.unified(resources, self.has_v2)
        return out

    def file(self, controller: str, file: str) -> str:
        """The absolute path of a controller's file."""
        if controller in ("cgroup", "devices") and controller not in self.layout.controllers:
            return f"{self.unified}/{file}"
        return f"{self.directory(controller)}/{file}"

    def exists(self) -> bool:
        return any(os.path.isdir(path) for path in self.paths().values())

    def create(self, resources: dict[str, Any] | None = None, *, counted: bool = False) -> None:
        """Make the group in every hierarchy that is needed and write the limits; undone if any step fails.

        `counted`: also where only others than pyctr look, see `make.needed`.

        An empty group of that name (left by a killed pyctr) is replaced, so that counters start at zero.
        Raises Conflict if it has processes, otherwise errors that name the file and the value.
        """
        from pyctr.core.cgroups import make

        writes = self.entries(resources or {})
        made: list[str] = []
        umask = os.umask(0o022)  # how much a container uses is no secret: tools of any user may look
        try:
            for path in make.needed(self.mode, self.paths(), {name for name, _, _ in writes}, counted):
                make.directory(self.layout, path)
                made.append(path)
            if self.unified:
                make.hand_down(self.layout, self.group, {name for name, _, _ in writes if self.has_v2(name)})
            make.apply(self, writes, resources or {})
        except BaseException:
            for path in reversed(made):
                try:
                    os.rmdir(path)
                except OSError:
                    pass  # populated or gone: the first error is the one to tell
            raise
        finally:
            os.umask(umask)

    def occupied(self) -> None:
        """The first process is in it: what kept it until then may go. For groups that somebody else makes, `scope`."""

    def update(self, resources: dict[str, Any]) -> None:
        """Change limits of a living group. What is not named stays. Errors as `create`."""
        from pyctr.core.cgroups import make

        writes = self.entries(resources)
        make.check_usage(self, resources)
        if any(file == "memory.memsw.limit_in_bytes" for _, file, _ in writes):
            # the sum may at no moment be below the part: raise the sum first, lower it last
            now = int(read(self.file("memory", "memory.limit_in_bytes")))
            limit = (resources.get("memory") or {}).get("limit") or 0
            if limit > now or limit < 0:
                writes.sort(key=lambda write: write[1] != "memory.memsw.limit_in_bytes")
        cpu = resources.get("cpu") or {}
        if self.has_v2("cpu") and bool(cpu.get("quota")) != bool(cpu.get("period")):
            quota, period = read(f"{self.unified}/cpu.max").split()
            quota = ("max" if cpu["quota"] < 0 else str(cpu["quota"])) if cpu.get("quota") else quota
            period = str(cpu.get("period") or period)
            writes = [(name, file, f"{quota} {period}" if file == "cpu.max" else value) for name, file, value in writes]
        for path in make.needed(self.mode, self.paths(), {name for name, _, _ in writes}):
            if not os.path.isdir(path):
                make.directory(self.layout, path)
                for pid in self.pids():
                    self._enter(f"{path}/cgroup.procs", pid)
        if self.unified:
            make.hand_down(self.layout, self.group, {name for name, _, _ in writes if self.has_v2(name)})
        make.apply(self, writes, resources)

    def ignored(self, resources: dict[str, Any]) -> list[str]:
        """What cannot have an effect here and does no harm by that, one sentence each."""
        from pyctr.core.cgroups import make

        return make.ignored(self.layout, resources)

    def give(self, uid: int) -> None:
        """Let a user make groups below ours: the files that the kernel names for that (config-linux.md, "Cgroup
        ownership"). Only on v2: nothing of v1 is made for it."""
        if self.mode == "v2":
            from pyctr.core.cgroups import make

            make.give(self.unified, uid)

    def open_for_clone(self) -> int | None:
        """A descriptor of our v2 directory for CLONE_INTO_CGROUP; None on v1. The caller closes it."""
        if not self.unified:
            return None
        return os.open(self.unified, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def open_group_of(self, pid: int) -> int:
        """Like `open_for_clone`, of the group below ours that a process of ours is in."""
        path = v2_group(f"/proc/{pid}/cgroup")
        if f"{path}/".startswith(f"{self.group}/"):
            return os.open(f"{self.layout.unified}{path}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        raise OSError(errno.ESRCH, "no process of the group", str(pid))

    def join(self, pid: int = 0) -> None:
        """Move a process in: the calling, single-threaded one cheaply (0), or any other (about 10 ms a hierarchy).

        A caller born by `open_for_clone` is in the v2 directory already and only joins the v1 hierarchies. To be
        called before unsharing the cgroup namespace, or the namespace would show the host's path.
        """
        for path in self.paths().values():
            if path != self.unified and os.path.isdir(path):
                self._enter(f"{path}/{'cgroup.procs' if pid else 'tasks'}", pid)
        if self.unified and not (pid == 0 and is_in(self.group)):
            self._enter(f"{self.unified}/cgroup.procs", pid)

    def _enter(self, path: str, pid: int) -> None:
        try:
            put(path, str(pid))
        except OSError as error:
            raise refused(error, path, str(pid)) from error

    def pids(self, all: bool = True) -> list[int]:
        """Process ids in the group and, with `all`, in the groups below it. Empty if the group is gone."""
        path = self._processes()
        found: set[int] = set()
        for directory in walk(path) if all else (path,):
            found.update(int(word) for word in read_or(f"{directory}/cgroup.procs").split())
        found.discard(0)  # a process of a pid namespace we cannot see into
        return sorted(found)

    def _processes(self) -> str:
        """The directory that knows our processes best: the v2 one where there is one."""
        if self.unified and os.path.isdir(self.unified):
            return self.unified
        for name in ("freezer", "pids", "memory", "cpu"):
            if self.has_v1(name):
                return self.directory(name)
        return next(iter(self.paths().values()))

    def freeze(self, timeout: float = 10.0) -> None:
        """Stop all processes; returns when they have stopped. Raises RuntimeFailure, thawed again, after `timeout`."""
        self._freezer(True)
        if not self._wait_frozen(timeout):
            self._freezer(False)
            raise errors.RuntimeFailure(
                f"cgroup '{self.group}' did not freeze within {timeout:g} s",
                hint="a process in it sleeps uninterruptibly, state D in 'pyctr top'",
            )

    def thaw(self) -> None:
        """Let all processes go on."""
        self._freezer(False)

    def _freezer(self, on: bool) -> None:
        file, frozen, thawed = self.freezer()
        write(file, frozen if on else thawed)

    def freezer(self) -> tuple[str, str, str]:
        """(absolute file, what freezes when written there, what thaws). Raises Unsupported."""
        if self.unified and os.path.exists(f"{self.unified}/cgroup.freeze"):
            return f"{self.unified}/cgroup.freeze", "1", "0"
        if self.has_v1("freezer"):
            return f"{self.directory('freezer')}/freezer.state", "FROZEN", "THAWED"
        raise errors.Unsupported("this host has no cgroup freezer", hint="Linux 5.2 or the v1 freezer is needed")

    def frozen(self) -> bool:
        """Whether every process has stopped. False if the group is gone. One read."""
        if self.unified:
            events = read_or(f"{self.unified}/cgroup.events")
            if "frozen" in events:
                return "frozen 1" in events
        if self.has_v1("freezer"):
            return read_or(f"{self.directory('freezer')}/freezer.state").strip() == "FROZEN"
        return False

    def _wait_frozen(self, timeout: float) -> bool:
        if self.unified and "frozen" in read_or(f"{self.unified}/cgroup.events"):
            return wait_event(self.unified, "frozen 1", timeout)
        # v1 has no event for it; a read of freezer.state makes the kernel look again
        deadline, pause = time.monotonic() + timeout, 0.0002
        while not self.frozen():
            if time.monotonic() > deadline:
                return False
            time.sleep(pause)
            pause = min(pause * 2, 0.02)
        return True

    def kill(self, signal: int = SIGKILL) -> None:
        """Signal every process of the group; none that is forked meanwhile escapes a SIGKILL.

        Returns when the signals are sent; `wait_empty` tells when the processes are gone. A frozen v1 group is
        thawed by SIGKILL (it could not die), other signals wait there until `thaw`.
        """
        if signal == SIGKILL and self.unified and self._kill_file():
            if self.has_v1("freezer"):
                self._thaw_v1()
            return
        thawed = not self.frozen()
        try:
            if thawed:
                # nothing can fork while stopped, so one pass over the pids reaches all
                try:
                    self._freezer(True)
                    self._wait_frozen(1.0)
                except errors.PyctrError:
                    pass  # no freezer here: the passes below catch up with forks
            for _ in range(1 if signal != SIGKILL else 100):
                sent = [pid for pid in self.pids() if _signal(pid, signal)]
                if not sent or self.frozen():
                    break
        finally:
            if thawed or signal == SIGKILL:
                try:
                    self._freezer(False)
                    if signal == SIGKILL and self.has_v1("freezer"):
                        self._thaw_v1()
                except errors.PyctrError:
                    pass  # gone, or no freezer

    def _kill_file(self) -> bool:
        """cgroup.kill (Linux 5.14): the kernel kills the whole tree, frozen or forking."""
        try:
            put(f"{self.unified}/cgroup.kill", "1")
        except FileNotFoundError:
            return not self.exists()  # another engine's group has no twin on a hybrid host
        return True

    def _thaw_v1(self) -> None:
        """With all groups below: nobody dies in one that somebody inside has frozen."""
        for directory in walk(self.directory("freezer")):
            path = f"{directory}/freezer.state"
            if read_or(path, "THAWED").strip() != "THAWED":
                write(path, "THAWED")

    def wait_empty(self, timeout: float = 10.0) -> bool:
        """Wait until no process is left, here and below; False after `timeout`. True if the group is gone."""
        if self.unified and os.path.isdir(self.unified):
            return wait_event(self.unified, "populated 0", timeout)
        return wait_exits(self.pids, timeout)

    def oom_events(self) -> dict[str, int]:
        """Counts of low, high, max, oom, oom_kill as far as this host counts them; empty if the group is gone.

        On v1 `max` and `swap_max` are how often the limit of memory, and of memory plus swap, was hit.
        """
        if self.has_v2("memory"):
            return pairs(read_or(f"{self.directory('memory')}/memory.events"))
        if not self.has_v1("memory"):
            return {}
        out: dict[str, int] = {}
        # v1 counts a kill only in the victim's own group, so a container's inner groups are added up
        for directory in walk(self.directory("memory")):
            control = pairs(read_or(f"{directory}/memory.oom_control"))
            if "oom_kill" in control:
                out["oom_kill"] = out.get("oom_kill", 0) + control["oom_kill"]
        for name, file in (("max", "memory.failcnt"), ("swap_max", "memory.memsw.failcnt")):
            if count := read_or(f"{self.directory('memory')}/{file}").strip():
                out[name] = int(count)
        return out

    def remove(self, timeout: float = 10.0) -> None:
        """Remove the group and the groups below it everywhere, waiting for dying processes to leave.

        What is gone already is fine. Raises Conflict naming the processes that stayed after `timeout`.
        """
        if not self.wait_empty(timeout):
            left = self.pids()
            raise errors.Conflict(
                f"cgroup '{self.group}' still has processes after {timeout:g} s: {', '.join(map(str, left[:10]))}",
                hint="kill the container first",
            )
        deadline = time.monotonic() + timeout
        for path in self.paths().values():
            while True:
                try:
                    remove_tree(path)
                    break
                except OSError as error:
                    # on v1 the last thread leaves just after its process is reported dead, without an event
                    if error.errno != errno.EBUSY or time.monotonic() > deadline:
                        raise errors.from_oserror(error, "removing a cgroup") from error
                    time.sleep(0.001)


def _signal(pid: int, signal: int) -> bool:
    try:
        os.kill(pid, signal)
    except ProcessLookupError:
        return False
    return True
