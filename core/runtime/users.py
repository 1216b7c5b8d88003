"""Who a container runs as: USER and --user resolved against the image's own /etc/passwd and /etc/group.

The container's filesystem is mounted only inside its mount namespace, so the files are looked for in the directories
overlayfs would merge, topmost first, each opened with openat2 so that no symlink leads out of it.
"""

from __future__ import annotations

import errno
import os
import stat

from pyctr.core import errors
from pyctr.core.linux.inroot import open_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

_MAX = 1 << 20
_HIGHEST = (1 << 32) - 2


def resolve(text: str, groups: Iterable[str], directories: Sequence[str]) -> dict[str, Any]:
    """{"uid", "gid", "additionalGids", "home"} for "", "name", "uid", "name:group", "uid:gid".

    `directories` are the rootfs or its overlay layers, topmost first. As in Docker: a numeric user needs no entry, a
    user without group gets the entry's group and every group that lists it. Raises UsageError for unknown names.
    """
    user, colon, group = text.partition(":")
    user = user or "0"
    entry = next(
        (
            fields
            for fields in _entries(directories, "etc/passwd", 6)
            if fields[0] == user or (user.isdigit() and fields[2] == user)
        ),
        None,
    )
    if entry is not None and entry[2].isdigit():
        uid, gid, home, login = int(entry[2]), int(entry[3]) if entry[3].isdigit() else 0, entry[5] or "/", entry[0]
    elif user.isdigit():
        uid, gid, home, login = int(user), 0, "/", ""
    else:
        raise errors.UsageError(f"no user '{user}' in the image", hint="use a number, or a name in its /etc/passwd")
    more: list[int] = []
    known: list[list[str]] | None = None
    wanted = list(groups)
    if colon and group.isdigit():
        gid = int(group)
    elif colon and group:
        known = list(_entries(directories, "etc/group", 3))
        gid = _gid(group, known)
    elif not colon and login:
        known = list(_entries(directories, "etc/group", 4))
        more = [int(fields[2]) for fields in known if login in fields[3].split(",") and fields[2].isdigit()]
    for item in wanted:
        if item.isdigit():
            more.append(int(item))
        else:
            known = known if known is not None else list(_entries(directories, "etc/group", 3))
            more.append(_gid(item, known))
    for value in (uid, gid, *more):
        if value > _HIGHEST:
            raise errors.UsageError(f"user or group id {value} is too large")
    return {"uid": uid, "gid": gid, "additionalGids": sorted(set(more)), "home": home}


def _gid(name: str, known: Iterable[list[str]]) -> int:
    for fields in known:
        if fields[0] == name and fields[2].isdigit():
            return int(fields[2])
    raise errors.UsageError(f"no group '{name}' in the image", hint="use a number, or a name in its /etc/group")


def _entries(directories: Sequence[str], path: str, least: int) -> Iterable[list[str]]:
    for line in read_file(directories, path).decode("utf-8", "surrogateescape").splitlines():
        fields = line.split(":")
        if len(fields) >= least and fields[0]:
            yield fields


def read_file(directories: Sequence[str], path: str) -> bytes:
    """A regular file of the merged tree, at most 1 MiB of it; b"" when there is none."""
    for directory in directories:
        try:
            root = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # an upper directory that is not made yet
        try:
            # O_PATH first: opening a FIFO or a device that the image put there must not block or act
            fd = open_in(root, path)
            try:
                mode = os.fstat(fd).st_mode
                if not stat.S_ISREG(mode):
                    return b""  # a whiteout (character device 0:0) hides what is below; anything else is no file
                real = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
                try:
                    return os.read(real, _MAX)
                finally:
                    os.close(real)
            finally:
                os.close(fd)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV):
                raise
            if error.errno != errno.ENOENT or _opaque(root, os.path.dirname(path)):
                return b""
        finally:
            os.close(root)
    return b""


def _opaque(root: int, path: str) -> bool:
    """Whether this layer's directory hides the ones below (overlayfs, "trusted.overlay.opaque")."""
    try:
        fd = open_in(root, path)
    except OSError:
        return False
    try:
        return os.getxattr(f"/proc/self/fd/{fd}", "trusted.overlay.opaque") == b"y"
    except OSError:
        return False  # no such attribute, or a filesystem without any
    finally:
        os.close(fd)
