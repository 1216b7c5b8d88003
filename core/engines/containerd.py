"""What containerd has on disk: bundles of tasks, and its database of containers.

    <state>/io.containerd.runtime.v2.task/<namespace>/<id>/   config.json init.pid, work -> <root>/...
    <root>/io.containerd.metadata.v1.bolt/meta.db     v1/<namespace>/containers/<id>: image labels createdat spec

Namespaces: `moby` is docker's, `k8s.io` Kubernetes' (pkg/cri/annotations names what its annotations say); nerdctl says
what it has to say in labels.
"""

from __future__ import annotations

import json
import os

from pyctr.core.engines import bolt
from pyctr.core.engines.model import Foreign, Log, Mount, Port, integer, part, texts, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.engines.trees import Stamp, Tree

STATE, ROOT = "/run/containerd", "/var/lib/containerd"
TASKS = "io.containerd.runtime.v2.task"
PODS = "/var/log/pods"
_CRI = "io.kubernetes.cri."
DOCKERS = "moby"


class Store:
    """One containerd: its state and root directories."""

    def __init__(self, tree: Tree, state: str, root: str, address: str = "") -> None:
        self._tree = tree
        self._state = f"{state}/{TASKS}"
        self._database = f"{root}/io.containerd.metadata.v1.bolt/meta.db"
        self._words = ("ctr", *(("-a", address) if address else ()))
        self._stamp: Stamp | None = None
        self._records: dict[tuple[str, str], dict[str, Any]] = {}
        self._tasks: dict[tuple[str, str], tuple[object, Foreign]] = {}

    def look(self) -> list[Foreign]:
        """Raises PermissionError."""
        self._read_database()
        tasks = {}
        for namespace in self._tree.names(self._state):
            if namespace == DOCKERS:
                continue
            for id in self._tree.names(f"{self._state}/{namespace}"):
                key = (namespace, id)
                bundle = f"{self._state}/{namespace}/{id}"
                pid = self._tree.text(f"{bundle}/init.pid")
                stamp = (self._tree.stamp(f"{bundle}/config.json"), pid, self._records.get(key))
                before = self._tasks.get(key)
                if before is not None and before[0] == stamp:
                    tasks[key] = before
                elif stamp[0] is not None:
                    spec = self._tree.json(f"{bundle}/config.json")
                    found = self._one(namespace, id, spec, bundle)
                    tasks[key] = (stamp, found._replace(pid=int(pid) if pid.isdecimal() else 0))
        self._tasks = tasks
        idle = [
            self._one(namespace, id, record.get("spec"), "")._replace(status="created")
            for (namespace, id), record in self._records.items()
            if (namespace, id) not in tasks
        ]
        return [found for _, found in tasks.values()] + idle

    def _read_database(self) -> None:
        stamp = self._tree.stamp(self._database)
        if stamp is None or stamp == self._stamp:
            return
        try:
            fd = self._tree.file(self._database)
        except OSError:
            return
        try:
            database = bolt.Database(fd)
            found = _containers(database)
            if database.settled():
                self._records, self._stamp = found, stamp
        except ValueError:
            pass  # torn: it is being written to, and the next look will do
        finally:
            os.close(fd)

    def _one(self, namespace: str, id: str, spec: object, bundle: str) -> Foreign:
        record = self._records.get((namespace, id), {})
        labels: dict[str, str] = record.get("labels", {})
        notes = {**labels, **texts(part(spec).get("annotations"))}
        pod = notes.get(f"{_CRI}sandbox-name") or labels.get("io.kubernetes.pod.name", "")
        within = notes.get(f"{_CRI}sandbox-namespace") or labels.get("io.kubernetes.pod.namespace", "")
        infra = (notes.get(f"{_CRI}container-type") or labels.get("io.cri-containerd.kind")) == "sandbox"
        inner = notes.get(f"{_CRI}container-name") or labels.get("io.kubernetes.container.name", "")
        name = notes.get("nerdctl/name") or (f"{pod}/{'pause' if infra else inner}" if pod else "") or id
        return Foreign(
            engine="kubernetes" if pod or namespace == "k8s.io" else "containerd",
            id=id,
            name=name,
            image=record.get("image") or notes.get(f"{_CRI}image-name", ""),
            command=words(part(spec, "process").get("args")),
            created_at=record.get("created", 0.0),
            labels=labels,
            pod=f"{within}/{pod}" if pod else "",
            infra=infra,
            ports=_ports(notes.get("nerdctl/ports", "")),
            network=", ".join(words(_json(notes.get("nerdctl/networks", "")))),
            mounts=mounts(spec),
            memory_limit=integer(part(spec, "linux", "resources", "memory").get("limit")) or None,
            restart_policy=notes.get("containerd.io/restart.policy", "no"),
            log=self._log(namespace, id, notes, labels, f"{within}_{pod}", inner),
            store=bundle,
            words=(*self._words, "-n", namespace),
        )

    def _log(self, namespace: str, id: str, notes: dict[str, str], labels: dict[str, str], pod: str, inner: str) -> Log:
        directory = notes.get("nerdctl/state-dir", "")
        if directory.startswith("/"):
            return Log("json-file", self._tree.where(f"{directory}/{id}-json.log"))
        uid = notes.get(f"{_CRI}sandbox-uid") or labels.get("io.kubernetes.pod.uid", "")
        if inner and uid:
            # kubelet's place; what a pod is called has no slash (kubelet-cri-logging.md)
            where = f"{PODS}/{pod}_{uid}/{inner}".replace("/../", "/")
            try:
                numbers = [name for name in self._tree.names(where) if name.removesuffix(".log").isdecimal()]
            except PermissionError:
                numbers = []
            last = max(numbers, key=lambda name: int(name.removesuffix(".log")), default="0.log")
            return Log("cri", self._tree.where(f"{where}/{last}"))
        return Log(why="containerd keeps none: whoever started it had its output")


def _containers(database: bolt.Database) -> dict[tuple[str, str], dict[str, Any]]:
    """(namespace, id) -> image, labels, created, spec."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    top = database.root().bucket(b"v1")
    for namespace, bucket in top.items() if top is not None else ():
        if not isinstance(bucket, bolt.Bucket) or namespace == DOCKERS.encode():
            continue
        containers = bucket.bucket(b"containers")
        for key, entry in containers.items() if containers is not None else ():
            if not isinstance(entry, bolt.Bucket):
                continue
            record: dict[str, Any] = {"labels": {}}
            for name, value in entry.items():
                if name == b"labels" and isinstance(value, bolt.Bucket):
                    record["labels"] = {
                        label.decode("utf-8", "replace"): text.decode("utf-8", "replace")
                        for label, text in value.values().items()
                    }
                elif name == b"image" and isinstance(value, bytes):
                    record["image"] = value.decode("utf-8", "replace")
                elif name == b"createdat" and isinstance(value, bytes):
                    record["created"] = _time(value)
                elif name == b"spec" and isinstance(value, bytes):
                    # a protobuf Any whose value is JSON
                    record["spec"] = _json(value[max(0, value.find(b'{"')) :].decode("utf-8", "replace"))
            found[namespace.decode("utf-8", "replace"), key.decode("utf-8", "replace")] = record
    return found


def _time(value: bytes) -> float:
    """Go's time.MarshalBinary: version 1, seconds since year 1 (8 bytes), nanoseconds (4), zone."""
    if len(value) < 13 or value[0] not in (1, 2):
        return 0.0
    seconds = int.from_bytes(value[1:9], "big", signed=True) - 62_135_596_800
    return seconds + int.from_bytes(value[9:13], "big", signed=True) / 1e9


def _json(text: str) -> Any:
    try:
        return json.JSONDecoder().raw_decode(text)[0]
    except (ValueError, RecursionError):
        return None


def _ports(text: str) -> tuple[Port, ...]:
    listed = _json(text)
    return tuple(
        Port(
            str(part(one).get("HostIP", "")).replace("0.0.0.0", ""),
            integer(part(one).get("HostPort")),
            integer(part(one).get("ContainerPort")),
            str(part(one).get("Protocol") or "tcp"),
        )
        for one in (listed if isinstance(listed, list) else ())
    )


def mounts(spec: object) -> tuple[Mount, ...]:
    """Binds of an OCI specification."""
    listed = part(spec).get("mounts")
    return tuple(
        Mount("bind", str(found.get("source", "")), str(found.get("destination", "")), "ro" in options)
        for entry in (listed if isinstance(listed, list) else ())
        for found in (part(entry),)
        for options in (words(found.get("options")),)
        if found.get("type") == "bind" or "rbind" in options
    )
