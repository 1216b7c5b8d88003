"""Where each engine keeps its records on this host: the usual places, and those its processes were started with."""

from __future__ import annotations

import os
import re

from pyctr.core.engines import containerd, crio, docker, podman, system
from pyctr.core.engines.trees import Tree, foreign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyctr.core.engines.model import Foreign
    from pyctr.core.engines.processes import Process
    from pyctr.core.paths import Paths

    Store = docker.Store | podman.Store | containerd.Store

USERS = "/run/user"
LIMITED = "names, images and logs of other engines' containers are root's"
_SETTING = re.compile(r"""^(root|state)\s*=\s*["']([^"']+)["']""", re.MULTILINE)


class Stores:
    """All of them; each is read again only where it changed. What was found once stays while it is there."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._host = Tree(paths.host)
        self._stores: dict[tuple[str, str, int], Store] = {}
        self._crio = crio.Store(self._host)
        self._lxc: set[str] = {system.LXC}
        self._bundles: dict[int, tuple[str, str]] = {}
        """(id, directory) by the conmon that was given it."""
        self._learned: dict[int, Process] = {}
        self.limited = ""

    def look(self, processes: Iterable[Process]) -> list[Foreign]:
        """Every record, whether it runs or not."""
        self.limited = ""
        self._usual()
        seen = {process.pid: process for process in processes}
        for pid in self._learned.keys() - seen.keys():
            self._bundles.pop(pid, None)
        for key in [key for key in self._stores if key[2] and key[2] not in seen]:
            del self._stores[key]  # with its process went the way to its files
        for pid, process in seen.items():
            if self._learned.get(pid) != process:
                self._learn(process)
        self._learned = seen
        found: list[Foreign] = []
        for store in self._stores.values():
            try:
                found += store.look()
            except PermissionError:
                self.limited = LIMITED
        found += self._crio.look(dict(self._bundles.values()))
        for path in self._lxc:
            try:
                found += system.lxc(self._host, path)
            except PermissionError:
                self.limited = LIMITED
        return found + system.machines(self._host)

    def _add(self, kind: str, root: str, store: Store, pid: int = 0) -> None:
        self._stores.setdefault((kind, root, pid), store)

    def _usual(self) -> None:
        if not self._stores:
            self._add(
                "docker", self._docker_root(self._host, ""), docker.Store(self._host, self._docker_root(self._host, ""))
            )
            self._add("podman", podman.ROOT, podman.Store(self._host, podman.ROOT))
            self._add("containerd", containerd.STATE, containerd.Store(self._host, containerd.STATE, containerd.ROOT))
        for root in self._rootless():
            if ("podman", root, 0) not in self._stores:
                self._add("podman", root, podman.Store(self._host, root))

    def _rootless(self) -> list[str]:
        """Graph roots of users whose podman has run since they logged in: no home is looked at without a reason."""
        try:
            users = [name for name in self._host.names(USERS) if name.isdecimal()]
        except PermissionError:
            return []
        users = [
            name for name in users if any(self._host.stamp(f"{USERS}/{name}/{d}") for d in ("containers", "libpod"))
        ]
        if not users:
            return []
        homes = {}
        for line in self._host.text("/etc/passwd").splitlines():
            fields = line.split(":")
            if len(fields) >= 6:
                homes[fields[2]] = fields[5]
        return [f"{homes[name]}/.local/share/containers/storage" for name in users if homes.get(name, "/") != "/"]

    def _learn(self, process: Process) -> None:
        if process.kind == "dockerd":
            tree, pid = self._tree(process)
            root = process.flag("--data-root", "-g", "--graph") or self._docker_root(
                tree, process.flag("--config-file")
            )
            host = process.flag("-H", "--host")
            line = ("docker", "-H", host) if host.startswith(("unix:", "tcp:")) else ("docker",)
            if pid and tree.stamp(f"{root}/containers") == self._host.stamp(f"{root}/containers"):
                tree, pid = self._host, 0  # other mounts, the same files
            known = self._stores.get(("docker", root, pid))
            if not isinstance(known, docker.Store) or known.line != line:
                self._stores["docker", root, pid] = docker.Store(tree, root, line)
        elif process.kind == "conmon":
            self._conmon(process)
        elif process.kind == "shim":
            self._shim(process)
        elif process.kind == "containerd":
            self._containerd(process)
        elif process.kind == "lxc":
            path, _ = monitored(process)
            self._lxc.add(path)

    def _tree(self, process: Process) -> tuple[Tree, int]:
        """The files as that process sees them, and its pid if that is not as we do."""
        if foreign(self._paths.proc, process.pid):
            return Tree(self._paths.host, self._paths.proc, process.pid), process.pid
        return self._host, 0

    def _docker_root(self, tree: Tree, configuration: str) -> str:
        found = tree.json(configuration or "/etc/docker/daemon.json")
        root = found.get("data-root") or found.get("graph") if isinstance(found, dict) else None
        return root if isinstance(root, str) and root.startswith("/") else docker.ROOT

    def _conmon(self, process: Process) -> None:
        id, bundle = process.flag("-c", "--cid"), process.flag("-b", "--bundle")
        if "podman" not in process.flag("--exit-command"):
            self._bundles[process.pid] = (id, bundle)
            return
        handed = "--exit-command-arg"
        root = process.after(handed, "--root") or bundle.removesuffix(f"/overlay-containers/{id}/userdata")
        tree, pid = self._tree(process)
        if root and ("podman", root, pid) not in self._stores and ("podman", root, 0) not in self._stores:
            if pid and tree.stamp(f"{root}/overlay-containers") == self._host.stamp(f"{root}/overlay-containers"):
                # rootless podman has a mount namespace of its own, and the same files in it
                tree, pid = self._host, 0
            run, tmpdir = process.after(handed, "--runroot"), process.after(handed, "--tmpdir")
            self._add("podman", root, podman.Store(tree, root, run, tmpdir), pid)

    def _shim(self, process: Process) -> None:
        namespace, id = process.flag("-namespace"), process.flag("-id")
        end = f"/{containerd.TASKS}/{namespace}/{id}"
        if namespace == containerd.DOCKERS or not process.directory.endswith(end):
            return
        state = process.directory.removesuffix(end)
        if ("containerd", state, 0) in self._stores and state != containerd.STATE:
            return
        try:
            work = os.readlink(self._paths.host + process.directory + "/work")
        except OSError:
            work = ""
        root = work.removesuffix(end) if work.endswith(end) else containerd.ROOT
        if state != containerd.STATE or root != containerd.ROOT:
            self._add("containerd", state, containerd.Store(self._host, state, root, process.flag("-address")))

    def _containerd(self, process: Process) -> None:
        tree, pid = self._tree(process)
        settings = dict(_SETTING.findall(tree.text(process.flag("-c", "--config") or "/etc/containerd/config.toml")))
        state, root = settings.get("state", containerd.STATE), settings.get("root", containerd.ROOT)
        address = process.flag("-a", "--address")
        if pid and tree.stamp(state) == self._host.stamp(state):
            tree, pid = self._host, 0
        if ("containerd", state, pid) not in self._stores:
            self._add("containerd", state, containerd.Store(tree, state, root, address), pid)


def monitored(process: Process) -> tuple[str, str]:
    """(lxcpath, name) of `[lxc monitor] <lxcpath> <name>`."""
    path, _, name = " ".join(process.words).removeprefix("[lxc monitor] ").strip().rpartition(" ")
    return path.strip(), name
