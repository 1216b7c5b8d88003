"""The root filesystem of a container: an image's layers below, one writable directory on top.

`prepare` and everything else runs in the client and mounts nothing. `mount_rootfs` runs in the container's own mount
namespace, so no overlay is ever visible on the host and none can be left behind. Where overlayfs cannot mount
(an upper directory on overlayfs itself, on NFS, ...) the driver is btrfs or zfs on such a filesystem, else
fuse-overlayfs where that is installed and works (`fuseoverlay`), or else vfs: a plain copy of all layers per container.
btrfs, zfs and vfs give a whole tree, and are alike from there on (`whole`). `storageprobe` tries which it is.

Below the image lies one more layer of ours: empty mount points (/proc, /etc/hosts, ...), so that starting a container
writes nothing into its upper directory and `diff` shows only what the container did.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyctr.core.fuseoverlay import Served
    from pyctr.core.images.layers import LayerStore
    from pyctr.core.images.model import Image
    from pyctr.core.paths import Paths
    from pyctr.core.whole import Whole

OVERLAY = "overlay"
VFS = "vfs"
BTRFS = "btrfs"
ZFS = "zfs"
FUSE = "fuse-overlayfs"
DRIVERS = (OVERLAY, BTRFS, ZFS, FUSE, VFS)
"""In the order in which they are tried."""
STACKED = (OVERLAY, FUSE)
"""Those with an upper directory of what was changed; the others keep a whole tree (`whole`)."""
ENVIRONMENT = "PYCTR_STORAGE_DRIVER"

MOUNT_POINTS = ("dev/", "etc/", "etc/hostname", "etc/hosts", "etc/resolv.conf", "proc/", "sys/")
# each of these on would put into upper directories what `diff` and `commit` cannot read
_OPTIONS = "index=off,redirect_dir=off,metacopy=off"


class Storage:
    """Writable layers of one pyctr's containers."""

    def __init__(self, paths: Paths, layers: LayerStore, driver: str = "") -> None:
        self.paths = paths
        self.layers = layers
        self._driver = driver or os.environ.get(ENVIRONMENT, "")

    def driver(self) -> str:
        """One of DRIVERS: tried once per boot, remembered in the volatile directory."""
        if self._driver and self._driver not in DRIVERS:
            from pyctr.core.errors import UsageError

            raise UsageError(f"'{self._driver}' is no storage driver", hint=f"{ENVIRONMENT}={' or '.join(DRIVERS)}")
        if not self._driver:
            memory = f"{self.paths.run}/storage-driver"
            try:
                with open(memory, "rb") as file:
                    self._driver = file.read().decode()
            except FileNotFoundError:
                from pyctr.core import storageprobe
                from pyctr.core.fsutil import make_private_directory, write_atomic

                make_private_directory(self.paths.run)
                self._driver = storageprobe.found(self.paths, self.layers)
                write_atomic(memory, self._driver.encode(), durable=False)
        return self._driver

    def expected(self) -> str:
        """`driver`, for who makes nothing: what was never tried is taken for the usual one."""
        if self._driver or os.path.isdir(self.paths.containers):
            try:
                return self.driver()
            except PermissionError:
                pass  # nobody but root may try
        return OVERLAY

    def ready(self) -> None:
        """Make now what `prepare` makes once: for who is about to call it from several threads."""
        self.driver()
        self._mount_points()
        self._nothing()

    def prepare(
        self,
        id: str,
        image: Image,
        *,
        readonly: bool = False,
        throwaway: bool = False,
        mount_points: bool = True,
        size: int = 0,
    ) -> dict[str, Any]:
        """Make a container's writable layer, unpacking the image's layers if need be.

        Without `mount_points` there is nothing in it but the image's files. `size`: how many bytes the container's own
        files may take (with vfs: all files), 0 for no limit; raises Unsupported where nobody counts.

        Returns what `mount_rootfs` takes. overlay: "lower" (short absolute paths, topmost first), "upper", "work",
        "volatile". fuse-overlayfs: "program", too. vfs and btrfs: "path", and "lower" it was made from. zfs: the same
        with "dataset". "readonly" is only recorded: mount points must still be made, so the runtime remounts when it
        is done.
        """
        from pyctr.core.errors import StorageError, from_oserror

        if len(image.layers) >= 500 and len({layer.diff_id for layer in image.layers}) >= 500:
            raise StorageError(f"{len(image.layers)} layers, and overlayfs stacks 499", hint="squash the image")
        lower = self.layers.lower(image) or self.layers.ensure(image)
        directory = self.paths.container(id)
        if size and self.driver() != ZFS:
            from pyctr.core import sizelimit
            from pyctr.core.fsutil import make_private_directory

            make_private_directory(self.paths.containers)
            sizelimit.check(self.paths.containers)
        try:
            if mount_points:
                lower.append(self._mount_points())
            elif not lower:
                lower.append(self._nothing())
            if self.driver() not in STACKED:
                from pyctr.core import whole

                return whole.prepare(self.driver(), self.layers, directory, lower, readonly, size)
            more = self._program() if self.driver() == FUSE else {}
            upper, work = f"{directory}/upper", f"{directory}/work"
            try:
                os.mkdir(upper, 0o700)
            except FileNotFoundError:
                from pyctr.core.fsutil import make_private_directory

                make_private_directory(directory)
                os.mkdir(upper, 0o700)
            os.mkdir(work, 0o700)
            # the merged root shows the owner and mode of the upper directory
            root = os.stat(lower[0])
            os.chmod(upper, root.st_mode & 0o7777)
            if os.geteuid() == 0 and (root.st_uid or root.st_gid):
                os.chown(upper, root.st_uid, root.st_gid)
            if size:
                sizelimit.apply([upper, work], id, size)
        except OSError as error:
            if not isinstance(error, FileExistsError):  # that would be another container's
                self.remove(id)
            raise from_oserror(error, f"making the writable layer of '{id[:12]}'") from error
        return {
            "driver": self.driver(),
            "lower": lower,
            "upper": upper,
            "work": work,
            "volatile": throwaway,
            "readonly": readonly,
            **more,
        }

    def remove(self, id: str) -> None:
        """Remove a container's writable layer; nothing happens when there is none. Raises OSError when busy."""
        from pyctr.core.fsutil import remove_tree

        directory = self.paths.container(id)
        if os.path.exists(f"{directory}/rootfs") or os.path.exists(f"{directory}/dataset"):
            from pyctr.core import whole

            whole.remove(self.layers, directory)
        for name in ("upper", "work", "rootfs", "rootfs.tmp"):
            remove_tree(self.paths.container(id, name))

    def changes(self, id: str, image: Image | None = None) -> list[tuple[str, str]]:
        """What a container changed: ("A"dded, "C"hanged or "D"eleted, absolute path), sorted by path."""
        from pyctr.core.images.changes import compare, overlaid
        from pyctr.core.images.merged import Directory

        with Directory.root(self._lower(id, image)) as lower, self.whole(id) as tree:
            if tree:
                with Directory.root([tree]) as now:
                    return compare(lower, now)
            return overlaid(lower, self.paths.container(id, "upper"))

    def whole(self, id: str) -> Whole:
        """A context manager: the path of the whole tree that a container has, "" if it has an upper directory."""
        from pyctr.core.whole import Whole

        return Whole(self.paths.container(id))

    def usage(self, id: str) -> int:
        """Bytes on disk of what a container wrote: of its upper directory, with vfs of its whole copy, with btrfs of
        the files that are not as in the image (their blocks that it still shares are counted), with zfs of its clone
        alone (some seconds late)."""
        upper = self.paths.container(id, "upper")
        if os.path.isdir(upper):
            return disk_usage(upper)
        from pyctr.core import whole

        directory = self.paths.container(id)
        return whole.usage(directory, self._rootfs(id).get("driver", ""), lambda: self.changes(id))

    # inside

    def _lower(self, id: str, image: Image | None) -> list[str]:
        """From the container's own record, which outlives the image."""
        from pyctr.core.errors import StorageError

        lower = self._rootfs(id).get("lower")
        if not lower and image is not None:
            lower = [*self.layers.ensure(image), self._mount_points()]
        if not lower:
            raise StorageError(f"the layers of container '{id[:12]}' are unknown", hint="its image was removed")
        return list(lower)

    def _rootfs(self, id: str) -> dict[str, Any]:
        from pyctr.core.fsutil import read_json

        try:
            return read_json(self.paths.container(id, "state.json")).get("rootfs") or {}
        except (OSError, ValueError):
            return {}

    def _mount_points(self) -> str:
        link = f"{self.layers.links}/m"
        if os.path.exists(link):
            return link
        from shutil import rmtree

        from pyctr.core.fsutil import make_private_directory

        make_private_directory(self.layers.links)
        temporary = f"{self.layers.root}/mountpoints.{os.getpid()}.tmp"
        rmtree(temporary, ignore_errors=True)
        os.mkdir(temporary, 0o700)
        os.mkdir(f"{temporary}/diff", 0o755)
        os.chmod(f"{temporary}/diff", 0o755)  # whatever the umask is
        for point in MOUNT_POINTS:
            place = f"{temporary}/diff/{point}"
            if point.endswith("/"):
                os.mkdir(place)
                os.chmod(place, 0o755)
            else:
                os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
                os.chmod(place, 0o644)
        os.symlink("/proc/mounts", f"{temporary}/diff/etc/mtab")
        try:
            os.rename(temporary, f"{self.layers.root}/mountpoints")
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            rmtree(temporary)  # another pyctr was faster
        try:
            os.symlink("../mountpoints/diff", link)
        except FileExistsError:
            pass  # likewise
        return link

    def _nothing(self) -> str:
        """An empty directory, for overlayfs wants a lower one."""
        from pyctr.core.fsutil import make_private_directory

        make_private_directory(self.layers.links)
        link = f"{self.layers.links}/n"
        if not os.path.exists(link):
            os.makedirs(f"{self.layers.root}/nothing", 0o755, exist_ok=True)
            try:
                os.symlink("../nothing", link)
            except FileExistsError:
                pass  # another pyctr was faster
        os.chmod(link, 0o755)  # whatever the umask is
        return link

    def _program(self) -> dict[str, str]:
        from pyctr.core import fuseoverlay
        from pyctr.core.errors import Unsupported

        if not (found := fuseoverlay.program()):
            raise Unsupported(f"storage driver '{FUSE}': it is not installed", hint="apt install fuse-overlayfs")
        return {"program": found}


def serve(rootfs: Mapping[str, Any]) -> Served | None:
    """Start what a mount needs that a process serves; from outside the mount namespace that it is mounted in, which
    could not end otherwise. Raises OSError."""
    if rootfs["driver"] != FUSE:
        return None
    from pyctr.core import fuseoverlay

    return fuseoverlay.serve(rootfs)


def mount_rootfs(rootfs: Mapping[str, Any], target: str, served: Served | None = None) -> None:
    """Mount what `prepare` returned onto `target` (absolute), in the calling process's mount namespace.

    Lower directories are named relative to the directory of short links, since all options share one page: 500 of
    them fit. The working directory is changed for that moment. Raises OSError.
    """
    from pyctr.core.linux.const import AT_FDCWD, MS_BIND
    from pyctr.core.linux.mount import fd_path, mount, move_mount

    if served is not None:
        move_mount(served.tree, "", AT_FDCWD, target)
        served.close_tree()
        return
    if rootfs["driver"] in (VFS, BTRFS):
        mount(rootfs["path"], target, None, MS_BIND)
        return
    if rootfs["driver"] == ZFS:
        mount(rootfs["dataset"], target, "zfs")
        return
    lower = rootfs["lower"]
    links = os.path.dirname(lower[0])
    kept: list[int] = []
    before = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir(links)
        names = [path[len(links) + 1 :] if os.path.dirname(path) == links else path for path in lower]
        upper, work = rootfs["upper"], rootfs["work"]
        data = f"lowerdir={':'.join(names)},upperdir={upper},workdir={work},{_OPTIONS}"
        if len(data) > 4000 or any(mark in upper + work for mark in ',:\\"'):
            # too long, or what the option parser would take apart
            for path in (upper, work):
                kept += (os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC),)
            data = f"lowerdir={':'.join(names)},upperdir={fd_path(kept[0])},workdir={fd_path(kept[1])},{_OPTIONS}"
        if os.geteuid() != 0:
            data += ",userxattr"
        if not rootfs.get("volatile"):
            mount("overlay", target, "overlay", 0, data)
            return
        try:
            # no syncing for what nobody will look at again
            mount("overlay", target, "overlay", 0, f"{data},volatile")
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # before 5.10 there is no such option; after it, an earlier volatile mount (a restart) left its mark
            from shutil import rmtree

            rmtree(f"{work}/work/incompat", ignore_errors=True)
            mount("overlay", target, "overlay", 0, data)
    finally:
        os.fchdir(before)
        for fd in (before, *kept):
            os.close(fd)


def disk_usage(path: str) -> int:
    """Bytes on disk below a directory, hard links once; what vanishes meanwhile is left out."""
    total = 0
    seen = set()
    try:
        for _, directories, files, fd in os.fwalk(path):
            for name in (*directories, *files):
                try:
                    found = os.stat(name, dir_fd=fd, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if found.st_nlink > 1 and name not in directories:
                    if (found.st_dev, found.st_ino) in seen:
                        continue
                    seen.add((found.st_dev, found.st_ino))
                total += found.st_blocks * 512
    except FileNotFoundError:
        return total
    return total
