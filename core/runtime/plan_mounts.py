"""The part of a plan that makes the container's file system."""

from __future__ import annotations

from pyctr.core import errors
from pyctr.core.runtime import defaults, ops_cgroupfs, ops_mount, ops_root
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TIED = frozenset({"shared", "rshared", "slave", "rslave"})
_MAPPED = frozenset({"idmap", "ridmap"})


def filesystem(
    config: dict[str, Any], wishes: dict[str, Any], cgroup_root: str, propagation: str, joined: bool
) -> list[Operation]:
    """From the root's mount to the working directory; `joined`: in a mount namespace that is somebody else's."""
    process, linux = config.get("process") or {}, config.get("linux") or {}
    path = _rootfs(config, wishes)
    rootfs = wishes.get("rootfs")
    plan: list[Operation] = [
        # mounting onto the container's volatile directory spares making one: nobody needs that inside init
        ops_root.Root(rootfs=rootfs, target=wishes.get("run") or "", path=path, propagation=propagation, joined=joined)
    ]
    own_dev = True
    cgroupns = any(entry.get("type") == "cgroup" for entry in linux.get("namespaces") or [])
    for index, entry in enumerate(config.get("mounts") or []):
        mount = _mount(entry, index, wishes, linux)
        if mount.type == "cgroup" and not mount.is_bind():
            plan.append(
                ops_cgroupfs.CgroupMount(
                    destination=mount.destination, options=mount.options, cgroup_root=cgroup_root, own=cgroupns
                )
            )
            continue
        if mount.is_bind() and mount.destination.rstrip("/") == "/dev":
            own_dev = False
        plan.append(mount)
    plan.append(ops_root.Devices(devices=linux.get("devices") or [], own=own_dev))
    cwd = process.get("cwd") or "/"
    if not cwd.startswith("/"):
        raise errors.UsageError(f"process.cwd: '{cwd}' is not absolute")
    if cwd != "/":
        plan.append(ops_root.Workdir(path=cwd))
    return plan


def _rootfs(config: dict[str, Any], wishes: dict[str, Any]) -> str:
    path: str = (config.get("root") or {}).get("path") or "rootfs"
    return path if path.startswith("/") else f"{wishes.get('bundle') or '.'}/{path}"


def _mount(entry: dict[str, Any], index: int, wishes: dict[str, Any], linux: dict[str, Any]) -> ops_mount.Mount:
    destination = entry.get("destination") or ""
    mount = ops_mount.Mount(
        destination=destination if destination.startswith("/") else f"/{destination}",
        type=entry.get("type") or "",
        source=entry.get("source") or "",
        options=list(entry.get("options") or []),
        index=index,
        label=linux.get("mountLabel") or "",
        subpath=entry.get(defaults.SUBPATH) or "",
    )
    if mount.is_bind() and not mount.source.startswith("/"):
        mount.source = f"{wishes.get('bundle') or '.'}/{mount.source}"
    return mount


def sources(config: dict[str, Any], wishes: dict[str, Any], users: bool) -> list[Operation]:
    """What the host's side has to open for bind mounts; nothing for most containers. `users`: a user namespace.

    A runtime without rights opens nothing: inside its user namespace it has them, and is its own host there.
    """
    weak = bool(wishes.get("weak"))
    users = users and not weak
    linux = config.get("linux") or {}
    words = _MAPPED if weak else _TIED | _MAPPED
    path = next((item.get("path") for item in linux.get("namespaces") or [] if item.get("type") == "user"), "")
    found = []
    for index, entry in enumerate(config.get("mounts") or []):
        mount = _mount(entry, index, wishes, linux)
        maps = entry.get("uidMappings") or [], entry.get("gidMappings") or []
        if not mount.is_bind() or not (users or maps[0] or words.intersection(mount.options)):
            continue
        mapped = bool(maps[0]) or bool(_MAPPED.intersection(mount.options))
        if mapped and not maps[0] and not path:
            maps = linux.get("uidMappings") or [], linux.get("gidMappings") or []
        found.append(
            {
                "index": index,
                "source": mount.source,
                "options": mount.options,
                "uid": maps[0] if mapped else [],
                "gid": maps[1] if mapped else [],
                "userns": (path or "") if mapped and not maps[0] else "",
            }
        )
    if users and wishes.get("rootfs") is None:
        path = _rootfs(config, wishes)
        found.append({"index": ops_root.TREE, "source": path, "options": ["rbind"], "uid": [], "gid": [], "userns": ""})
    rootfs = wishes.get("rootfs") or {}
    served: list[Operation] = []
    if "program" in rootfs:
        from pyctr.core.runtime import ops_fuse

        served = [ops_fuse.Serve(rootfs=rootfs)]
    if not found:
        return served
    from pyctr.core.runtime import ops_sources

    return [*served, ops_sources.Sources(mounts=found, slave=(linux.get("rootfsPropagation") or "").endswith("slave"))]
