"""Mount points that the runtime makes for RUN --mount, found before and taken away after it."""

from __future__ import annotations

import dataclasses
import os
import stat

from pyctr.core.images.merged import MARKS, Directory, is_opaque

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40


@dataclasses.dataclass(frozen=True)
class Point:
    """Where a target really is, every link on its way followed; the first `there` components exist before RUN."""

    parts: tuple[str, ...]
    there: int


def find(lower: list[str], target: str) -> Point:
    """A target in the files below a container's writable layer (topmost first)."""
    pending = [part for part in reversed(target.split("/")) if part not in ("", ".")]
    parts: list[str] = []
    links = 0
    if not lower:
        return Point(tuple(reversed(pending)), 0)
    with Directory.root(lower) as root:
        while pending:
            part = pending.pop()
            if part == "..":
                parts = parts[:-1]
                continue
            with root.resolve("/".join(parts)) or Directory([]) as here:
                found = here.lookup(part) if here.fds else None
                if found is None:
                    return Point((*parts, part, *reversed(pending)), len(parts))
                if not stat.S_ISLNK(found[1].st_mode):
                    parts.append(part)
                    continue
                links += 1
                target = os.readlink(part, dir_fd=found[0])
            if links > _MAX_LINKS:
                break
            if target.startswith("/"):
                parts = []
            pending += [piece for piece in reversed(target.split("/")) if piece not in ("", ".")]
    return Point(tuple(parts), len(parts))


def clean(upper: str, lower: list[str], points: list[Point]) -> None:
    """Remove what `points` say was not there and is still empty; directories that were only copied up for it, too."""
    root = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # the deepest first: a mount point may lie in another one's directory
        for point in sorted(points, key=lambda point: -len(point.parts)):
            for depth in range(len(point.parts), 0, -1):
                _remove(root, point.parts[:depth], new=depth > point.there, lower=lower)
    finally:
        os.close(root)


def _remove(root: int, parts: tuple[str, ...], *, new: bool, lower: list[str]) -> None:
    parent = os.dup(root)
    try:
        for part in parts[:-1]:
            child = os.open(part, _DIRECTORY, dir_fd=parent)
            os.close(parent)
            parent = child
        name = parts[-1]
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            if new or _same(parent, name, found, parts, lower):
                if new:
                    _unmark(parent, name)
                os.rmdir(name, dir_fd=parent)
        elif new and stat.S_ISREG(found.st_mode) and found.st_size == 0:
            os.unlink(name, dir_fd=parent)
    except OSError:
        return  # not there, not empty, or RUN has put something else there: that is its result
    finally:
        os.close(parent)


def _unmark(parent: int, name: str) -> None:
    """fuse-overlayfs has something in every new directory."""
    fd = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        inside = os.listdir(fd)
        for mark in inside if MARKS.issuperset(inside) else ():
            os.unlink(mark, dir_fd=fd)
    finally:
        os.close(fd)


def _same(parent: int, name: str, found: os.stat_result, parts: tuple[str, ...], lower: list[str]) -> bool:
    """Was this directory copied up and nothing of it changed but its time?"""
    fd = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        if is_opaque(fd):
            return False
    finally:
        os.close(fd)
    with Directory.root(lower) as root, root.resolve("/".join(parts)) or Directory([]) as below:
        if not below.fds:
            return False
        old = os.fstat(below.fd)
        return (old.st_mode, old.st_uid, old.st_gid) == (found.st_mode, found.st_uid, found.st_gid)
