"""A layer put on top of a tree, or below one, as overlayfs would show both: for drivers that keep trees."""

from __future__ import annotations

import os
import stat

from pyctr.core import fsutil
from pyctr.core.images.merged import MARKS, Directory, copy_metadata, copy_node, is_opaque, link_copied
from pyctr.core.images.unpack import is_whiteout

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def apply(layer: int, target: int) -> None:
    """Both are descriptors of directories. Hard links inside the layer stay hard links. Raises OSError."""
    linked: dict[tuple[int, int], str] = {}

    def descend(source: int, into: int, path: str) -> None:
        for name in os.listdir(source):
            if name in MARKS:
                continue
            found = os.stat(name, dir_fd=source, follow_symlinks=False)
            place = f"{path}/{name}" if path else name
            if stat.S_ISDIR(found.st_mode):
                child = os.open(name, _DIRECTORY, dir_fd=source)
                try:
                    below = _directory(name, into, is_opaque(child))
                    try:
                        descend(child, below, place)
                    finally:
                        os.close(below)
                finally:
                    os.close(child)
                continue
            fsutil.remove_at(into, name)
            if is_whiteout(found):
                continue
            key = (found.st_dev, found.st_ino)
            if key in linked:
                link_copied(target, linked[key], into, name)
                continue
            copy_node(source, name, found, into)
            if found.st_nlink > 1:
                linked[key] = place
        for name in os.listxattr(into):
            if name != "security.selinux":  # every file has one, whatever it came with
                os.removexattr(into, name)
        copy_metadata(source, into, os.fstat(source))

    descend(layer, target, "")


def underlay(seen: Directory, target: int) -> None:
    """Add what only the undermost layer of `seen` has; `target` has all of the others. Raises OSError."""
    layer = seen.fds[-1]
    before = os.fstat(target)
    for name in os.listdir(layer):
        found = seen.lookup(name)
        if found is None:
            continue  # some layer says that there is none
        if found[0] == layer:
            if not stat.S_ISDIR(found[1].st_mode):
                copy_node(layer, name, found[1], target)
                continue
            os.mkdir(name, 0o700, dir_fd=target)
        if not stat.S_ISDIR(found[1].st_mode):
            continue
        below = seen.open(name)
        if below is None:
            continue
        with below:
            fd = os.open(name, _DIRECTORY, dir_fd=target)
            try:
                if found[0] == layer:
                    copy_metadata(below.fd, fd, os.fstat(below.fd))
                if _is(layer, name, below.fds[-1]):
                    underlay(below, fd)
            finally:
                os.close(fd)
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))


def _is(parent: int, name: str, fd: int) -> bool:
    """Is this directory the one of that name, or does something above hide that?"""
    one, other = os.stat(name, dir_fd=parent, follow_symlinks=False), os.fstat(fd)
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def _directory(name: str, into: int, alone: bool) -> int:
    """A descriptor of the directory of this name, empty if `alone`; made if there is none."""
    if alone:
        fsutil.remove_at(into, name)
    try:
        return os.open(name, _DIRECTORY, dir_fd=into)
    except FileNotFoundError:
        pass  # the layers below have none
    except OSError:  # ENOTDIR, ELOOP: a file or a link
        fsutil.remove_at(into, name)
    os.mkdir(name, 0o700, dir_fd=into)
    return os.open(name, _DIRECTORY, dir_fd=into)
