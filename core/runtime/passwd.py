"""Users and groups by name, from the files of a container (passwd(5), group(5)).

The files are the image's: any size, any type, any bytes. They are opened below the root and read to a bound.
"""

from __future__ import annotations

import os
import stat

from pyctr.core import errors

_BOUND = 4 << 20


def _lines(root: int, path: str) -> list[list[str]]:
    from pyctr.core.linux import inroot

    try:
        # O_NONBLOCK: a FIFO of that name must not hold us
        fd = inroot.open_in(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return []
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return []
        content = b""
        while len(content) < _BOUND and (piece := os.read(fd, 1 << 16)):
            content += piece
    finally:
        os.close(fd)
    return [line.split(":") for line in content.decode(errors="surrogateescape").splitlines()]


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and int(text) < (1 << 32) - 1 else None


def resolve(root: int, text: str) -> tuple[int, int, list[int], str]:
    """(uid, gid, supplementary groups, home) of "user", "uid", "user:group", "uid:gid".

    A name wins over a number; a number needs no entry. Raises RuntimeFailure for a name that is not there.
    """
    user, colon, group = text.partition(":")
    uid, gid, home, name = 0, 0, "/", ""
    number = _number(user)
    found = None
    for fields in _lines(root, "etc/passwd"):
        if len(fields) < 6:
            continue
        entry = _number(fields[2])
        if entry is None:
            continue
        if user and fields[0] == user:
            found = fields
            break
        if found is None and entry == (0 if not user else number):
            found = fields
    if found is not None:
        name, uid, gid, home = found[0], int(found[2]), _number(found[3]) or 0, found[5] or "/"
    elif number is not None:
        uid = number
    elif user:
        raise errors.RuntimeFailure(f"no user '{user}' in the container's /etc/passwd", hint="use a numeric uid")
    groups: list[int] = []
    lines = _lines(root, "etc/group")
    if colon and group:
        wanted = _number(group)
        for fields in lines:
            if len(fields) > 2 and fields[0] == group and (entry := _number(fields[2])) is not None:
                wanted = entry
                break
        if wanted is None:
            raise errors.RuntimeFailure(f"no group '{group}' in the container's /etc/group", hint="use a numeric gid")
        gid = wanted
    elif name:
        for fields in lines:
            entry = _number(fields[2]) if len(fields) > 3 else None
            if entry is not None and name in fields[3].split(","):
                groups.append(entry)
    return uid, gid, groups, home


def groups(root: int, names: list[str]) -> list[int]:
    """Their numbers. Raises RuntimeFailure for a name that is not there."""
    known = {
        fields[0]: number
        for fields in _lines(root, "etc/group")
        if (number := _number((*fields, "", "")[2])) is not None
    }
    found = []
    for name in names:
        if name not in known:
            raise errors.RuntimeFailure(f"no group '{name}' in the container's /etc/group", hint="use a numeric gid")
        found.append(known[name] or 0)
    return found


def home(root: int, uid: int) -> str:
    """The home directory of a uid, "/" for one without entry."""
    for fields in _lines(root, "etc/passwd"):
        if len(fields) > 5 and _number(fields[2]) == uid:
            return fields[5] or "/"
    return "/"
