"""A container of another engine, in one shape for all of them."""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

ENGINES = ("docker", "podman", "containerd", "kubernetes", "cri-o", "lxc", "nspawn", "other-pyctr", "oci", "systemd")
"""`kubernetes` are the pods of containerd, `other-pyctr` is a pyctr with other roots, `oci` is run by a
runtime for nobody who is known here."""


class Port(NamedTuple):
    """A published port; `host_ip` "" means every address."""

    host_ip: str
    host_port: int
    container_port: int
    protocol: str = "tcp"

    def __str__(self) -> str:
        where = f"{self.host_ip}:" if self.host_ip not in ("", "0.0.0.0", "::") else ""
        return f"{where}{self.host_port}→{self.container_port}" + (
            "" if self.protocol == "tcp" else f"/{self.protocol}"
        )


class Mount(NamedTuple):
    kind: str
    source: str
    target: str
    readonly: bool = False


class Log(NamedTuple):
    """Where its output is kept."""

    form: str = ""
    """As core/engines/output names them; "" when it is nowhere that can be read here."""
    path: str = ""
    why: str = ""
    """Why there is none, in a few words."""


class Foreign(NamedTuple):
    """One container. Times are seconds since the epoch, 0 when unknown; sizes bytes."""

    engine: str
    id: str
    """64 hexadecimal digits, or a name where the engine has no ids."""
    name: str = ""
    image: str = ""
    status: str = ""
    """created running paused restarting stopped dead, as for ours; "" in a record that does not know"""
    pid: int = 0
    """PID 1 of it as this host sees it; 0 when it does not run."""
    group: str = ""
    """Its path below every cgroup hierarchy; "" when it has none."""
    command: tuple[str, ...] = ()
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int | None = None
    oom_killed: bool = False
    error: str = ""
    labels: Mapping[str, str] = {}
    pod: str = ""
    """`namespace/name` of Kubernetes, the name of podman's."""
    infra: bool = False
    """Holds a pod's namespaces and does nothing else."""
    network: str = ""
    own_network: bool = True
    """Its counters are its own: it does not share the host's namespace, as far as this user may know."""
    addresses: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    mounts: tuple[Mount, ...] = ()
    memory_limit: int | None = None
    wanted: str = ""
    """The user's last word where the engine keeps it: "stopped", else ""."""
    restarts: int = 0
    restart_policy: str = "no"
    health: str = ""
    log: Log = Log()
    supervisor: int = 0
    """The shim, conmon or monitor; 0 when none is seen."""
    inside: str = ""
    """Id of the container in whose cgroup it is."""
    store: str = ""
    """The directory of the engine's record about it."""
    words: tuple[str, ...] = ()
    """How its engine's command line is told which engine: ("docker", "-H", "unix:///run/d.sock")."""

    @property
    def key(self) -> str:
        """Tells it from all others on this host, of whatever engine."""
        return f"{self.engine}:{self.id}"

    @property
    def short_id(self) -> str:
        return self.id[:12] if len(self.id) == 64 else self.id

    @property
    def running(self) -> bool:
        return self.status in ("running", "paused")


def moment(text: object) -> float:
    """Seconds since the epoch of "2026-11-20T23:14:07.412345678Z" or "...+02:00"; 0 for Go's zero time and nonsense."""
    from pyctr.core.logentries import timestamp_ns

    if not isinstance(text, str) or text.startswith("0001-"):
        return 0.0
    return (timestamp_ns(text.encode(errors="replace")) or 0) / 1e9


def texts(found: object) -> dict[str, str]:
    """A record's labels; what is none is none."""
    if not isinstance(found, dict):
        return {}
    return {str(key): str(value) for key, value in found.items()}


def words(found: object) -> tuple[str, ...]:
    """A record's command."""
    if isinstance(found, str):
        return (found,)
    return tuple(str(word) for word in found) if isinstance(found, (list, tuple)) else ()


def part(document: object, *keys: str) -> dict[str, object]:
    """document[a][b]... where all of that are objects, else an empty one: records are strangers' text."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def integer(found: object) -> int:
    return found if isinstance(found, int) else 0
