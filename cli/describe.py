"""A container in Docker's words: the fields of `ps`, the document of `inspect`."""

from __future__ import annotations

import time

from pyctr.cli import output
from pyctr.core import state as states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.containers import Container

DOCKER_STATUS = {states.STOPPED: "exited"}
"""Docker says exited where we say stopped; scripts compare with that word."""


def status_word(container: Container) -> str:
    """created, running, paused, restarting, exited, dead."""
    status = container.status
    return DOCKER_STATUS.get(status, status)


def status_text(container: Container, status: str, now: float) -> str:
    """ "Up 3 seconds (Paused)", "Exited (137) 2 hours ago", "Created"."""
    process, ended = container.state.process, container.state.exit
    if status in (states.RUNNING, states.PAUSED) and process is not None:
        up = f"Up {output.human_duration(uptime(container))}"
        return f"{up} (Paused)" if status == states.PAUSED else up
    if status == states.RESTARTING and ended is not None:
        return f"Restarting ({ended.code}) {output.ago(ended.finished_at, now)}"
    if status == states.DEAD:
        return "Dead"
    if status == states.CREATED:
        return "Created"
    if ended is None:  # the shim was killed before it could write how it ended
        return "Exited (unknown)"
    return f"Exited ({ended.code}) {output.ago(ended.finished_at, now)}"


def uptime(container: Container) -> float:
    """Seconds since the start, by the clock that nobody sets."""
    process = container.state.process
    if process is None:
        return 0.0
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - process.started_monotonic)


def ports(container: Container) -> list[dict[str, Any]]:
    """The published ports as really bound."""
    return sorted(
        container.state.network.get("ports") or [],
        key=lambda port: (port["container_port"], port.get("protocol", "tcp"), port["host_port"]),
    )


def port_text(container: Container) -> str:
    """ "0.0.0.0:8080->80/tcp, 0.0.0.0:9000-9002->9000-9002/tcp"."""
    parts: list[tuple[str, int, int, str, int]] = []
    for port in ports(container):
        ip, protocol = port.get("host_ip") or "0.0.0.0", port.get("protocol", "tcp")
        host, inside = port["host_port"], port["container_port"]
        if parts:
            last_ip, last_host, last_inside, last_protocol, count = parts[-1]
            if (ip, protocol, host, inside) == (last_ip, last_protocol, last_host + count, last_inside + count):
                parts[-1] = (last_ip, last_host, last_inside, last_protocol, count + 1)
                continue
        parts.append((ip, host, inside, protocol, 1))
    return ", ".join(
        f"{f'[{ip}]' if ':' in ip else ip}:{_range(host, count)}->{_range(inside, count)}/{protocol}"
        for ip, host, inside, protocol, count in parts
    )


def _range(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first}-{first + count - 1}"


def command_line(container: Container) -> str:
    """What runs in it, on one line."""
    return " ".join(container.state.command)


def network_name(container: Container) -> str:
    return str(container.state.network.get("network") or container.spec.network)


def inspect(container: Container) -> dict[str, Any]:
    """Docker's document, field by field where the meaning is the same, and `BirthCertificate` of the last start."""
    state, spec, limits = container.state, container.spec, container.spec.limits
    status = container.status
    process, ended = state.process, state.exit
    running = status in (states.RUNNING, states.PAUSED, states.RESTARTING)
    network: dict[str, Any] = state.network
    address, _, prefix = str(network.get("address") or "").partition("/")
    name = network_name(container)
    endpoint = {
        "IPAddress": address,
        "IPPrefixLen": int(prefix or 0),
        "Gateway": network.get("gateway") or "",
        "MacAddress": network.get("mac") or "",
    }
    return {
        "Id": container.id,
        "Created": output.rfc3339(state.created_at),
        "Name": container.name,
        "Path": state.command[0] if state.command else "",
        "Args": state.command[1:],
        "State": {
            "Status": DOCKER_STATUS.get(status, status),
            "Running": running,
            "Paused": status == states.PAUSED,
            "Restarting": status == states.RESTARTING,
            "OOMKilled": bool(ended and ended.oom_killed),
            "Dead": status == states.DEAD,
            "Pid": container.pid,
            "ShimPid": process.shim_pid if process and running else 0,
            "ExitCode": ended.code if ended and not running else 0,
            "Signal": ended.signal if ended and not running else 0,
            "Error": ended.error if ended else "",
            "StartedAt": output.rfc3339(process.started_at if process else 0),
            "FinishedAt": output.rfc3339(ended.finished_at if ended else 0),
        },
        "Image": state.image_id,
        "ImageName": state.image_name,
        "RestartCount": state.restarts,
        "Driver": state.rootfs.get("driver", ""),
        "ResolvConfPath": container.path("resolv.conf"),
        "HostnamePath": container.path("hostname"),
        "HostsPath": container.path("hosts"),
        "LogPath": container.log_path,
        "CgroupPath": state.group,
        "GraphDriver": {"Name": state.rootfs.get("driver", ""), "Data": state.rootfs},
        "HostConfig": {
            "NetworkMode": spec.network,
            "PortBindings": _bindings(spec.ports),
            "RestartPolicy": _restart(spec.restart),
            "AutoRemove": spec.auto_remove,
            "Memory": limits.memory or 0,
            "MemoryReservation": limits.memory_reservation or 0,
            "MemorySwap": limits.memory_swap or 0,
            "NanoCpus": int((limits.cpus or 0) * 1e9),
            "CpuShares": limits.cpu_shares or 0,
            "CpuPeriod": limits.cpu_period or 0,
            "CpuQuota": limits.cpu_quota or 0,
            "CpusetCpus": limits.cpuset_cpus,
            "CpusetMems": limits.cpuset_mems,
            "PidsLimit": limits.pids,
            "BlkioWeight": limits.blkio_weight or 0,
            "BlkioDeviceReadBps": _rates(limits.device_read_bps),
            "BlkioDeviceWriteBps": _rates(limits.device_write_bps),
            "BlkioDeviceReadIOps": _rates(limits.device_read_iops),
            "BlkioDeviceWriteIOps": _rates(limits.device_write_iops),
            "OomScoreAdj": limits.oom_score_adj or 0,
            "OomKillDisable": limits.oom_kill_disable,
            "Privileged": spec.privileged,
            "ReadonlyRootfs": spec.readonly_rootfs,
            "CapAdd": spec.cap_add,
            "CapDrop": spec.cap_drop,
            "SecurityOpt": spec.security_opt,
            "Devices": [_device(device) for device in spec.devices],
            "DeviceCgroupRules": spec.device_cgroup_rules,
            "GroupAdd": spec.groups,
            "Init": spec.init,
            "PidMode": spec.pid,
            "IpcMode": spec.ipc or "private",
            "UTSMode": spec.uts,
            "CgroupnsMode": spec.cgroupns or "private",
            "ExtraHosts": spec.add_hosts,
            "Dns": spec.dns,
            "DnsSearch": spec.dns_search,
            "DnsOptions": spec.dns_options,
            "ShmSize": spec.shm_size or 64 << 20,
            "Sysctls": spec.sysctls,
            "Ulimits": [{"Name": key, "Soft": value[0], "Hard": value[1]} for key, value in spec.ulimits.items()],
            "LogConfig": {
                "Type": "cri",
                "Config": {"max-size": str(spec.log_max_size), "max-file": str(spec.log_max_files)},
            },
        },
        "Mounts": _mounts(container),
        "Config": {
            "Hostname": spec.hostname or container.short_id,
            "Domainname": spec.domainname,
            "User": spec.user,
            "Tty": spec.tty,
            "OpenStdin": spec.stdin_open,
            "Env": _environment(container),
            "Cmd": spec.command,
            "Entrypoint": spec.entrypoint,
            "Image": spec.image,
            "WorkingDir": spec.workdir,
            "Labels": spec.labels,
            "Annotations": spec.annotations,
            "StopSignal": spec.stop_signal or "SIGTERM",
            "StopTimeout": spec.stop_timeout,
        },
        "NetworkSettings": {
            "Bridge": network.get("bridge") or "",
            **endpoint,
            "Ports": _port_map(container),
            "Networks": {name: endpoint} if name and not name.startswith("container:") else {},
        },
        "BirthCertificate": birth(container),
    }


def birth(container: Container) -> dict[str, Any] | None:
    """The steps of the last start with their times in microseconds, None before the first."""
    from pyctr.core import birth

    certificate = birth.load(container.engine.paths, container.id)
    return None if certificate is None else certificate.to_dict()


def _environment(container: Container) -> list[str]:
    """The environment the process was given, which includes the image's."""
    from pyctr.core import fsutil

    try:
        config: dict[str, Any] = fsutil.read_json(container.path("config.json"))
    except (FileNotFoundError, ValueError):
        return container.spec.env
    found: list[str] = (config.get("process") or {}).get("env") or container.spec.env
    return found


def _mounts(container: Container) -> list[dict[str, Any]]:
    mounts = {mount.target: mount for mount in container.spec.mounts}
    found = [
        {
            "Type": mount.kind,
            "Name": mount.source if mount.kind == "volume" else "",
            "Source": container.state.volumes.get(target, mount.source),
            "Destination": target,
            "Mode": ",".join(mount.options),
            "RW": not mount.readonly,
        }
        for target, mount in mounts.items()
    ]
    for target, directory in container.state.volumes.items():
        if target not in mounts:  # the image's VOLUME
            found.append(
                {"Type": "volume", "Name": "", "Source": directory, "Destination": target, "Mode": "", "RW": True}
            )
    for document in found:
        if document["Type"] == "volume" and not document["Name"]:
            document["Name"] = str(document["Source"]).rpartition("/_data")[0].rpartition("/")[2]
    return found


def _bindings(wanted: list[Any]) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for port in wanted:
        binding = {"HostIp": port.host_ip, "HostPort": str(port.host_port or "")}
        found.setdefault(f"{port.container_port}/{port.protocol}", []).append(binding)
    return found


def _port_map(container: Container) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for port in ports(container):
        binding = {"HostIp": port.get("host_ip") or "0.0.0.0", "HostPort": str(port["host_port"])}
        found.setdefault(f"{port['container_port']}/{port.get('protocol', 'tcp')}", []).append(binding)
    return found


def _restart(policy: str) -> dict[str, Any]:
    name, _, count = policy.partition(":")
    return {"Name": name, "MaximumRetryCount": int(count or 0)}


def _rates(rates: dict[str, int]) -> list[dict[str, Any]]:
    return [{"Path": path, "Rate": rate} for path, rate in rates.items()]


def _device(device: str) -> dict[str, str]:
    host, _, rest = device.partition(":")
    inside, _, access = rest.partition(":")
    return {"PathOnHost": host, "PathInContainer": inside or host, "CgroupPermissions": access or "rwm"}
