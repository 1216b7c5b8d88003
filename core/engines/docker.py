"""Docker's record of its containers: <data-root>/containers/<id>/config.v2.json and hostconfig.json.

Both are replaced as a whole whenever something changes (moby, container/container.go), so a new inode is a new record.
"""

from __future__ import annotations

from pyctr.core.engines import journal
from pyctr.core.engines.model import Foreign, Log, Mount, Port, integer, moment, part, texts, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.engines.trees import Stamp, Tree

ROOT = "/var/lib/docker"
_READ = frozenset({"json-file"})


class Store:
    """One data root; `line` is how the docker command reaches its daemon."""

    def __init__(self, tree: Tree, root: str, line: tuple[str, ...] = ("docker",)) -> None:
        self._tree = tree
        self._root = root
        self.line = line
        self._known: dict[str, tuple[Stamp, Foreign]] = {}

    def look(self) -> list[Foreign]:
        """Raises PermissionError."""
        directory = f"{self._root}/containers"
        known = {}
        for id in self._tree.names(directory):
            stamp = self._tree.stamp(f"{directory}/{id}/config.v2.json")
            if stamp is None:
                continue  # being made, or being removed
            before = self._known.get(id)
            if before is not None and before[0] == stamp:
                known[id] = before
            elif (found := self._read(id, f"{directory}/{id}")) is not None:
                known[id] = (stamp, found)
        self._known = known
        return [found for _, found in known.values()]

    def _read(self, id: str, directory: str) -> Foreign | None:
        record = self._tree.json(f"{directory}/config.v2.json")
        if not isinstance(record, dict) or record.get("ID") != id:
            return None
        host = self._tree.json(f"{directory}/hostconfig.json")
        state, config, settings = part(record, "State"), part(record, "Config"), part(record, "NetworkSettings")
        policy = part(host, "RestartPolicy")
        networks = part(settings, "Networks")
        finished = moment(state.get("FinishedAt"))
        status = _status(state)
        return Foreign(
            engine="docker",
            id=id,
            name=str(record.get("Name", "")).removeprefix("/"),
            image=str(config.get("Image") or ""),
            status=status,
            pid=integer(state.get("Pid")),
            command=(str(record.get("Path", "")), *words(record.get("Args"))),
            created_at=moment(record.get("Created")),
            started_at=moment(state.get("StartedAt")),
            finished_at=finished,
            exit_code=integer(state.get("ExitCode")) if finished and status in ("stopped", "restarting") else None,
            oom_killed=bool(state.get("OOMKilled")),
            error=str(state.get("Error") or ""),
            labels=texts(config.get("Labels")),
            pod=_pod(texts(config.get("Labels"))),
            infra=texts(config.get("Labels")).get("io.kubernetes.docker.type") == "podsandbox",
            network=", ".join(networks) or str(part(host).get("NetworkMode", "")),
            addresses=tuple(
                str(address) for network in networks if (address := part(networks, network).get("IPAddress"))
            ),
            ports=_ports(part(settings, "Ports")),
            mounts=tuple(
                Mount(str(found.get("Type", "")), str(found.get("Source", "")), str(target), not found.get("RW"))
                for target in part(record, "MountPoints")
                for found in (part(record, "MountPoints", target),)
            ),
            memory_limit=integer(part(host).get("Memory")) or None,
            wanted="stopped" if record.get("HasBeenManuallyStopped") else "",
            restarts=integer(record.get("RestartCount")),
            restart_policy=str(policy.get("Name") or "no"),
            health=str(part(state, "Health").get("Status") or "").replace("none", ""),
            log=self._log(id, directory, str(part(host, "LogConfig").get("Type", ""))),
            store=directory,
            words=self.line,
        )

    def _log(self, id: str, directory: str, driver: str) -> Log:
        if driver in _READ:
            # where it has to be, not where the record says: a record inside a container may say anything
            return Log("json-file", self._tree.where(f"{directory}/{id}-json.log"))
        if driver == "local":
            return Log("local", self._tree.where(f"{directory}/local-logs/container.log"))
        if driver == "journald":
            return journal.log(self._tree, id)
        return Log(why=f"docker gives them to its '{driver}' log driver" if driver else "its record does not say where")


def _status(state: dict[str, object]) -> str:
    if state.get("Dead") or state.get("RemovalInProgress"):
        return "dead"
    if state.get("Restarting"):
        return "restarting"
    if state.get("Running"):
        return "paused" if state.get("Paused") else "running"
    return "created" if not moment(state.get("StartedAt")) else "stopped"


def _ports(found: dict[str, object]) -> tuple[Port, ...]:
    """{"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", ...}]}"""
    ports: dict[Port, None] = {}
    for inner, bindings in found.items():
        number, _, protocol = inner.partition("/")
        for binding in bindings if isinstance(bindings, list) else ():
            outer, host = str(part(binding).get("HostPort", "")), str(part(binding).get("HostIp", ""))
            if outer.isdecimal() and number.isdecimal():
                port = Port("" if host in ("0.0.0.0", "::") else host, int(outer), int(number), protocol or "tcp")
                ports[port] = None
    return tuple(ports)


def _pod(labels: dict[str, str]) -> str:
    """Of cri-dockerd."""
    name, namespace = labels.get("io.kubernetes.pod.name", ""), labels.get("io.kubernetes.pod.namespace", "")
    return f"{namespace}/{name}" if name else ""
