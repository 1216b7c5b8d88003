"""A container in Docker's words, as `ps` and `port` show it."""

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
        if status == states.PAUSED:
            return f"{up} (Paused)"
        word = health_word(container, status)
        return up if word == "none" else f"{up} ({'health: ' if word == 'starting' else ''}{word})"
    if status == states.RESTARTING and ended is not None:
        return f"Restarting ({ended.code}) {output.ago(ended.finished_at, now)}"
    if status == states.DEAD:
        return "Dead"
    if status == states.CREATED:
        return "Created"
    if ended is None:  # the shim was killed before it could write how it ended
        return "Exited (unknown)"
    return f"Exited ({'unknown' if ended.lost else ended.code}) {output.ago(ended.finished_at, now)}"


def health_word(container: Container, status: str) -> str:
    """none, starting, healthy, unhealthy."""
    if container.spec.health is None:
        return "none"
    from pyctr.core import health

    return str(health.load(container, status)["status"])


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
