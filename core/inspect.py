"""A container as `docker inspect` shows it: the field names scripts already know, from our records."""

from __future__ import annotations

import os

from pyctr.core import birth, deaths, repair
from pyctr.core.images.model import rfc3339, rfc3339_nano
from pyctr.core.runtime import oci
from pyctr.core.state import PAUSED, RESTARTING, RUNNING, STOPPED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyctr.core.containers import Container
    from pyctr.core.spec import Health, Secret

_NEVER = "0001-01-01T00:00:00Z"


def document(container: Container, *, size: bool = False) -> dict[str, Any]:
    """The whole document; `size` also measures the writable layer, which walks it."""
    state, spec = container.state, container.spec
    config = _config_json(container)
    process = config.get("process") or {}
    argv = process.get("args") or state.command
    found: dict[str, Any] = {
        "Id": container.id,
        "Created": rfc3339(state.created_at),
        "Path": argv[0] if argv else "",
        "Args": list(argv[1:]),
        "State": _state(container),
        "Image": state.image_id,
        "ResolvConfPath": container.path("resolv.conf"),
        "HostnamePath": container.path("hostname"),
        "HostsPath": container.path("hosts"),
        "LogPath": container.log_path,
        "Name": f"/{container.name}",
        "RestartCount": state.restarts,
        "Driver": state.rootfs.get("driver", ""),
        "Platform": "linux",
        "AppArmorProfile": process.get("apparmorProfile", ""),
        "HostConfig": _host_config(container),
        "GraphDriver": {
            "Name": state.rootfs.get("driver", ""),
            "Data": {
                "LowerDir": ":".join(state.rootfs.get("lower") or []),
                "UpperDir": state.rootfs.get("upper", ""),
                "WorkDir": state.rootfs.get("work", ""),
            },
        },
        "Mounts": _mounts(container),
        "Config": {
            "Hostname": config.get("hostname") or spec.hostname or container.short_id,
            "Domainname": spec.domainname,
            "User": spec.user,
            "AttachStdin": spec.stdin_open,
            "ExposedPorts": {f"{port.container_port}/{port.protocol}": {} for port in spec.ports},
            "Tty": spec.tty,
            "OpenStdin": spec.stdin_open,
            "Env": process.get("env") or spec.env,
            "Cmd": spec.command,
            "Entrypoint": spec.entrypoint,
            "Image": state.image_name,
            "Volumes": {target: {} for target in state.volumes} or None,
            "WorkingDir": process.get("cwd") or spec.workdir,
            "Labels": spec.labels,
            "StopSignal": spec.stop_signal or "SIGTERM",
            "StopTimeout": spec.stop_timeout,
            "Healthcheck": _healthcheck(spec.health) if spec.health else None,
            **({"Secrets": [_secret(secret) for secret in spec.secrets]} if spec.secrets else {}),
        },
        "NetworkSettings": _network(container),
        "CgroupPath": state.group,
        "CgroupPaths": container.engine.group(state.group).paths() if container.pid else {},
        "BirthCertificate": certificate.to_dict()
        if (certificate := birth.load(container.engine.paths, container.id))
        else None,
        "LastDeath": next(iter(deaths.of(container)), None),
    }
    if size:
        found["SizeRw"] = container.engine.storage.usage(container.id)
    return found


def _state(container: Container) -> dict[str, Any]:
    state, status = container.state, container.status
    process, end = state.process, state.exit
    running = status in (RUNNING, PAUSED)
    if status == STOPPED and process is not None and end is None:
        end = repair.lost(container)  # not on record yet: the next verb on it writes this down
    return {
        # Docker's word for what we call stopped
        "Status": "exited" if status == STOPPED else status,
        "Running": running,
        "Paused": status == PAUSED,
        "Restarting": status == RESTARTING,
        "OOMKilled": bool(end and end.oom_killed and not running),
        "Dead": state.removing,
        "Pid": container.pid,
        "ShimPid": process.shim_pid if process and container.shim_alive else 0,
        "ExitCode": end.code if end and not running else 0,
        "Signal": end.signal if end and not running else 0,
        "Error": end.error if end and not running else "",
        "StartedAt": rfc3339(process.started_at) if process else _NEVER,
        "FinishedAt": rfc3339(end.finished_at) if end and end.finished_at else _NEVER,
        "Desired": state.desired,
        **_health(container, status),
    }


def _health(container: Container, status: str) -> dict[str, Any]:
    """Docker's State.Health; without a probe, or before the first start, there is none."""
    if container.spec.health is None:
        return {}
    from pyctr.core import health

    found = health.load(container, status)
    if found["status"] == health.NONE:
        return {}
    log = [
        {
            "Start": rfc3339_nano(result["start"]),
            "End": rfc3339_nano(result["end"]),
            "ExitCode": result["code"],
            "Output": result["output"],
        }
        for result in found["log"]
    ]
    return {"Health": {"Status": found["status"], "FailingStreak": found["streak"], "Log": log}}


def _healthcheck(check: Health) -> dict[str, Any]:
    """Docker's Config.Healthcheck: nanoseconds, and only what was said."""
    times = {
        "Interval": check.interval,
        "Timeout": check.timeout,
        "StartPeriod": check.start_period,
        "StartInterval": check.start_interval,
    }
    found: dict[str, Any] = {"Test": check.test}
    found.update({key: round(seconds * 1e9) for key, seconds in times.items() if seconds})
    if check.retries:
        found["Retries"] = check.retries
    return found


def _secret(secret: Secret) -> dict[str, Any]:
    """What it is called and where it goes; never what it is."""
    where = {"Variable": secret.target} if secret.kind == "env" else {"Target": secret.target}
    return {"Name": secret.name, **where, "UID": secret.uid, "GID": secret.gid, "Mode": secret.mode}


def _host_config(container: Container) -> dict[str, Any]:
    spec, limits = container.spec, container.spec.limits
    kind, _, count = (spec.restart or "no").partition(":")
    resources = oci.resources_of(limits)
    cpu, memory = resources.get("cpu", {}), resources.get("memory", {})
    return {
        "Binds": [
            f"{mount.source}:{mount.target}" + (":ro" if mount.readonly else "")
            for mount in spec.mounts
            if mount.kind in ("bind", "volume") and mount.source
        ],
        "LogConfig": {
            "Type": "cri",
            "Config": {"max-size": str(spec.log_max_size), "max-file": str(spec.log_max_files)},
        },
        "NetworkMode": spec.network,
        "PortBindings": {
            f"{port.container_port}/{port.protocol}": [{"HostIp": port.host_ip, "HostPort": port.asked()}]
            for port in spec.ports
        },
        "RestartPolicy": {"Name": kind, "MaximumRetryCount": int(count or 0)},
        "AutoRemove": spec.auto_remove,
        "CapAdd": spec.cap_add,
        "CapDrop": spec.cap_drop,
        "Dns": spec.dns,
        "DnsOptions": spec.dns_options,
        "DnsSearch": spec.dns_search,
        "ExtraHosts": spec.add_hosts,
        "GroupAdd": spec.groups,
        "IpcMode": spec.ipc or "private",
        "PidMode": spec.pid,
        "UTSMode": spec.uts,
        "CgroupnsMode": spec.cgroupns or "private",
        "Privileged": spec.privileged,
        "ReadonlyRootfs": spec.readonly_rootfs,
        **({"StorageOpt": {"size": str(spec.storage_size)}} if spec.storage_size else {}),
        "SecurityOpt": spec.security_opt,
        "Sysctls": spec.sysctls,
        "Init": spec.init,
        "ShmSize": spec.shm_size or 64 * 1024 * 1024,
        "Tmpfs": {mount.target: ",".join(mount.options) for mount in spec.mounts if mount.kind == "tmpfs"},
        "Ulimits": [{"Name": name, "Soft": pair[0], "Hard": pair[1]} for name, pair in sorted(spec.ulimits.items())],
        "NanoCpus": int((limits.cpus or 0) * 1e9),
        "CpuShares": limits.cpu_shares or 0,
        "CpuPeriod": cpu.get("period", 0) if limits.cpus is None else 0,
        "CpuQuota": cpu.get("quota", 0) if limits.cpus is None else 0,
        "CpusetCpus": limits.cpuset_cpus,
        "CpusetMems": limits.cpuset_mems,
        "Memory": memory.get("limit", 0),
        "MemoryReservation": limits.memory_reservation or 0,
        "MemoryHigh": limits.memory_high or 0,
        "MemorySwap": memory.get("swap", 0),
        "PidsLimit": limits.pids,
        "BlkioWeight": limits.blkio_weight or 0,
        "NetworkRxBps": limits.rx_bps or 0,
        "NetworkTxBps": limits.tx_bps or 0,
        "NetworkClass": limits.net_class,
        "OomKillDisable": limits.oom_kill_disable,
        "OomScoreAdj": limits.oom_score_adj or 0,
        "Devices": spec.devices,
    }


def _mounts(container: Container) -> list[dict[str, Any]]:
    state = container.state
    found = []
    shown = set()
    for mount in container.spec.mounts:
        target = os.path.normpath(mount.target)
        shown.add(target)
        found.append(
            {
                "Type": mount.kind,
                "Name": _volume_name(state.volumes.get(target, "")) if mount.kind == "volume" else "",
                "Source": state.volumes.get(target, "") if mount.kind == "volume" else mount.source,
                "Destination": mount.target,
                "Mode": ",".join(mount.options),
                "RW": not mount.readonly,
            }
        )
    for target, directory in state.volumes.items():
        if target not in shown:
            found.append(
                {
                    "Type": "volume",
                    "Name": _volume_name(directory),
                    "Source": directory,
                    "Destination": target,
                    "Mode": "",
                    "RW": True,
                }
            )
    return found


def _volume_name(directory: str) -> str:
    """<volumes>/NAME/_data -> NAME."""
    return os.path.basename(os.path.dirname(directory))


def _network(container: Container) -> dict[str, Any]:
    attachment = container.state.network if container.running else {}
    ports: dict[str, Any] = {}
    for port in attachment.get("ports") or []:
        key = f"{port['container_port']}/{port['protocol']}"
        ports.setdefault(key, []).append({"HostIp": port["host_ip"] or "0.0.0.0", "HostPort": str(port["host_port"])})
    endpoint = _endpoint(attachment, container.spec.network_aliases)
    further = {more["network"]: more for more in attachment.get("more") or ()}
    name = attachment.get("network") or container.spec.network
    return {
        "Bridge": attachment.get("bridge") or "",
        "SandboxKey": f"/proc/{container.pid}/ns/net" if container.pid else "",
        "Ports": ports,
        "Gateway": endpoint["Gateway"],
        "IPAddress": endpoint["IPAddress"],
        "IPPrefixLen": endpoint["IPPrefixLen"],
        "MacAddress": endpoint["MacAddress"],
        "Networks": {}
        if name.startswith("container:")
        else {
            name: endpoint,
            **{
                other: _endpoint(further.get(other, {}), wish.get("aliases") or ())
                for other, wish in container.spec.endpoints.items()
            },
        },
    }


def _endpoint(attachment: dict[str, Any], aliases: Sequence[str]) -> dict[str, Any]:
    address, _, length = str(attachment.get("address") or "").partition("/")
    six, _, length6 = str(attachment.get("address6") or "").partition("/")
    return {
        "GlobalIPv6Address": six,
        "GlobalIPv6PrefixLen": int(length6 or 0),
        "IPv6Gateway": attachment.get("gateway6") or "",
        "Aliases": list(aliases) or None,
        "Gateway": attachment.get("gateway") or "",
        "IPAddress": address,
        "IPPrefixLen": int(length or 0),
        "MacAddress": attachment.get("mac") or "",
    }


def _config_json(container: Container) -> dict[str, Any]:
    """The OCI document of the latest start; {} before the first."""
    from pyctr.core.fsutil import read_json

    try:
        config: dict[str, Any] = read_json(container.path("config.json"))
    except (OSError, ValueError):
        return {}
    return config
