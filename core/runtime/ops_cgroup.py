"""The cgroup: made by the shim, entered by init."""

from __future__ import annotations

import os

from pyctr.core.runtime import operation
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.cgroups.group import Manager
    from pyctr.core.runtime.context import Context


def manager(group: str, root: str, scope: dict[str, Any] | None = None) -> Manager:
    """The manager of a group on this host, through whatever hierarchies it has; with `scope` {unit, slice, properties}
    systemd makes it, with {absent: pid} nobody does."""
    from pyctr.core import cgroups

    layout = cgroups.detect(root)
    if scope and "absent" in scope:
        from pyctr.core.cgroups.absent import Absent

        return Absent(layout, group, scope["absent"])
    if scope:
        from pyctr.core.cgroups.scope import ScopeManager

        return ScopeManager(layout, group, **scope)
    return cgroups.manager(layout, group)


class MakeGroup(Operation):
    """The container's directory in every hierarchy, with its limits."""

    step = operation.GROUP
    inside = False

    group: str
    root: str
    resources: dict[str, Any]
    owner: int = -1
    """The host's uid that may make groups below ours, on v2."""
    counted: bool = False
    """See `Manager.create`."""
    scope: dict[str, Any] = {}
    """Of `manager`."""

    def describe(self) -> str:
        from pyctr.core import errors

        try:
            written = manager(self.group, self.root, self.scope).writes(self.resources)
        except errors.Unsupported as error:
            return f"{self.group} ({error})"
        return "\n".join([f"make {self.group}", *(f"{file} = {value}" for file, value in written)])

    def brief(self) -> str:
        resources = self.resources
        words = []
        cpu, memory = resources.get("cpu") or {}, resources.get("memory") or {}
        if (cpu.get("quota") or 0) > 0:
            words.append(f"cpu {cpu['quota'] / (cpu.get('period') or 100_000):g}")
        if cpu.get("shares"):
            words.append(f"shares {cpu['shares']}")
        if cpu.get("cpus"):
            words.append(f"cpus {cpu['cpus']}")
        if (memory.get("limit") or 0) > 0:
            words.append(f"memory {_size(memory['limit'])}")
        if (limit := (resources.get("pids") or {}).get("limit")) and limit > 0:
            words.append(f"pids {limit}")
        if any((resources.get("blockIO") or {}).values()):
            words.append("block I/O")
        return " · ".join(words) or self.group

    def execute(self, context: Context) -> None:
        made = manager(self.group, self.root, self.scope)
        context.warnings += made.ignored(self.resources)
        made.create(self.resources, counted=self.counted)
        # not before: what `undo` would kill and remove is another container's if ours could not be made
        context.manager = made
        if self.owner >= 0:
            context.manager.give(self.owner)
        context.group_fd = context.manager.open_for_clone()

    def undo(self, context: Context) -> None:
        from pyctr.core import errors

        if context.manager is None:
            return
        try:
            context.manager.kill()
            context.manager.remove()
        except (OSError, errors.PyctrError):
            pass  # the next pyctr finds and removes it


class EnterGroup(Operation):
    """Join the v1 hierarchies; a v2 group was entered at birth.

    Before the cgroup namespace is unshared, which takes the group of this moment as its root.
    """

    step = operation.GROUP

    group: str
    initial: str = ""
    final: str = ""
    """CPUs ("0-3,7") before and after, of a further process (config.md, "execCPUAffinity")."""

    def describe(self) -> str:
        return f"enter {self.group}"

    def execute(self, context: Context) -> None:
        if self.initial:
            _run_on(self.initial, "process.execCPUAffinity.initial")
        if context.manager is not None:
            context.manager.join()
        if self.final:
            _run_on(self.final, "process.execCPUAffinity.final")
        elif self.initial:
            # whatever the group allows: who was born in it has not been moved by joining
            os.sched_setaffinity(0, range(1024))


def _run_on(text: str, field: str) -> None:
    from pyctr.core import errors
    from pyctr.core.linux import cpulist

    try:
        os.sched_setaffinity(0, cpulist.parse(text))
    except OSError as error:
        raise errors.UsageError(f"{field}: '{text}' has no processor that may be used") from error


class HideGroups(Operation):
    """A cgroup namespace whose root is the container's own group."""

    step = operation.NAMESPACES

    def describe(self) -> str:
        return "new cgroup namespace"

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import const, namespaces

        namespaces.unshare(const.CLONE_NEWCGROUP)


def _size(count: int) -> str:
    for unit, factor in (("G", 1 << 30), ("M", 1 << 20), ("k", 1 << 10)):
        if count >= factor:
            return f"{count / factor:.4g}{unit}"
    return str(count)
