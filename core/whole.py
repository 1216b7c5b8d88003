"""Drivers that give a container a whole tree of its own: a copy (vfs), or a snapshot (btrfs, zfs)."""

from __future__ import annotations

import os

from pyctr.core.fsutil import make_private_directory
from pyctr.core.storage import BTRFS, OVERLAY, VFS, ZFS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

    from pyctr.core.images.layers import LayerStore


def prepare(
    driver: str, layers: LayerStore, directory: str, lower: list[str], readonly: bool, size: int
) -> dict[str, Any]:
    """What `Storage.prepare` returns. `directory` is the container's. Raises OSError, Unsupported."""
    make_private_directory(directory)
    made = {"driver": driver, "lower": lower, "volatile": False, "readonly": readonly}
    if driver == ZFS:
        return {**made, "dataset": _clone(layers, directory, lower, size)}
    path = f"{directory}/rootfs"
    if driver == VFS:
        _copy(directory, lower, path, size)
    else:
        _snapshot(layers, directory, lower, path)
    return {**made, "path": path}


def remove(layers: LayerStore, directory: str) -> None:
    """A container's snapshot, whatever made it; plain files are left. Raises OSError when it is busy."""
    if os.path.exists(f"{directory}/dataset"):
        from pyctr.core import datasets

        datasets.drop(directory)
    copied = f"{directory}/rootfs"
    if os.path.isdir(copied) and snapshots_work(layers, directory):
        from pyctr.core import snapshots

        snapshots.drop(copied)


def remove_all(layers: LayerStore, containers: str) -> None:
    """`remove` for every directory in this one. Raises OSError."""
    try:
        names = os.listdir(containers)
    except FileNotFoundError:
        return
    for name in names:
        remove(layers, f"{containers}/{name}")


def usage(directory: str, driver: str, changes: Callable[[], list[tuple[str, str]]]) -> int:
    """Bytes that a container's tree takes on disk; with snapshots, those that it does not share."""
    from pyctr.core.storage import disk_usage

    copied = f"{directory}/rootfs"
    if driver == ZFS:
        from pyctr.core import datasets

        try:
            return datasets.used(datasets.name(directory))
        except OSError:
            return 0  # removed meanwhile
    if driver != BTRFS:
        return disk_usage(copied)
    total = 0
    for kind, path in changes():
        try:
            total += os.lstat(copied + path).st_blocks * 512 if kind != "D" else 0
        except (FileNotFoundError, NotADirectoryError):
            continue  # the container is at work
    return total


class Whole:
    """The tree of the container whose directory is given, as a path that is good inside; "" where there is none."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._tree = -1

    def __enter__(self) -> str:
        copied = f"{self._directory}/rootfs"
        if os.path.isdir(copied):
            return copied
        if not os.path.exists(f"{self._directory}/dataset"):
            return ""
        from pyctr.core import datasets
        from pyctr.core.linux import zfs
        from pyctr.core.linux.mount import fd_path

        self._tree = zfs.tree(datasets.name(self._directory))
        return fd_path(self._tree)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tree >= 0:
            os.close(self._tree)
            self._tree = -1


def snapshots_work(layers: LayerStore, directory: str) -> bool:
    """Is this directory (made if there is none) on btrfs, and together with the layers?"""
    from pyctr.core import snapshots

    make_private_directory(directory)
    make_private_directory(layers.snapshots)
    there = os.stat(directory).st_dev == os.stat(layers.snapshots).st_dev
    return there and snapshots.works(directory)


def _copy(directory: str, lower: list[str], path: str, size: int) -> None:
    from pyctr.core import sizelimit
    from pyctr.core.images.merged import Directory, copy

    temporary = f"{directory}/rootfs.tmp"
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


def _snapshot(layers: LayerStore, directory: str, lower: list[str], path: str) -> None:
    from pyctr.core import snapshots

    if not snapshots_work(layers, directory):
        _elsewhere(BTRFS, directory)
    snapshots.take(layers.snapshots, lower, path)


def _clone(layers: LayerStore, directory: str, lower: list[str], size: int) -> str:
    from pyctr.core import datasets
    from pyctr.core.linux import zfs

    if not zfs.program():
        from pyctr.core.errors import Unsupported

        raise Unsupported(
            f"storage driver '{ZFS}': the program 'zfs' is not installed", hint="apt install zfsutils-linux"
        )
    if not zfs.is_zfs(layers.root):
        _elsewhere(ZFS, directory)
    return datasets.take(layers.datasets, lower, directory, size)


def _elsewhere(driver: str, directory: str) -> None:
    from pyctr.core.errors import Unsupported

    raise Unsupported(
        f"storage driver '{driver}': '{os.path.dirname(directory)}' is on another file system", hint=f"{OVERLAY}"
    )
