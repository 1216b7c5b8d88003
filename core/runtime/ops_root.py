"""The root filesystem itself: where it is mounted, its /dev, what of it is hidden, and the change into it.

Every place in it is found by descriptor, see `ops_mount`.
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
    from typing import Any

    from pyctr.core.runtime.context import Context


TREE = -2
"""The rootfs among `Context.trees`: of an OCI bundle, or one that is served (`ops_fuse`)."""


class Root(Operation):
    """The rootfs on a mount point of its own, in a mount tree that tells the host nothing.

    `rootfs` is what storage prepared (its mount point is `target`); without it the directory `path`.
    """

    step = operation.ROOTFS

    rootfs: dict[str, Any] | None = None
    target: str = ""
    path: str = ""
    propagation: str = ""
    joined: bool = False
    """The mount namespace is another container's: its other mounts are not touched."""

    def describe(self) -> str:
        if self.rootfs is None:
            return f"bind {self.path} as the root"
        lower = self.rootfs.get("lower") or []
        lines = [f"mount {self.rootfs.get('driver')} on {self.target}"]
        lines += [f"lower {path}" for path in lower]
        if upper := self.rootfs.get("upper"):
            lines.append(f"upper {upper}")
        return "\n".join(lines)

    def brief(self) -> str:
        return "bind" if self.rootfs is None else str(self.rootfs.get("driver"))

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import const, mount

        # a shared root is a new peer group, made of its own when it has become the root (config-linux.md, "Rootfs Mount
        # Propagation"); as a peer of the host's it would show there all that is mounted below
        tied = self.propagation.removeprefix("r") in ("slave", "shared")
        if not self.joined:
            mount.mount(None, "/", None, (const.MS_SLAVE if tied else const.MS_PRIVATE) | const.MS_REC)
        if self.rootfs is not None and TREE not in context.trees:
            from pyctr.core import storage

            storage.mount_rootfs(self.rootfs, self.target)
            context.root = os.open(self.target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        elif (tree := context.trees.pop(TREE, -1)) >= 0:
            # on top of the host's root: no path of it need be within reach of who we are now
            context.root = tree
            mount.move_mount(tree, "", const.AT_FDCWD, "/")
        else:
            flags = const.OPEN_TREE_CLONE | const.AT_RECURSIVE
            try:
                target = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                raise errors.RuntimeFailure(
                    f"root.path: '{self.path}' cannot be used: {(error.strerror or '').lower()}",
                    hint="the container's root directory, as seen from the bundle",
                ) from error
            context.root = mount.open_tree(target, "", flags | const.AT_EMPTY_PATH)
            mount.move_mount(context.root, "", target, "")
            os.close(target)


class Devices(Operation):
    """The default device nodes and links of /dev, and those asked for."""

    step = operation.ROOTFS

    devices: list[dict[str, Any]] = []
    own: bool = True
    """/dev is the container's own, not a bind mount of somebody else's."""

    def describe(self) -> str:
        words = ["null zero full random urandom tty"] if self.own else []
        words += [str(device["path"]) for device in self.devices]
        return f"devices {' '.join(words)}"

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import devices, inroot

        asked = {os.path.normpath(f"/{device['path'].lstrip('/')}") for device in self.devices}
        if self.own:
            dev = inroot.make_directories(context.root, "/dev")
            for name, kind, major, minor, mode, uid, gid in devices.DEFAULT:
                if f"/dev/{name}" not in asked:
                    try:
                        self._node(dev, name, f"/dev/{name}", kind, major, minor, mode, uid, gid)
                    except FileExistsError:
                        pass  # the image's own /dev, without a tmpfs over it
            for name, link in devices.LINKS:
                try:
                    os.symlink(link, name, dir_fd=dev)
                except FileExistsError:
                    pass  # as above
            os.close(dev)
        for index, device in enumerate(self.devices):
            self._asked(context, device, f"linux.devices[{index}]")

    def _asked(self, context: Context, device: dict[str, Any], field: str) -> None:
        from pyctr.core.linux import inroot

        path = os.path.normpath(f"/{device['path'].lstrip('/')}")
        if path == "/dev/ptmx":
            return  # podman asks for all that the host has; here it leads to the container's own devpts
        mode, name = device.get("fileMode"), os.path.basename(path)
        kind, major, minor = device["type"], device.get("major") or 0, device.get("minor") or 0
        try:
            parent = inroot.make_directories(context.root, os.path.dirname(path))
            try:
                self._node(
                    parent,
                    name,
                    path,
                    kind,
                    major,
                    minor,
                    0o666 if mode is None else mode & 0o7777,
                    device.get("uid") or 0,
                    device.get("gid") or 0,
                )
            except FileExistsError:
                found = os.stat(name, dir_fd=parent, follow_symlinks=False)
                if not _is(found, kind, major, minor):
                    raise errors.Conflict(
                        f"{field}.path: '{path}' exists in the container and is not this device", hint="remove it"
                    ) from None
            finally:
                os.close(parent)
        except OSError as error:
            raise errors.RuntimeFailure(
                f"{field}: cannot make '{path}': {(error.strerror or '').lower()}", hint="its path, owner or numbers"
            ) from error

    def _node(
        self, parent: int, name: str, path: str, type: str, major: int, minor: int, mode: int, uid: int, gid: int
    ) -> None:
        from pyctr.core.linux import devices

        try:
            devices.make(parent, name, type, major, minor, mode, uid, gid)
        except PermissionError:
            # no mknod in a user namespace: the host's own
            devices.bind(parent, name, path, type, major, minor)


def _is(found: os.stat_result, type: str, major: int, minor: int) -> bool:
    from pyctr.core.linux import devices

    same = stat.S_IFMT(found.st_mode) == devices.FORMATS[type]
    return same and (type == "p" or found.st_rdev == os.makedev(major, minor))


def _below(context: Context, path: str, field: str) -> int:
    """A place to be covered, -1 for what this kernel does not have.

    What is below /proc is looked up from the procfs itself: whoever shares this root filesystem could exchange the
    directory it is mounted on (CVE-2025-31133's relatives), and it would stay open.
    """
    from pyctr.core.linux import inroot

    wanted = os.path.normpath(path)
    try:
        for place, fd in context.pinned.items():
            if wanted.startswith(f"{place}/"):
                return inroot.open_in(fd, wanted[len(place) :])
        return inroot.open_in(context.root, wanted)
    except (FileNotFoundError, NotADirectoryError):
        return -1
    except OSError as error:
        raise errors.RuntimeFailure(f"{field}: '{path}' cannot be covered: {(error.strerror or '').lower()}") from error


def _is_at(context: Context, place: str, fd: int) -> bool:
    """Whether that is what the container sees there, without a link on the way."""
    from pyctr.core.linux import const, mount

    try:
        now = mount.openat2(context.root, place[1:], os.O_PATH, 0, const.RESOLVE_IN_ROOT | const.RESOLVE_NO_SYMLINKS)
    except OSError:
        return False
    same = os.path.sameopenfile(now, fd)
    os.close(now)
    return same


class Masked(Operation):
    """Paths that show nothing: /dev/null over files, an empty read-only tmpfs over directories."""

    step = operation.ROOTFS

    paths: list[str]

    def describe(self) -> str:
        return f"mask {' '.join(self.paths)}"

    def brief(self) -> str:
        return f"{len(self.paths)} masked"

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import const, devices, mount

        null = devices.open_verified("/dev/null", 1, 3)
        empty = -1
        for index, path in enumerate(self.paths):
            place = _below(context, path, f"linux.maskedPaths[{index}]")
            if place < 0:
                continue
            if stat.S_ISDIR(os.fstat(place).st_mode):
                if empty < 0:
                    filesystem = mount.fsopen("tmpfs")
                    mount.fsconfig(filesystem, const.FSCONFIG_SET_STRING, "nr_inodes", "1")
                    mount.fsconfig(filesystem, const.FSCONFIG_SET_FLAG, "ro")
                    mount.fsconfig(filesystem, const.FSCONFIG_CMD_CREATE)
                    empty = mount.fsmount(filesystem, const.FSMOUNT_CLOEXEC, const.MOUNT_ATTR_RDONLY)
                    os.close(filesystem)
                    tree, empty = empty, os.dup(empty)
                else:
                    tree = mount.open_tree(empty, "", const.OPEN_TREE_CLONE | const.AT_EMPTY_PATH)
            else:
                tree = mount.open_tree(null, "", const.OPEN_TREE_CLONE | const.AT_EMPTY_PATH)
            covers = next((name for name, fd in context.pinned.items() if os.path.sameopenfile(fd, place)), "")
            mount.move_mount(tree, "", place, "")
            if covers and _is_at(context, covers, tree):
                os.close(context.pinned[covers])
                context.pinned[covers] = os.dup(tree)
            os.close(tree)
            os.close(place)
        os.close(null)
        if empty >= 0:
            os.close(empty)


class Readonly(Operation):
    """Paths below which nothing can be written."""

    step = operation.ROOTFS

    paths: list[str]

    def describe(self) -> str:
        return f"read-only {' '.join(self.paths)}"

    def brief(self) -> str:
        return f"{len(self.paths)} read-only"

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import const, mount

        for index, path in enumerate(self.paths):
            place = _below(context, path, f"linux.readonlyPaths[{index}]")
            if place < 0:
                continue
            flags = const.OPEN_TREE_CLONE | const.AT_RECURSIVE
            tree = mount.open_tree(place, "", flags | const.AT_EMPTY_PATH)
            mount.mount_setattr(tree, "", const.AT_RECURSIVE, const.MOUNT_ATTR_RDONLY, 0)
            mount.move_mount(tree, "", place, "")
            os.close(tree)
            os.close(place)


class Workdir(Operation):
    """The working directory, made if the image has none (Docker's and runc's habit)."""

    step = operation.ROOTFS

    path: str

    def describe(self) -> str:
        return f"directory {self.path}"

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import inroot

        try:
            os.close(inroot.make_directories(context.root, self.path))
        except OSError as error:
            if error.errno == errno.EROFS:
                return  # `Directory` says later that it is not there
            raise errors.RuntimeFailure(
                f"process.cwd: working directory '{self.path}': {(error.strerror or '').lower()}",
                hint="choose another with -w",
            ) from error


class Pivot(Operation):
    """The container's root becomes /, the host's goes."""

    step = operation.ROOTFS

    readonly: bool = False
    propagation: str = ""
    pivot: bool = True
    """False on a ramdisk: the first mount of all cannot be pivoted away, so ours is moved over it (--no-pivot)."""
    joined: bool = False
    """The mount namespace is somebody else's, whose root stays what it is."""

    def describe(self) -> str:
        way = "chroot" if self.joined else "pivot_root" if self.pivot else "move the root"
        return way + (", root read-only" if self.readonly else "")

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import const, mount
        from pyctr.core.runtime import init

        init.close_imports()
        self._check_places(context)
        if self.readonly:
            mount.mount_setattr(context.root, "", 0, const.MOUNT_ATTR_RDONLY, 0)
        if self.joined:
            os.fchdir(context.root)
            os.chroot(".")
        elif self.pivot:
            old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            os.fchdir(context.root)
            mount.pivot_root(".", ".")
            # the old root is on top of ours; slaved first, so that the host never sees this unmount
            os.fchdir(old)
            mount.mount(None, ".", None, const.MS_SLAVE | const.MS_REC)
            mount.umount(".", const.MNT_DETACH)
            os.close(old)
            os.chdir("/")
        else:
            self._move(context)
        if self.propagation:
            _, _, propagation, _ = mount.parse_options([self.propagation])
            mount.mount(None, "/", None, propagation)
        os.close(context.root)
        context.root = -1
        os.close(context.proc)  # the last descriptor that leads to the host
        context.proc = -1

    def _check_places(self, context: Context) -> None:
        """/proc is the procfs we have mounted, and has not been led away while the rest was made."""
        for place, fd in context.pinned.items():
            same = _is_at(context, place, fd)
            os.close(fd)
            if not same:
                raise errors.RuntimeFailure(
                    f"'{place}' was moved while the container was made", hint="who else writes to its root filesystem?"
                )
        context.pinned = {}

    def _move(self, context: Context) -> None:
        """The host's mounts stay below: those that could show it (mount namespaces count a procfs or sysfs that is
        mounted already as a right to mount another) are unmounted first, or covered where they are locked."""
        from pyctr.core.linux import const, mount

        os.fchdir(context.root)
        inside = os.getcwd()
        mount.mount(None, "/", None, const.MS_PRIVATE | const.MS_REC)
        with open("/proc/self/mountinfo", "rb", buffering=0) as file:
            lines = file.read().decode(errors="surrogateescape").splitlines()
        for line in reversed(lines):
            fields, _, kind = line.partition(" - ")
            target = mount.unescape(fields.split(" ")[4])
            if kind.split(" ")[0] not in ("proc", "sysfs") or f"{target}/".startswith(f"{inside}/"):
                continue
            try:
                mount.umount(target, const.MNT_DETACH)
            except OSError:
                mount.mount("tmpfs", target, "tmpfs", 0, "size=0")
        mount.mount(".", "/", None, const.MS_MOVE)
        os.chroot(".")
        os.chdir("/")
