"""The btrfs driver: a container's root is a snapshot of its image's files, made in an instant and without a mount.

<root>/snapshots/<key>/files    a subvolume with all layers of an image merged into it
<root>/snapshots/<key>/layers   which: names of unpacked layers, topmost first
<root>/snapshots/.<key>.<pid>   being filled; swept when its process is gone

Contents are shared with the unpacked layers (copy_file_range(2) makes reflinks there), so a base takes metadata only.
It stays as long as its layers do.
"""

from __future__ import annotations

import errno
import os

from pyctr.core.fsutil import Lock, make_private_directory, remove_tree, write_atomic
from pyctr.core.linux import btrfs


def works(root: str) -> bool:
    """Are there subvolumes below this directory?"""
    return btrfs.is_btrfs(root)


def take(root: str, lower: list[str], path: str) -> None:
    """Make `path` a snapshot of these layers (short links, topmost first). Raises OSError."""
    names = [os.path.basename(os.path.dirname(os.path.realpath(link))) for link in lower]
    base = f"{root}/{_key(names)}"
    make_private_directory(root)
    while True:
        if not os.path.exists(f"{base}/layers"):
            _fill(root, base, names, lower)
        try:
            btrfs.snapshot(f"{base}/files", path)
            return
        except FileNotFoundError:
            if os.path.exists(base):
                raise
            # its image was removed and came back meanwhile


def drop(path: str) -> None:
    """Remove a snapshot, or whatever is there. Nothing there is no error. Raises OSError."""
    try:
        btrfs.destroy(path)
    except OSError as error:
        if error.errno != errno.ENOENT:
            remove_tree(path)  # no subvolume, or one with others inside


def collect(root: str, layers: str) -> None:
    """Remove bases of which a layer is gone, and what killed pyctrs left."""
    try:
        names = os.listdir(root)
    except FileNotFoundError:
        return
    with Lock(f"{root}/.lock"):
        for name in names:
            place = f"{root}/{name}"
            if name.startswith("."):
                if name != ".lock" and not os.path.exists(f"/proc/{name.rpartition('.')[2]}"):
                    _remove(place)
                continue
            try:
                with open(f"{place}/layers") as file:
                    having = file.read().split()
            except FileNotFoundError:
                having = []
            if not having or not all(os.path.isdir(f"{layers}/{layer}") for layer in having):
                doomed = f"{root}/.{name}.{os.getpid()}"
                os.rename(place, doomed)
                _remove(doomed)


def _fill(root: str, base: str, names: list[str], lower: list[str]) -> None:
    """Whole or not at all."""
    from pyctr.core.images.merged import Directory, copy

    fresh = f"{root}/.{os.path.basename(base)}.{os.getpid()}"
    _remove(fresh)
    os.mkdir(fresh, 0o700)
    try:
        btrfs.create(f"{fresh}/files")
        target = os.open(f"{fresh}/files", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with Directory.root(lower) as source:
                copy(source, target)
        finally:
            os.close(target)
        write_atomic(f"{fresh}/layers", "\n".join(names).encode(), durable=False)
        with Lock(f"{root}/.lock"):
            if not os.path.exists(base):
                os.rename(fresh, base)
    finally:
        _remove(fresh)


def _remove(place: str) -> None:
    drop(f"{place}/files")
    remove_tree(place)


def _key(names: list[str]) -> str:
    from hashlib import sha256

    return sha256("\n".join(names).encode()).hexdigest()[:32]
