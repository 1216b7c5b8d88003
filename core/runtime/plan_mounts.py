"""The part of a plan that makes the container's file system."""

from __future__ import annotations

from pyctr.core import errors
from pyctr.core.runtime import ops_mount, ops_root
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def filesystem(config: dict[str, Any], wishes: dict[str, Any], cgroup_root: str, propagation: str) -> list[Operation]:
    process, linux = config.get("process") or {}, config.get("linux") or {}
    path = (config.get("root") or {}).get("path") or "rootfs"
    if not path.startswith("/"):
        path = f"{wishes.get('bundle') or '.'}/{path}"
    rootfs = wishes.get("rootfs")
    plan: list[Operation] = [
        # mounting onto the container's volatile directory spares making one: nobody needs that inside init
        ops_root.Root(rootfs=rootfs, target=wishes.get("run") or "", path=path, propagation=propagation)
    ]
    own_dev = True
    for entry in config.get("mounts") or []:
        destination, kind = entry.get("destination") or "", entry.get("type") or ""
        if not destination.startswith("/"):
            destination = f"/{destination}"
        options = list(entry.get("options") or [])
        if kind == "cgroup":
            plan.append(ops_mount.CgroupMount(destination=destination, options=options, cgroup_root=cgroup_root))
            continue
        mount = ops_mount.Mount(destination=destination, type=kind, source=entry.get("source") or "", options=options)
        if mount.is_bind():
            if not mount.source.startswith("/"):
                mount.source = f"{wishes.get('bundle') or '.'}/{mount.source}"
            if destination.rstrip("/") == "/dev":
                own_dev = False
        plan.append(mount)
    plan.append(ops_root.Devices(devices=linux.get("devices") or [], own=own_dev))
    cwd = process.get("cwd") or "/"
    if not cwd.startswith("/"):
        raise errors.UsageError(f"working directory '{cwd}' is not absolute")
    if cwd != "/":
        plan.append(ops_root.Workdir(path=cwd))
    return plan
