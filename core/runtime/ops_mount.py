"""The root filesystem. Every target is resolved inside the root by descriptor and mounted by descriptor.

A shared volume may be changed by another container while we look (CVE-2021-30465), an image may hold any symlink:
openat2 with RESOLVE_IN_ROOT finds the target once, move_mount attaches a detached mount to exactly that.
"""

from __future__ import annotations

import errno
import os
import stat

from pyctr.core import errors
from pyctr.core.runtime import operation
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.runtime.context import Context


class Mount(Operation):
    """One entry of config.json's "mounts"."""

    step = operation.ROOTFS

    destination: str
    type: str = ""
    source: str = ""
    options: list[str] = []

    def describe(self) -> str:
        words = ",".join(self.options)
        if self.is_bind():
            return f"bind {self.source} on {self.destination} ({words})"
        return f"mount {self.type} on {self.destination} ({words})"

    def brief(self) -> str:
        if self.type in ("proc", "sysfs"):
            return self.destination[1:]
        return "dev" if self.destination == "/dev" else ""

    def is_bind(self) -> bool:
        return self.type in ("bind", "none") or "bind" in self.options or "rbind" in self.options

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import const, mount

        flags, clear, propagation, data = mount.parse_options(self.options)
        if self.is_bind():
            tree = self._clone(flags)
            target = self._target(context, bool(stat.S_ISDIR(os.fstat(tree).st_mode)))
            on, off = attributes(flags), attributes(clear)
            if on & const.MOUNT_ATTR__ATIME or flags & const.MS_RELATIME:
                off |= const.MOUNT_ATTR__ATIME
            if on or off:
                mount.mount_setattr(tree, "", 0, on, off)
        else:
            # the directory first: a filesystem that is on its way to a wrong place is never made
            target = self._target(context, True)
            tree = self._make(flags, data)
        on, off = mount.parse_recursive(self.options)
        if on or off:
            mount.mount_setattr(tree, "", const.AT_RECURSIVE, on, off)
        mount.move_mount(tree, "", target, "")
        if propagation:
            recursive = const.AT_RECURSIVE if propagation & const.MS_REC else 0
            mount.mount_setattr(tree, "", recursive, 0, 0, propagation & ~const.MS_REC)
        os.close(tree)
        os.close(target)

    def _clone(self, flags: int) -> int:
        from pyctr.core.linux import const, mount

        recursive = const.AT_RECURSIVE if flags & const.MS_REC else 0
        try:
            return mount.open_tree(const.AT_FDCWD, self.source, const.OPEN_TREE_CLONE | recursive)
        except FileNotFoundError as error:
            raise errors.RuntimeFailure(
                f"bind mount source '{self.source}' does not exist", hint="make it first, or use a volume"
            ) from error

    def _make(self, flags: int, data: str) -> int:
        from pyctr.core.linux import const, mount

        context = mount.fsopen(self.type)
        try:
            if self.source:
                mount.fsconfig(context, const.FSCONFIG_SET_STRING, "source", self.source)
            for flag, key in ((const.MS_SYNCHRONOUS, "sync"), (const.MS_DIRSYNC, "dirsync"), (_LAZY, "lazytime")):
                if flags & flag:
                    mount.fsconfig(context, const.FSCONFIG_SET_FLAG, key)
            for option in filter(None, data.split(",")):
                key, equals, value = option.partition("=")
                if equals:
                    mount.fsconfig(context, const.FSCONFIG_SET_STRING, key, value)
                else:
                    mount.fsconfig(context, const.FSCONFIG_SET_FLAG, key)
            mount.fsconfig(context, const.FSCONFIG_CMD_CREATE)
            return mount.fsmount(context, const.FSMOUNT_CLOEXEC, attributes(flags))
        except OSError as error:
            raise errors.RuntimeFailure(
                f"cannot mount {self.type} on '{self.destination}': {(error.strerror or '').lower()}",
                hint=f"options were {','.join(self.options)}",
            ) from error
        finally:
            os.close(context)

    def _target(self, context: Context, directory: bool) -> int:
        return target(context, self.destination, directory, strict=self.type in ("proc", "sysfs"))


_LAZY = 1 << 25


def target(context: Context, destination: str, directory: bool, *, strict: bool = False) -> int:
    """An O_PATH descriptor of a mount target in the root, made if missing.

    `strict`: an image whose /proc or /sys is a symlink could send our own checks elsewhere (CVE-2019-19921).
    """
    from pyctr.core.linux import const, inroot, mount

    try:
        if directory:
            fd = inroot.make_directories(context.root, destination)
        else:
            fd = inroot.make_file(context.root, destination)
        if strict:
            os.close(fd)
            resolve = const.RESOLVE_IN_ROOT | const.RESOLVE_NO_SYMLINKS
            fd = mount.openat2(context.root, destination.lstrip("/"), os.O_PATH | os.O_DIRECTORY, 0, resolve)
        return fd
    except OSError as error:
        if error.errno == errno.EROFS:
            raise errors.RuntimeFailure(
                f"mount target '{destination}' is missing and its filesystem is read-only", hint="make it in the image"
            ) from error
        raise errors.RuntimeFailure(
            f"mount target '{destination}' cannot be used: {(error.strerror or '').lower()}",
            hint="it has to be a real directory" if strict else "a file or link in the image is in the way",
        ) from error


def attributes(flags: int) -> int:
    """MS_* as MOUNT_ATTR_*."""
    from pyctr.core.linux import const

    found = 0
    for flag, attribute in (
        (const.MS_RDONLY, const.MOUNT_ATTR_RDONLY),
        (const.MS_NOSUID, const.MOUNT_ATTR_NOSUID),
        (const.MS_NODEV, const.MOUNT_ATTR_NODEV),
        (const.MS_NOEXEC, const.MOUNT_ATTR_NOEXEC),
        (const.MS_NODIRATIME, const.MOUNT_ATTR_NODIRATIME),
        (const.MS_NOSYMFOLLOW, const.MOUNT_ATTR_NOSYMFOLLOW),
    ):
        if flags & flag:
            found |= attribute
    if flags & const.MS_NOATIME:
        found |= const.MOUNT_ATTR_NOATIME
    elif flags & const.MS_STRICTATIME:
        found |= const.MOUNT_ATTR_STRICTATIME
    return found


class CgroupMount(Operation):
    """The container's own cgroups, seen through its cgroup namespace: one tree on v2, one per hierarchy on v1."""

    step = operation.ROOTFS

    destination: str
    options: list[str] = []
    cgroup_root: str = "/sys/fs/cgroup"

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
            tree = entry._make(flags, mount.parse_options(entry.options)[3])
            place = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
            mount.move_mount(tree, "", place, "")
            os.close(tree)
            os.close(place)
            for alias in controllers if len(controllers) > 1 else []:
                os.symlink(name, alias, dir_fd=top)
        if flags & const.MS_RDONLY:
            mount.mount_setattr(top, "", 0, const.MOUNT_ATTR_RDONLY, 0)
        os.close(top)
