"""Which cgroups are containers': by the names that engines give them, with either driver, on v1, v2 and hybrid.

    docker       /docker/<id>                          docker-<id>.scope        any parent by --cgroup-parent
    podman       /libpod_parent/libpod-<id>            libpod-<id>.scope        libpod-conmon-<id>.scope is its conmon
    Kubernetes   /kubepods/burstable/pod<uid>/<id>     cri-containerd-<id>.scope, crio-<id>.scope
    nerdctl      /<namespace>/<id>                     nerdctl-<id>.scope
    LXC          /lxc.payload.<name>, /lxc/<name>      lxc.monitor.<name> is its monitor
    nspawn                                             systemd-nspawn@<name>.service, machine-<name>.scope

A name says less than the engine's record: `finder` puts them together.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyctr.core.cgroups import Layout

DEPTH = 16
"""Groups below groups: a container in a container in a pod has less."""
_SCOPES = {
    "docker": "docker",
    "libpod": "podman",
    "libpod-payload": "podman",
    "cri-containerd": "kubernetes",
    "crio": "cri-o",
    "nerdctl": "containerd",
}
_SCOPE = re.compile(r"(?:([a-z-]+)-)?([0-9a-f]{64})(?:\.scope)?")
_LXC = re.compile(r"lxc\.payload\.(.+)")
_NSPAWN = re.compile(r"systemd-nspawn@(.+)\.service|machine-(.+)\.scope")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")


class Group(NamedTuple):
    """A group that is a container's, or a service's."""

    path: str
    """Below every hierarchy."""
    engine: str
    """By its name alone; "" for a bare id."""
    id: str
    inside: str
    """Id of the container whose group is above it."""
    identity: tuple[int, int]
    """Device and inode: another one under the same path is another container."""


def top(layout: Layout) -> str:
    """Mount point of the hierarchy to look at: every engine makes its groups in this one."""
    if layout.mode == "v2":
        return layout.unified
    return next((layout.controllers[name] for name in ("memory", "pids", "cpu") if name in layout.controllers), "")


def walk(layout: Layout, *, services: bool = False) -> list[Group]:
    """All of them, outer ones first. What goes meanwhile is left out."""
    mount = top(layout)
    return list(_below(mount, "", "", 0, services)) if mount else []


def _below(mount: str, path: str, inside: str, depth: int, services: bool) -> Iterator[Group]:
    try:
        # a directory of kernfs has a link for each directory in it: most groups have none, and many files
        if (depth and os.stat(mount + path).st_nlink == 2) or depth > DEPTH:
            return
        with os.scandir(mount + path or "/") as entries:
            names = [(entry.name, entry.inode()) for entry in entries if entry.is_dir(follow_symlinks=False)]
        device = os.stat(mount).st_dev
    except OSError:
        return
    for name, inode in names:
        below = f"{path}/{name}"
        engine, id = named(name, path.rpartition("/")[2])
        if not id and services and not inside and name.endswith(".service"):
            engine, id = "systemd", name
        if id:
            yield Group(below, engine, id, inside, (device, inode))
        yield from _below(mount, below, id if id and engine != "systemd" else inside, depth + 1, services)


def named(name: str, parent: str = "") -> tuple[str, str]:
    """(engine, id) that a group's name tells; ("", "") when it is no container's."""
    if found := _SCOPE.fullmatch(name):
        prefix, id = found.groups()
        if prefix is None:
            engine = "docker" if parent == "docker" else "kubernetes" if parent.startswith("pod") else ""
            return engine, id
        return (_SCOPES[prefix], id) if prefix in _SCOPES else ("", "")
    if found := _LXC.fullmatch(name):
        return "lxc", found[1]
    if parent == "lxc":
        return "lxc", name
    if found := _NSPAWN.fullmatch(name):
        return "nspawn", unescape(found[1] or found[2])
    return "", ""


def unescape(name: str) -> str:
    r"""A unit's instance as it was: `\x2d` is a hyphen (systemd.unit(5))."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), name)
