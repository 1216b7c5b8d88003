"""What differs between a container's files and the image below them, as `docker diff` words it."""

from __future__ import annotations

import os
import stat

from pyctr.core.images.merged import MARKS, Directory, is_opaque
from pyctr.core.images.unpack import is_whiteout

Changes = list[tuple[str, str]]
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def overlaid(lower: Directory, upper: str) -> Changes:
    """The changes that an overlay's upper directory stands for. Reads only what is in the upper directory."""
    changes: Changes = []
    fd = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _upper(fd, lower, "", changes)
    finally:
        os.close(fd)
    return sorted(changes, key=lambda change: change[1])


def _upper(fd: int, lower: Directory | None, path: str, changes: Changes) -> None:
    for name in os.listdir(fd):
        if name in MARKS:
            continue
        try:
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            continue  # the container is at work
        place = f"{path}/{name}"
        below = lower.lookup(name) if lower else None
        if is_whiteout(found):
            if below:
                changes.append(("D", place))
        elif stat.S_ISDIR(found.st_mode):
            try:
                child = os.open(name, _DIRECTORY, dir_fd=fd)
            except OSError:
                continue  # replaced since
            try:
                _upper_directory(child, lower, name, below, place, changes)
            finally:
                os.close(child)
        else:
            changes.append(("C" if below else "A", place))


def _upper_directory(
    fd: int,
    lower: Directory | None,
    name: str,
    below: tuple[int, os.stat_result] | None,
    place: str,
    changes: Changes,
) -> None:
    under = lower.open(name) if lower else None
    if below is None or under is None:
        changes.append(("C" if below else "A", place))
        _upper(fd, None, place, changes)
        return
    with under:
        at = len(changes)
        if is_opaque(fd):
            here = set(os.listdir(fd))
            changes += [("D", f"{place}/{other}") for other, _, _ in under.entries() if other not in here]
        _upper(fd, under, place, changes)
        if len(changes) > at or _metadata(os.fstat(fd)) != _metadata(below[1]):
            changes.insert(at, ("C", place))


def compare(before: Directory, now: Directory) -> Changes:
    """The changes between two whole trees. A file counts as changed when its type, owner, mode, size or time is."""
    changes: Changes = []
    _compare(before, now, "", changes)
    return sorted(changes, key=lambda change: change[1])


def _compare(before: Directory | None, now: Directory, path: str, changes: Changes) -> None:
    seen = set()
    for name, _, found in now.entries():
        seen.add(name)
        place = f"{path}/{name}"
        below = before.lookup(name) if before else None
        if not stat.S_ISDIR(found.st_mode):
            if below is None or _file(found) != _file(below[1]):
                changes.append(("C" if below else "A", place))
            continue
        child = now.open(name)
        under = before.open(name) if before else None
        at = len(changes)
        try:
            if child is not None:
                _compare(under, child, place, changes)
        finally:
            for directory in (child, under):
                if directory is not None:
                    directory.__exit__()
        if below is None:
            changes.insert(at, ("A", place))
        elif len(changes) > at or under is None or _metadata(found) != _metadata(below[1]):
            changes.insert(at, ("C", place))
    if before:
        changes += [("D", f"{path}/{name}") for name, _, _ in before.entries() if name not in seen]


def _metadata(found: os.stat_result) -> tuple[int, ...]:
    return found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns


def _file(found: os.stat_result) -> tuple[int, ...]:
    return *_metadata(found), found.st_size, found.st_rdev
