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
    index: int = -1
    """Its place in the list, for messages and for what `ops_sources.Sources` has opened for it."""
    label: str = ""
    """SELinux context of a new file system."""
    subpath: str = ""
    """The part of the source to bind, found inside it: who else has the volume may put links there
    (CVE-2017-1002101)."""

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
        if "bind" in self.options or "rbind" in self.options:
            return True
        return self.type in ("bind", "none") and "remount" not in self.options

    def prepare(self, context: Context) -> None:
        """A file system that starts with a copy needs the copier while our own files can be read."""
        if "tmpcopyup" in self.options:
            from pyctr.core.images import merged

            del merged

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import const, mount

        flags, clear, propagation, data = mount.parse_options(self.options)
        if flags & const.MS_REMOUNT:
            self._remount(context, flags, clear, data)
            return
        if self.is_bind():
            ready = context.trees.pop(self.index, -1)
            tree = ready if ready >= 0 else self._clone(flags)
            directory = stat.S_ISDIR(os.fstat(tree).st_mode)
            target = self._target(context, directory)
            if not directory and stat.S_ISDIR(os.fstat(target).st_mode):
                raise errors.RuntimeFailure(
                    f"{self.field}.source: '{self.source}' is no directory, and '{self.destination}' inside is one",
                    hint="only a directory can be mounted on a directory",
                )
            on, off = attributes(flags), attributes(clear)
            if on & const.MOUNT_ATTR__ATIME or flags & const.MS_RELATIME:
                off |= const.MOUNT_ATTR__ATIME
            if on or off:
                mount.mount_setattr(tree, "", 0, on, off)
            if ready >= 0 and propagation & const.MS_SLAVE:
                propagation = 0  # it is one of the host's mount already
        else:
            if self.type == "tmpfs" and "mode=" not in data:
                data = f"{data},{self._mode(context)}" if data else self._mode(context)
            # the directory first: a filesystem that is on its way to a wrong place is never made
            target = self._target(context, True)
            if any(len(option) > _LONGEST for option in self.options):
                self._guard(target, -1)
                self._mount(context, target, flags, data, propagation)
                return
            tree = self._make(context, flags, data)
            if "tmpcopyup" in self.options:
                self._copy_up(target, tree)
                if flags & const.MS_RDONLY:
                    mount.mount_setattr(tree, "", 0, const.MOUNT_ATTR_RDONLY, 0)
        on, off = mount.parse_recursive(self.options)
        if on or off:
            mount.mount_setattr(tree, "", const.AT_RECURSIVE, on, off)
        self._guard(target, tree)
        mount.move_mount(tree, "", target, "")
        _propagate(tree, propagation)
        os.close(target)
        place = os.path.normpath(self.destination)
        if place in _PINNED:
            if place in context.pinned:
                os.close(context.pinned[place])
            context.pinned[place] = tree
        else:
            os.close(tree)

    def _guard(self, target: int, tree: int) -> None:
        """What is below /proc is the kernel's word, on which labels and masks rely: no volume takes its place
        (CVE-2019-16884, CVE-2023-27561), by whatever path it came there."""
        from pyctr.core.linux import const, mount

        place = os.path.normpath(self.destination)
        if place != "/proc" and mount.fs_type(target) != const.PROC_SUPER_MAGIC:
            return
        if place == "/proc" and tree >= 0 and mount.fs_type(tree) == const.PROC_SUPER_MAGIC:
            return
        if place not in _IN_PROC:
            raise errors.UsageError(
                f"{self.field}.destination: '{self.destination}' is inside /proc, which is the kernel's",
                hint="choose another destination",
            )

    @property
    def field(self) -> str:
        """Where the user finds this entry."""
        return f"mounts[{self.index}]" if self.index >= 0 else f"mount of '{self.destination}'"

    def _clone(self, flags: int) -> int:
        from pyctr.core.linux import const, mount

        recursive = const.AT_RECURSIVE if flags & const.MS_REC else 0
        try:
            if self.subpath:
                return self._part(const.OPEN_TREE_CLONE | recursive)
            return mount.open_tree(const.AT_FDCWD, self.source, const.OPEN_TREE_CLONE | recursive)
        except OSError as error:
            raise refused_source(self.field, self.source, error) from error

    def _part(self, flags: int) -> int:
        from pyctr.core.linux import const, inroot, mount

        top = os.open(self.source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            part = inroot.open_in(top, self.subpath)
        except OSError as error:
            raise errors.RuntimeFailure(
                f"{self.field}: the volume has no '{self.subpath}': {(error.strerror or '').lower()}",
                hint="make it in the volume first",
            ) from error
        finally:
            os.close(top)
        try:
            return mount.open_tree(part, "", flags | const.AT_EMPTY_PATH)
        finally:
            os.close(part)

    def _mode(self, context: Context) -> str:
        """A tmpfs over a directory looks like it from outside, as under runc."""
        from pyctr.core.linux import inroot

        try:
            fd = inroot.open_in(context.root, self.destination, os.O_PATH | os.O_DIRECTORY)
        except OSError:
            return "mode=1777"
        try:
            return f"mode={stat.S_IMODE(os.fstat(fd).st_mode):o}"
        finally:
            os.close(fd)

    def _make(self, context: Context, flags: int, data: str) -> int:
        from pyctr.core.linux import const, mount

        filesystem = -1
        try:
            filesystem = mount.fsopen(self.type)
            if self.source:
                mount.fsconfig(filesystem, const.FSCONFIG_SET_STRING, "source", self.source)
            if self.label and self.type not in _UNLABELLED:
                mount.fsconfig(filesystem, const.FSCONFIG_SET_STRING, "context", self.label)
            _configure(filesystem, self.type, flags, data)
            mount.fsconfig(filesystem, const.FSCONFIG_CMD_CREATE)
            if "tmpcopyup" in self.options:
                flags &= ~const.MS_RDONLY
            return mount.fsmount(filesystem, const.FSMOUNT_CLOEXEC, attributes(flags))
        except PermissionError as error:
            if context.users and self.type in _OF_HOST:
                return self._of_host(flags)
            raise self._refused(error) from error
        except OSError as error:
            raise self._refused(error) from error
        finally:
            if filesystem >= 0:
                os.close(filesystem)

    def _of_host(self, flags: int) -> int:
        """A user namespace may mount these only for namespaces that it owns; what is not owned is shown as it is."""
        from pyctr.core.linux import const, mount

        recursive = const.OPEN_TREE_CLONE | const.AT_RECURSIVE
        tree = mount.open_tree(const.AT_FDCWD, _OF_HOST[self.type], recursive)
        mount.mount_setattr(tree, "", const.AT_RECURSIVE, attributes(flags), 0)
        return tree

    def _mount(self, context: Context, target: int, flags: int, data: str, propagation: int) -> None:
        """With mount(2), whose options may be longer than fsconfig(2)'s: overlay with many lower directories."""
        from pyctr.core.linux import inroot, mount

        before = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # not by /proc/self/fd: in a mount namespace that is joined, /proc is whatever its owners have put there
            os.fchdir(target)
            mount.mount(self.source or self.type, ".", self.type, flags, data)
        except OSError as error:
            raise self._refused(error) from error
        finally:
            os.fchdir(before)
            os.close(before)
        os.close(target)
        if propagation:
            tree = inroot.open_in(context.root, self.destination)
            _propagate(tree, propagation)
            os.close(tree)

    def _remount(self, context: Context, flags: int, clear: int, data: str) -> None:
        """Other options for what is mounted there already."""
        from pyctr.core.linux import const, inroot, mount

        try:
            place = inroot.open_in(context.root, self.destination)
        except OSError as error:
            raise self._refused(error) from error
        try:
            if not self.is_bind() and data:
                filesystem = mount.fspick(place)
                try:
                    _configure(filesystem, self.type, flags, data)
                    mount.fsconfig(filesystem, const.FSCONFIG_CMD_RECONFIGURE)
                finally:
                    os.close(filesystem)
            on, off = attributes(flags), attributes(clear)
            if on & const.MOUNT_ATTR__ATIME or flags & const.MS_RELATIME:
                off |= const.MOUNT_ATTR__ATIME
            mount.mount_setattr(place, "", 0, on, off)
        except OSError as error:
            raise self._refused(error) from error
        finally:
            os.close(place)

    def _copy_up(self, target: int, tree: int) -> None:
        from pyctr.core.images import merged

        below = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=target)
        into = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)
        try:
            mode = stat.S_IMODE(os.fstat(into).st_mode)
            merged.copy(merged.Directory([below]), into)
            os.fchmod(into, mode)  # of the options, or else of what was there before the mount point was made
        except OSError as error:
            raise self._refused(error) from error
        finally:
            os.close(below)
            os.close(into)

    def _refused(self, error: OSError) -> errors.PyctrError:
        return errors.RuntimeFailure(
            f"{self.field}: cannot mount {self.type} on '{self.destination}': {(error.strerror or '').lower()}",
            hint=f"options were {','.join(self.options)}",
        )

    def _target(self, context: Context, directory: bool) -> int:
        strict = self.type in ("proc", "sysfs")
        return target(context, self.destination, directory, strict=strict, field=f"{self.field}.destination")


def refused_source(field: str, source: str, error: OSError) -> errors.PyctrError:
    """The error for a bind mount's source."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return errors.RuntimeFailure(
            f"{field}.source: bind mount source '{source}' does not exist", hint="make it first, or use a volume"
        )
    return errors.RuntimeFailure(
        f"{field}.source: bind mount source '{source}' cannot be used: {(error.strerror or '').lower()}"
    )


def _configure(filesystem: int, type: str, flags: int, data: str) -> None:
    from pyctr.core.linux import const, mount

    for flag, key in ((const.MS_SYNCHRONOUS, "sync"), (const.MS_DIRSYNC, "dirsync"), (const.MS_LAZYTIME, "lazytime")):
        if flags & flag:
            mount.fsconfig(filesystem, const.FSCONFIG_SET_FLAG, key)
    if flags & const.MS_RDONLY and type not in _PSEUDO:
        # a disk is not written to at all, not even for its journal
        mount.fsconfig(filesystem, const.FSCONFIG_SET_FLAG, "ro")
    for option in filter(None, data.split(",")):
        key, equals, value = option.partition("=")
        if equals:
            mount.fsconfig(filesystem, const.FSCONFIG_SET_STRING, key, value)
        else:
            mount.fsconfig(filesystem, const.FSCONFIG_SET_FLAG, key)


def _propagate(tree: int, propagation: int) -> None:
    from pyctr.core.linux import const, mount

    if propagation:
        recursive = const.AT_RECURSIVE if propagation & const.MS_REC else 0
        mount.mount_setattr(tree, "", recursive, 0, 0, propagation & ~const.MS_REC)


_PINNED = ("/proc", "/sys")
_IN_PROC = frozenset(
    f"/proc/{name}"
    for name in (
        *("cpuinfo", "diskstats", "loadavg", "meminfo", "slabinfo", "stat", "swaps", "uptime"),
        "sys/kernel/ns_last_pid",
    )
)
"""What a container may be told otherwise (lxcfs, criu): numbers, no names of programs or labels."""
_LONGEST = 250
"""fsconfig(2) takes values of less than 256 bytes."""
_PSEUDO = frozenset({"proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "devtmpfs", "bpf", "ramfs"})
"""File systems without a disk; of some there is only one instance, whose own flags are not ours to change."""
_UNLABELLED = frozenset({"proc", "sysfs", "mqueue", "cgroup", "cgroup2"})
_OF_HOST = {"proc": "/proc", "sysfs": "/sys", "mqueue": "/dev/mqueue"}


def target(context: Context, destination: str, directory: bool, *, strict: bool = False, field: str = "mounts") -> int:
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
                f"{field}: mount target '{destination}' is missing and its filesystem is read-only",
                hint="make it in the image",
            ) from error
        raise errors.RuntimeFailure(
            f"{field}: mount target '{destination}' cannot be used: {(error.strerror or '').lower()}",
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
