"""Which veth is whose, both ways, as the kernel has it: by the index of the other end, whatever the names say."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from pyctr.core import containers
from pyctr.core.linux import netlink
from pyctr.core.netdevices import socket_in

if TYPE_CHECKING:
    from pyctr.core.engine import Engine


class Pair(NamedTuple):
    """A container's interface and the host's end of it."""

    container: str
    inside: str
    host: str
    master: str
    """The bridge that the host's end is a port of, "" for none."""
    mac: str


def pairs(engine: Engine) -> list[Pair]:
    """Every link of every running container of ours, by name. A container that ends meanwhile has none."""
    with netlink.Netlink() as socket:
        host = {link.index: link for link in socket.links(stats=False)}
    found = []
    for container in sorted(containers.all(engine), key=lambda each: each.name):
        if not container.pid or container.spec.network in ("host", "none"):
            continue
        try:
            fd = os.open(f"/proc/{container.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            with socket_in(fd) as socket:
                links = socket.links(stats=False)
        finally:
            os.close(fd)
        for link in links:
            other = host.get(link.link)
            if link.kind != "veth" or other is None or other.link != link.index:
                continue
            master = host[other.master].name if other.master in host else ""
            mac = ":".join(f"{byte:02x}" for byte in link.mac)
            found.append(Pair(container.name, link.name, other.name, master, mac))
    return found
