"""No group at all: containers of an ordinary user who was given none to make groups in (rootless podman does that).

Their processes are known by the pid namespace alone, which ends with its first process. There is nothing to be limited,
frozen or counted; runc does without in the same case.
"""

from __future__ import annotations

import os

from pyctr.core import errors
from pyctr.core.cgroups import Layout, detect
from pyctr.core.cgroups.group import SIGKILL, Manager
from pyctr.core.cgroups.tree import wait_exits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def needed(root: str, group: str) -> bool:
    """Whether this user, an ordinary one or the root of a user namespace, cannot make that group."""
    layout = detect(root)
    return not all(_may_make(top + group) for top in {*layout.controllers.values(), layout.unified} - {""})


def check(config: dict[str, Any]) -> None:
    """Raises UsageError or Unsupported for a configuration that asks for more than there is without a group."""
    linux = config.get("linux") or {}
    if not any(entry["type"] == "pid" and not entry.get("path") for entry in linux.get("namespaces") or []):
        raise errors.UsageError(
            "linux.namespaces: without a cgroup, which this user may not make, a pid namespace of its own is needed",
            hint="nothing else would find all of its processes",
        )
    for name, limits in (linux.get("resources") or {}).items():
        # rules for devices would keep nobody from anything: no user namespace makes a node
        if name != "devices" and _says_something(limits):
            raise _unsupported(f"linux.resources.{name}")


def _may_make(path: str) -> bool:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return os.access(path, os.W_OK | os.X_OK, effective_ids=True)


def _says_something(limits: Any) -> bool:
    if isinstance(limits, dict):
        return any(_says_something(value) for value in limits.values())
    return bool(limits)


def _unsupported(what: str) -> errors.Unsupported:
    return errors.Unsupported(
        f"{what}: this container has no cgroup, its user may not make one", hint="run it as root, or without limits"
    )


class Absent(Manager):
    """`pid` is the first process of a pid namespace, 0 when it has ended or is not there yet."""

    def __init__(self, layout: Layout, group: str, pid: int = 0) -> None:
        super().__init__(Layout(mode="none"), group)
        self.pid = pid

    def create(self, resources: dict[str, Any] | None = None, *, counted: bool = False) -> None:
        """Nothing."""

    def update(self, resources: dict[str, Any]) -> None:
        raise _unsupported("update")

    def exists(self) -> bool:
        return bool(self.pids())

    def writes(self, resources: dict[str, Any] | None) -> list[tuple[str, str]]:
        return []

    def ignored(self, resources: dict[str, Any]) -> list[str]:
        return []

    def pids(self, all: bool = True) -> list[int]:
        own = _namespace(self.pid)
        if not own:
            return []
        return sorted(int(name) for name in os.listdir("/proc") if name.isdigit() and _namespace(int(name)) == own)

    def freeze(self, timeout: float = 10.0) -> None:
        raise _unsupported("pause")

    def thaw(self) -> None:
        raise _unsupported("resume")

    def kill(self, signal: int = SIGKILL) -> None:
        for pid in [self.pid] if signal == SIGKILL and self.pid else self.pids():
            try:
                os.kill(pid, signal)
            except ProcessLookupError:
                pass  # it has ended

    def wait_empty(self, timeout: float = 10.0) -> bool:
        return wait_exits(self.pids, timeout)


def _namespace(pid: int) -> str:
    """Of a process, "" if it has ended or is none of ours."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""
