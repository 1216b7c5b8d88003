"""Everything known about a container of another engine, as `inspect` shows it: its record, and what the kernel says."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.engines.model import Foreign
    from pyctr.core.paths import Paths

ENVIRONMENT = 1 << 20
"""Bytes of one that are read: a process may write over its own."""
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")


class Mounted(NamedTuple):
    """A line of /proc/PID/mountinfo."""

    target: str
    kind: str
    source: str
    options: str
    """Of this mount."""
    wide: str
    """Of its file system, such as overlay's lowerdir and upperdir."""


def mounts(paths: Paths, pid: int) -> list[Mounted]:
    """As the process sees them, in the order of mounting. Raises OSError."""
    found = []
    with open(f"{paths.proc}/{pid}/mountinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            # proc_pid_mountinfo(5): optional fields end at a lone hyphen
            words = line.split()
            try:
                end = words.index("-", 6)
                kind, source, wide = words[end + 1 : end + 4]
            except ValueError:
                continue
            found.append(Mounted(_unescape(words[4]), kind, _unescape(source), words[5], wide))
    return found


def layers(mounted: list[Mounted]) -> list[str]:
    """Directories its root is made of, the writable one first; [] where the root is no overlay."""
    root = next((mount for mount in mounted if mount.target == "/" and mount.kind == "overlay"), None)
    if root is None:
        return []
    options = dict(option.partition("=")[::2] for option in root.wide.split(","))
    lower = [_unescape(path) for path in options.get("lowerdir", "").split(":") if path]
    return [_unescape(path) for path in (options.get("upperdir", ""),) if path] + lower


def namespaces(paths: Paths, pid: int) -> dict[str, str]:
    """name -> "net:[4026531840]", of those that may be known."""
    found = {}
    for name in NAMESPACES:
        try:
            found[name] = os.readlink(f"{paths.proc}/{pid}/ns/{name}")
        except OSError:
            continue  # another user's, or not in this kernel
    return found


def addresses(paths: Paths, pid: int) -> list[str]:
    """IPv4 addresses of its network namespace, without loopback."""
    from pyctr.core.netgraph import local_addresses
    from pyctr.core.subnets import to_text

    found = [to_text(address) for address in local_addresses(f"{paths.proc}/{pid}")]
    return [address for address in found if not address.startswith("127.")]


def environment(paths: Paths, pid: int) -> list[str]:
    """NAME=value, as its first process was started with (proc_pid_environ(5)). Raises OSError."""
    with open(f"{paths.proc}/{pid}/environ", "rb") as file:
        words = file.read(ENVIRONMENT).rstrip(b"\0").split(b"\0")
    return [word.decode("utf-8", "replace") for word in words if word]


def document(paths: Paths, one: Foreign) -> dict[str, Any]:
    """With Docker's keys where they mean the same."""
    live: dict[str, Any] = {}
    if one.pid:
        try:
            live["Layers"] = layers(mounts(paths, one.pid))
        except OSError:
            live["Layers"] = None  # not root, or it ended
        live["Namespaces"] = namespaces(paths, one.pid)
    try:
        known = environment(paths, one.pid) if one.pid else None
    except OSError:
        known = None  # likewise
    found = (addresses(paths, one.pid) if one.pid and one.own_network else []) or list(one.addresses)
    return {
        "Id": one.id,
        "Name": one.name,
        "Engine": one.engine,
        "Created": _time(one.created_at),
        "State": {
            "Status": "exited" if one.status == "stopped" else one.status,
            "Running": one.running,
            "Paused": one.status == "paused",
            "OOMKilled": one.oom_killed,
            "Pid": one.pid,
            "ExitCode": one.exit_code,
            "Error": one.error,
            "StartedAt": _time(one.started_at),
            "FinishedAt": _time(one.finished_at),
            "Health": one.health or None,
        },
        "Image": one.image,
        "Config": {"Cmd": list(one.command), "Env": known, "Labels": dict(one.labels)},
        "HostConfig": {
            "Memory": one.memory_limit or 0,
            "RestartPolicy": {"Name": one.restart_policy},
        },
        "RestartCount": one.restarts,
        "Pod": one.pod,
        "Infra": one.infra,
        "Mounts": [
            {"Type": mount.kind, "Source": mount.source, "Destination": mount.target, "RW": not mount.readonly}
            for mount in one.mounts
        ],
        "NetworkSettings": {
            "Networks": one.network,
            "IPAddresses": found,
            "Ports": [
                {"HostIp": port.host_ip, "HostPort": port.host_port, "Port": f"{port.container_port}/{port.protocol}"}
                for port in one.ports
            ],
        },
        "LogPath": one.log.path or None,
        "LogNote": one.log.why,
        "CgroupPath": one.group,
        "Supervisor": one.supervisor,
        "Inside": one.inside,
        "Record": one.store,
        **live,
    }


def _time(moment: float) -> str | None:
    if not moment:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment % 1 * 1000):03d}Z"


def _unescape(text: str) -> str:
    """Blanks, tabs, newlines and backslashes are octal there (proc(5))."""
    first, *rest = text.split("\\")
    try:
        return first + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)
    except ValueError:
        return text  # overlay escapes colons otherwise
