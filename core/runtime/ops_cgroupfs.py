"""A mount of type "cgroup": the container's own control groups."""

from __future__ import annotations

import os

from pyctr.core.runtime import operation
from pyctr.core.runtime.operation import Operation
from pyctr.core.runtime.ops_mount import Mount, attributes, target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.runtime.context import Context


class CgroupMount(Operation):
    """The container's own cgroups, seen through its cgroup namespace: one tree on v2, one per hierarchy on v1."""

    step = operation.ROOTFS

    destination: str
    options: list[str] = []
    cgroup_root: str = "/sys/fs/cgroup"
    own: bool = True
    """The container has a cgroup namespace."""

    def describe(self) -> str:
        return f"mount cgroup on {self.destination} ({','.join(self.options)})"

    def execute(self, context: Context) -> None:
        from pyctr.core import cgroups
        from pyctr.core.linux import const, mount

        flags, _, _, _ = mount.parse_options(self.options)
        layout = context.manager.layout if context.manager is not None else cgroups.detect(self.cgroup_root)
        if layout.mode == "v2":
            Mount(destination=self.destination, type="cgroup2", source="cgroup", options=self.options).execute(context)
            return
        wanted = [word for word in self.options if word not in ("ro", "rw")]
        Mount(
            destination=self.destination, type="tmpfs", source="tmpfs", options=[*wanted, "mode=755", "size=64k"]
        ).execute(context)
        hierarchies: dict[str, list[str]] = {}
        for controller, mountpoint in layout.controllers.items():
            if mountpoint != layout.unified:
                hierarchies.setdefault(mountpoint, []).append(controller)
        if layout.unified:
            hierarchies[layout.unified] = []
        top = target(context, self.destination, True)
        for mountpoint, controllers in hierarchies.items():
            # without a group of its own there, the namespace's root is the host's whole tree
            if context.manager is None or not os.path.isdir(mountpoint + context.manager.group):
                continue
            name = os.path.basename(mountpoint)
            os.mkdir(name, 0o755, dir_fd=top)
            inner = "cgroup2" if mountpoint == layout.unified else "cgroup"
            entry = Mount(
                destination=f"{self.destination}/{name}", type=inner, source="cgroup", options=[*wanted, *controllers]
            )
            entry.options = [f"name={c[5:]}" if c.startswith("name=") else c for c in entry.options]
            if self.own:
                tree = entry._make(context, flags, mount.parse_options(entry.options)[3])
            else:
                # as seen from the host's namespace this would be the whole tree
                tree = mount.open_tree(const.AT_FDCWD, mountpoint + context.manager.group, const.OPEN_TREE_CLONE)
                mount.mount_setattr(tree, "", 0, attributes(flags), 0)
            place = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
            mount.move_mount(tree, "", place, "")
            os.close(tree)
            os.close(place)
            for alias in controllers if len(controllers) > 1 else []:
                os.symlink(name, alias, dir_fd=top)
        if flags & const.MS_RDONLY:
            mount.mount_setattr(top, "", 0, const.MOUNT_ATTR_RDONLY, 0)
        os.close(top)
