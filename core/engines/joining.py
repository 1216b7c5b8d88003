"""A further process in a running container of another engine, by joining its namespaces: no daemon is asked.

It gets what the container's own processes have and nothing more: the capabilities and the system calls of the
specification its engine wrote (config.json of the bundle), and of the former only those that its first process may
still have. Where there is no specification to trust, capabilities, user and no_new_privs are those of its first
process, and the system calls our default profile's, if that process is filtered at all.
"""

from __future__ import annotations

import os

from pyctr.core import errors
from pyctr.core.engines.trees import Tree, foreign
from pyctr.core.linux import procfs
from pyctr.core.linux.capnames import NAMES
from pyctr.core.linux.namespaces import PROC_NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.core.cgroups.group import Manager
    from pyctr.core.engine import Engine
    from pyctr.core.engines.model import Foreign
    from pyctr.core.runtime.context import Context
    from pyctr.core.runtime.direct_exec import Order

_KINDS = ("pid", "network", "mount", "uts", "ipc", "user", "cgroup")
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def execute(engine: Engine, one: Foreign, change: Callable[[dict[str, Any]], dict[str, Any]], order: Order) -> Context:
    """`direct_exec.execute` in it. Raises IllegalTransition, PermissionDenied, CommandNotFound, CannotInvoke."""
    from pyctr.core.runtime import direct_exec

    if os.geteuid() != 0:
        raise errors.PermissionDenied("joining another container's namespaces needs root", hint="sudo pyctr ...")
    return direct_exec.execute(_Guest(engine, one), change, order)  # type: ignore[arg-type]


class _Guest:
    """What `direct_exec` asks of a container."""

    def __init__(self, engine: Engine, one: Foreign) -> None:
        self.id = one.name
        self._engine = engine
        self._one = one
        self._born = procfs.start_time(one.pid) if one.pid else None

    def record(self) -> dict[str, Any]:
        if self._born is None or not self._one.group:
            raise errors.IllegalTransition(f"container '{self.id}' of {self._one.engine} is {self._one.status}")
        return {"version": "1.0.2", "bundle": "/", "group": self._one.group, "own": self._own()}

    def _own(self) -> list[str]:
        """Types of namespaces that are not ours."""
        found = []
        for kind in _KINDS:
            name = PROC_NAMES[kind]
            try:
                if os.readlink(f"/proc/{self._one.pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}"):
                    found.append(kind)
            except FileNotFoundError:
                continue  # a kernel without it
        return found

    def open(self, record: dict[str, Any]) -> int:
        """A pidfd of the first process, which is still the one that was found."""
        try:
            fd = os.pidfd_open(self._one.pid)
        except ProcessLookupError:
            raise errors.IllegalTransition(f"container '{self.id}' has ended meanwhile") from None
        if procfs.start_time(self._one.pid) != self._born:
            os.close(fd)
            raise errors.IllegalTransition(f"container '{self.id}' has ended meanwhile")
        return fd

    def status(self, record: dict[str, Any]) -> str:
        return self._one.status

    def manager(self, record: dict[str, Any]) -> Manager:
        return self._engine.group(self._one.group)

    def process(self) -> dict[str, Any]:
        """{process, linux, seccomp} that a further process begins with."""
        status = procfs.status(self._one.pid)
        spec = _specification(self._one)
        process = dict(spec.get("process") or {})
        linux = spec.get("linux") or {}
        process["capabilities"] = _capabilities(status, process.get("capabilities") if spec else None)
        if not spec:
            process["user"] = _user(status)
        process.setdefault("env", [PATH])
        process.setdefault("cwd", "/")
        process["noNewPrivileges"] = bool(process.get("noNewPrivileges")) or status.get("NoNewPrivs") == "1"
        for unwanted in ("terminal", "consoleSize", "args"):
            process.pop(unwanted, None)
        part = {"seccomp": linux["seccomp"]} if linux.get("seccomp") else {}
        return {"process": process, "linux": part, "seccomp": self._filter(status, linux, process)}

    def _filter(self, status: dict[str, str], linux: dict[str, Any], process: dict[str, Any]) -> bytes | None:
        """Its program; None where the first process is not filtered."""
        from pyctr.core.linux import seccomp

        if status.get("Seccomp") != "2":
            return None
        profile = linux.get("seccomp") or seccomp.DEFAULT
        try:
            return seccomp.compiled(profile, process["capabilities"]["bounding"], self._engine.paths.cache)
        except ValueError as error:
            raise errors.Unsupported(f"the seccomp profile of '{self.id}' cannot be read: {error}") from error


def _specification(one: Foreign) -> dict[str, Any]:
    """config.json of its bundle; {} where there is none, or one that others than root could have written."""
    from pyctr.core.runtime import check

    places = [one.store, f"{one.store}/userdata"]
    if one.engine == "docker" and one.supervisor:
        try:
            # its shim works in the bundle; a shim of a pod has that of the pod's first container
            places = [os.readlink(f"/proc/{one.supervisor}/cwd")]
        except OSError:
            places = []
    trees = [Tree()]
    if one.supervisor and foreign("/proc", one.supervisor):
        trees.append(Tree("", "/proc", one.supervisor))
    for tree in trees:
        for place in places:
            try:
                fd = tree.file(f"{place}/config.json")
            except OSError:
                continue
            try:
                if os.fstat(fd).st_uid != 0:
                    continue
            finally:
                os.close(fd)
            document = tree.json(f"{place}/config.json")
            if isinstance(document, dict) and isinstance(document.get("process"), dict):
                check.process(document["process"])
                return document
    return {}


def _capabilities(status: dict[str, str], sets: object) -> dict[str, list[str]]:
    """Those of the specification that the first process has in its bounding set; without one, all of that set."""
    bounding = _names(status.get("CapBnd", "0"))
    if not isinstance(sets, dict):
        return {"bounding": bounding, "effective": bounding, "permitted": bounding}
    return {
        kind: [name for name in names if name in bounding] for kind, names in sets.items() if isinstance(names, list)
    }


def _names(mask: str) -> list[str]:
    value = int(mask, 16)
    return [name for number, name in enumerate(NAMES) if value >> number & 1]


def _user(status: dict[str, str]) -> dict[str, Any]:
    """The first process's, if that is no user of a namespace; root of it otherwise."""
    uid, gid = int(status.get("Uid", "0").split()[0]), int(status.get("Gid", "0").split()[0])
    return {"uid": uid, "gid": gid} if uid < 65536 else {"uid": 0, "gid": 0}
