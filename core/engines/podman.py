"""Podman's record of its containers: <root>/db.sql (SQLite, from 4.8 on) or <root>/libpod/bolt_state.db before.

    bolt    ctr/<id>: config, state (JSON)        pod/<id>: config
    SQLite  ContainerConfig, ContainerState, PodConfig: ID, JSON        (containers/podman, libpod/*_state_internal.go)

Where neither can be read <root>/overlay-containers/containers.json still has names and images (containers/storage).
"""

from __future__ import annotations

import json
import os
import time

from pyctr.core.engines import bolt, journal
from pyctr.core.engines.model import Foreign, Log, Mount, Port, integer, moment, part, texts, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.engines.trees import Tree

ROOT, RUN = "/var/lib/containers/storage", "/run/containers/storage"
_STATUS = {
    1: "created",
    2: "created",
    3: "running",
    4: "stopped",
    5: "paused",
    6: "stopped",
    7: "dead",
    8: "running",
}
"""ContainerStatus of libpod/define: configured created running stopped paused exited removing stopping."""
TRIES = 3
PATIENCE = 2.0
"""Seconds for a database."""


class Store:
    """One graph root of one user."""

    def __init__(self, tree: Tree, root: str, run: str = "", tmpdir: str = "") -> None:
        self._tree = tree
        self._root = root
        self._run = run
        self._stamps: tuple[object, ...] = ()
        self._found: list[Foreign] = []
        self.owner = 0
        flags = [word for flag, value in (("--runroot", run), ("--tmpdir", tmpdir)) if value for word in (flag, value)]
        self._words = ("podman", "--root", root, *flags)

    def look(self) -> list[Foreign]:
        """Raises PermissionError."""
        files = ("db.sql", "db.sql-wal", "libpod/bolt_state.db", "overlay-containers/containers.json")
        stamps = tuple(self._tree.stamp(f"{self._root}/{file}") for file in files)
        if stamps != self._stamps:
            found = self._read(sqlite=stamps[0] is not None, bolt_there=stamps[2] is not None)
            if found is not None:
                self._found, self._stamps = found, stamps
        return self._found

    def _read(self, *, sqlite: bool, bolt_there: bool) -> list[Foreign] | None:
        """None: it is being written to, and the next look will do."""
        if not sqlite and not bolt_there:
            return self._storage()
        tables = self._sqlite() if sqlite else self._bolt()
        if tables is None:
            return self._storage() if not self._found else None
        configs, states, pods = tables
        return [self._one(id, config, part(states.get(id)), pods) for id, config in configs.items()]

    def _bolt(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]] | None:
        try:
            fd = self._tree.file(f"{self._root}/libpod/bolt_state.db")
        except FileNotFoundError:
            return None
        try:
            for _ in range(TRIES):
                try:
                    database = bolt.Database(fd)
                    found = _buckets(database)
                    if database.settled():
                        return found
                except ValueError:
                    continue  # torn, and read again
            return None
        finally:
            os.close(fd)

    def _sqlite(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]] | None:
        try:
            import sqlite3
        except ImportError:
            return None  # a Python without it
        tables: list[dict[str, Any]] = []
        try:
            os.close(self._tree.file(f"{self._root}/db.sql"))  # a regular file
            place = self._tree.where(f"{self._root}/db.sql").replace("?", "%3f").replace("#", "%23")
            # beside a writer its log is read too, without waiting; alone nothing is made in a directory of others
            used = self._tree.stamp(f"{self._root}/db.sql-shm") is not None
            mode = "mode=ro" if used else "immutable=1"
            connection = sqlite3.connect(f"file:{place}?{mode}", uri=True, timeout=0.2)
        except (OSError, sqlite3.Error):
            return None
        ends = time.monotonic() + PATIENCE
        # a table may be a user's view that never ends
        connection.set_progress_handler(lambda: time.monotonic() > ends, 100_000)
        try:
            for table in ("ContainerConfig", "ContainerState", "PodConfig"):
                rows = connection.execute(f"SELECT ID, JSON FROM {table} LIMIT 100000")
                tables.append({str(id): json.loads(text) for id, text in rows})
        except (sqlite3.Error, ValueError):
            return None
        finally:
            connection.close()
        configs, states, pods = tables
        return configs, states, {id: str(part(pod).get("name", "")) for id, pod in pods.items()}

    def _storage(self) -> list[Foreign]:
        """What containers/storage knows: a name and an image for each id."""
        listed = self._tree.json(f"{self._root}/overlay-containers/containers.json")
        found = []
        for entry in listed if isinstance(listed, list) else ():
            id = str(part(entry).get("id", ""))
            try:
                metadata = json.loads(str(part(entry).get("metadata") or "{}"))
            except ValueError:
                metadata = {}
            if "pod-name" in part(metadata):
                continue  # CRI-O keeps its own in the same place
            names = words(part(entry).get("names"))
            found.append(
                Foreign(
                    engine="podman",
                    id=id,
                    name=names[0] if names else "",
                    image=str(part(metadata).get("image-name", "")),
                    created_at=moment(part(entry).get("created")),
                    log=Log("cri", self._tree.where(f"{self._root}/overlay-containers/{id}/userdata/ctr.log")),
                    store=f"{self._root}/overlay-containers/{id}",
                    words=self._words,
                )
            )
        return found

    def _one(self, id: str, config: dict[str, Any], state: dict[str, Any], pods: dict[str, str]) -> Foreign:
        spec = part(config, "spec")
        status = _STATUS.get(integer(state.get("state")), "")
        args = words(part(spec, "process").get("args")) or (
            *words(config.get("entrypoint")),
            *words(config.get("command")),
        )
        ended = status == "stopped"
        networks = config.get("networks")
        mode = (
            "host"
            if not any(part(one).get("type") == "network" for one in _list(part(spec, "linux"), "namespaces"))
            else ""
        )
        return Foreign(
            engine="podman",
            id=id,
            name=str(config.get("name", "")),
            image=str(config.get("rootfsImageName") or config.get("RawImageName") or ""),
            status=status,
            pid=integer(state.get("pid")),
            command=args,
            created_at=moment(config.get("createdTime")),
            started_at=moment(state.get("startedTime")),
            finished_at=moment(state.get("finishedTime")),
            exit_code=integer(state.get("exitCode")) if ended else None,
            oom_killed=bool(state.get("oomKilled")),
            labels=texts(config.get("labels")),
            pod=pods.get(str(config.get("pod", "")), ""),
            infra=bool(config.get("pause")) or bool(config.get("isInfra")),
            network=", ".join(map(str, networks)) if isinstance(networks, (dict, list)) and networks else mode,
            addresses=tuple(_addresses(state.get("networkStatus"))),
            ports=_ports(config.get("newPortMappings") or config.get("portMappings")),
            mounts=tuple(
                Mount(str(found.get("type", "")), str(found.get("source", "")), str(found.get("destination", "")),
                      "ro" in words(found.get("options")))
                for entry in _list(spec, "mounts")
                for found in (part(entry),)
                if found.get("type") == "bind"
            ),
            memory_limit=integer(part(spec, "linux", "resources", "memory").get("limit")) or None,
            wanted="stopped" if state.get("stoppedByUser") else "",
            restarts=integer(state.get("restartCount")),
            restart_policy=str(config.get("restart_policy") or "no"),
            log=self._log(id, config),
            store=f"{self._root}/overlay-containers/{id}",
            words=self._words,
        )  # fmt: skip

    def _log(self, id: str, config: dict[str, Any]) -> Log:
        driver = str(config.get("logDriver") or "k8s-file")
        if driver in ("k8s-file", "json-file"):
            # podman's json-file is its k8s-file
            path = str(config.get("logPath") or f"{self._root}/overlay-containers/{id}/userdata/ctr.log")
            return Log("cri", self._tree.where(path))
        if driver == "journald":
            return journal.log(self._tree, id)
        return Log(why="podman was told to keep none" if driver == "none" else f"its log driver is '{driver}'")


def _buckets(database: bolt.Database) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    configs: dict[str, Any] = {}
    states: dict[str, Any] = {}
    pods: dict[str, str] = {}
    for name, bucket in database.root().items():
        if name not in (b"ctr", b"pod") or not isinstance(bucket, bolt.Bucket):
            continue
        for key, entry in bucket.items():
            if not isinstance(entry, bolt.Bucket):
                continue
            id, values = key.decode("ascii", "replace"), entry.values()
            config = json.loads(values.get(b"config") or b"{}")
            if name == b"pod":
                pods[id] = str(part(config).get("name", ""))
            else:
                configs[id], states[id] = part(config), part(json.loads(values.get(b"state") or b"{}"))
    return configs, states, pods


def _list(document: dict[str, Any], key: str) -> list[Any]:
    found = document.get(key)
    return found if isinstance(found, list) else []


def _ports(found: object) -> tuple[Port, ...]:
    ports = []
    for entry in found if isinstance(found, list) else ():
        one = part(entry)
        outer = integer(one.get("host_port") or one.get("hostPort"))
        inner = integer(one.get("container_port") or one.get("containerPort"))
        host, protocol = str(one.get("host_ip") or one.get("hostIP") or ""), str(one.get("protocol") or "tcp")
        for step in range(min(integer(one.get("range")) or 1, 1000)):
            ports += [Port(host, outer + step, inner + step, each) for each in protocol.split(",")]
    return tuple(ports)


def _addresses(status: object) -> list[str]:
    """{"podman": {"interfaces": {"eth0": {"subnets": [{"ipnet": "10.88.0.7/16"}]}}}}"""
    found = []
    for network in part(status):
        interfaces = part(status, network, "interfaces")
        for interface in interfaces:
            subnets = _list(part(interfaces, interface), "subnets")
            found += [str(part(subnet).get("ipnet", "")).partition("/")[0] for subnet in subnets]
    return [address for address in found if address]
