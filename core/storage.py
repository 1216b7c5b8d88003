"""The root filesystem of a container: an image's layers below, one writable directory on top.

`prepare` and everything else runs in the client and mounts nothing. `mount_rootfs` runs in the container's own mount
namespace, so no overlay is ever visible on the host and none can be left behind. Where overlayfs cannot mount
(an upper directory on overlayfs itself, on NFS, ...) the driver is btrfs on such a filesystem (`snapshots`), else
fuse-overlayfs where that is installed and works (`fuseoverlay`), or else vfs: a plain copy of all layers per container.
btrfs and vfs give a whole directory, "path", and are alike from there on.

Below the image lies one more layer of ours: empty mount points (/proc, /etc/hosts, ...), so that starting a container
writes nothing into its upper directory and `diff` shows only what the container did.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from pyctr.core.fuseoverlay import Served
    from pyctr.core.images.layers import LayerStore
    from pyctr.core.images.model import Image
    from pyctr.core.paths import Paths

OVERLAY = "overlay"
VFS = "vfs"
BTRFS = "btrfs"
FUSE = "fuse-overlayfs"
DRIVERS = (OVERLAY, BTRFS, FUSE, VFS)
"""In the order in which they are tried."""
STACKED = (OVERLAY, FUSE)
"""Those with an upper directory of what was changed."""
ENVIRONMENT = "PYCTR_STORAGE_DRIVER"

MOUNT_POINTS = ("dev/", "etc/", "etc/hostname", "etc/hosts", "etc/resolv.conf", "proc/", "sys/")
# each of these on would put into upper directories what `diff` and `commit` cannot read
_PROBE = ".overlay-"
_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EINTR})
"""Errors that say nothing about the filesystem; a driver chosen for one of them would be remembered until a reboot."""
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
                from pyctr.core.fsutil import make_private_directory, write_atomic

                make_private_directory(self.paths.run)
                self._driver = self._found()
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

    def _found(self) -> str:
        if self._trial(_overlay_works):
            return OVERLAY
        if self._snapshots():
            return BTRFS
        from pyctr.core import fuseoverlay

        return FUSE if self._trial(fuseoverlay.works) else VFS

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
        "volatile". fuse-overlayfs: "program", too. vfs: "path", the copy, and "lower" it was copied from. "readonly"
        is only recorded: mount points must still be made, so the runtime remounts when it is done.
        """
        from pyctr.core.errors import StorageError, from_oserror

        if len(image.layers) >= 500 and len({layer.diff_id for layer in image.layers}) >= 500:
            raise StorageError(f"{len(image.layers)} layers, and overlayfs stacks 499", hint="squash the image")
        lower = self.layers.lower(image) or self.layers.ensure(image)
        directory = self.paths.container(id)
        if size:
            from pyctr.core import sizelimit
            from pyctr.core.fsutil import make_private_directory

            make_private_directory(self.paths.containers)
            sizelimit.check(self.paths.containers)
        try:
            if mount_points:
                lower.append(self._mount_points())
            elif not lower:
                lower.append(self._nothing())
            if self.driver() == VFS:
                return self._prepare_vfs(directory, lower, readonly, size)
            if self.driver() == BTRFS:
                return self._prepare_btrfs(directory, lower, readonly)
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

        copied = self.paths.container(id, "rootfs")
        if os.path.isdir(copied) and self._snapshots():
            from pyctr.core import snapshots

            snapshots.drop(copied)
        for name in ("upper", "work", "rootfs", "rootfs.tmp"):
            remove_tree(self.paths.container(id, name))

    def changes(self, id: str, image: Image | None = None) -> list[tuple[str, str]]:
        """What a container changed: ("A"dded, "C"hanged or "D"eleted, absolute path), sorted by path."""
        from pyctr.core.images.changes import compare, overlaid
        from pyctr.core.images.merged import Directory

        with Directory.root(self._lower(id, image)) as lower:
            copied = self.paths.container(id, "rootfs")
            if os.path.isdir(copied):
                with Directory.root([copied]) as now:
                    return compare(lower, now)
            return overlaid(lower, self.paths.container(id, "upper"))

    def usage(self, id: str) -> int:
        """Bytes on disk of what a container wrote: of its upper directory, with vfs of its whole copy, with btrfs of
        the files that are not as in the image (their blocks that it still shares are counted)."""
        copied = self.paths.container(id, "rootfs")
        if not os.path.isdir(copied):
            return disk_usage(self.paths.container(id, "upper"))
        if self._rootfs(id).get("driver") != BTRFS:
            return disk_usage(copied)
        total = 0
        for kind, path in self.changes(id):
            try:
                total += os.lstat(copied + path).st_blocks * 512 if kind != "D" else 0
            except (FileNotFoundError, NotADirectoryError):
                continue  # the container is at work
        return total

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

    def _prepare_vfs(self, directory: str, lower: list[str], readonly: bool, size: int) -> dict[str, Any]:
        from pyctr.core import sizelimit
        from pyctr.core.fsutil import make_private_directory
        from pyctr.core.images.merged import Directory, copy

        make_private_directory(directory)
        temporary, path = f"{directory}/rootfs.tmp", f"{directory}/rootfs"
        os.mkdir(temporary, 0o700)
        if size:
            sizelimit.apply([temporary], os.path.basename(directory), size)
        target = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with Directory.root(lower) as source:
                copy(source, target)
        finally:
            os.close(target)
        os.rename(temporary, path)
        return {"driver": VFS, "path": path, "lower": lower, "volatile": False, "readonly": readonly}

    def _prepare_btrfs(self, directory: str, lower: list[str], readonly: bool) -> dict[str, Any]:
        from pyctr.core import snapshots
        from pyctr.core.fsutil import make_private_directory

        make_private_directory(directory)
        if not self._snapshots():
            from pyctr.core.errors import Unsupported

            raise Unsupported(
                f"storage driver '{BTRFS}': '{self.paths.containers}' is on another file system", hint=f"{OVERLAY}"
            )
        path = f"{directory}/rootfs"
        snapshots.take(self.layers.snapshots, lower, path)
        return {"driver": BTRFS, "path": path, "lower": lower, "volatile": False, "readonly": readonly}

    def _snapshots(self) -> bool:
        """Are the containers' directories on btrfs, and together with the layers?"""
        from pyctr.core import snapshots
        from pyctr.core.fsutil import make_private_directory

        make_private_directory(self.paths.containers)
        make_private_directory(self.layers.snapshots)
        there = os.stat(self.paths.containers).st_dev == os.stat(self.layers.snapshots).st_dev
        return there and snapshots.works(self.paths.containers)

    def _trial(self, works: Callable[[str], bool]) -> bool:
        """Try something in a directory below our root."""
        import tempfile

        from pyctr.core.fsutil import make_private_directory

        make_private_directory(self.paths.containers)
        sweep(self.paths, os.listdir(self.paths.containers))
        trial = tempfile.mkdtemp(prefix=f"{_PROBE}{os.getpid()}-", dir=self.paths.containers)
        try:
            return works(trial)
        finally:
            try:
                os.rmdir(trial)
            except OSError:
                pass  # not empty: it goes with the next sweep

    def _program(self) -> dict[str, str]:
        from pyctr.core import fuseoverlay
        from pyctr.core.errors import Unsupported

        if not (found := fuseoverlay.program()):
            raise Unsupported(f"storage driver '{FUSE}': it is not installed", hint="apt install fuse-overlayfs")
        return {"program": found}


def _overlay_works(trial: str) -> bool:
    """Configure an overlay of three empty directories without attaching it anywhere.

    fsopen(2) needs no mount namespace and no child process, so this is safe in a process with threads.
    """
    from pyctr.core.linux.const import FSCONFIG_CMD_CREATE, FSCONFIG_SET_STRING
    from pyctr.core.linux.mount import fsconfig, fsopen

    try:
        for name in ("lower", "upper", "work"):
            os.mkdir(f"{trial}/{name}")
        try:
            context = fsopen("overlay")
        except OSError as error:
            if error.errno in _PASSING:
                raise
            return False  # ENODEV: no overlayfs; EPERM: no mounting at all
        try:
            for key, name in (("lowerdir", "lower"), ("upperdir", "upper"), ("workdir", "work")):
                fsconfig(context, FSCONFIG_SET_STRING, key, f"{trial}/{name}")
            fsconfig(context, FSCONFIG_CMD_CREATE)
        except OSError as error:
            if error.errno in _PASSING:
                raise
            return False  # EINVAL: overlayfs refuses this filesystem as upper
        finally:
            os.close(context)
        return True
    finally:
        # by path, which needs no descriptor; work/work is what overlayfs made
        for name in ("/lower", "/upper", "/work/work", "/work"):
            try:
                os.rmdir(trial + name)
            except OSError:
                continue  # never made; what stays all the same goes with the next sweep


def sweep(paths: Paths, names: list[str]) -> None:
    """Remove what probes that were killed left; `names` are those below `paths.containers`."""
    for name in names:
        if name.startswith(_PROBE) and not os.path.exists(f"/proc/{name[len(_PROBE) :].partition('-')[0]}"):
            from shutil import rmtree

            rmtree(f"{paths.containers}/{name}", ignore_errors=True)


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
