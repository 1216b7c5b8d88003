"""Containers that the script `pyctr-runtime` (tools/) starts and deletes without an interpreter.

    plain     one line: "1", the pid of the first process, its cgroups; written last by `create`
    started   made by the script's own start

Plain is what takes one byte at its gate to start, and rmdir(2) and unlink(2) to go: no hooks, nobody else's cgroup, an
init that waits without an interpreter of ours and has nothing to say but what failed. The script believes these files
as we believe state.json beside them; whenever it has a doubt it leaves everything to us.
"""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.cgroups.group import Manager

_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_.,:=@+-")
"""What a shell takes for nothing but itself, whatever its options are."""


def line(record: dict[str, Any], config: dict[str, Any], manager: Manager) -> str:
    """The content of the file for a created container whose init has departed; "" if it is not plain."""
    hooks = config.get("hooks") or {}
    if record["scope"] or (config.get("linux") or {}).get("intelRdt"):
        return ""
    if any(hooks.get(name) for name in ("startContainer", "poststart", "poststop")):
        return ""
    groups = [path for path in manager.paths().values() if os.path.isdir(path)]
    if not groups or not all(_SAFE.issuperset(path) for path in groups):
        return ""
    return " ".join(["1", str(record["pid"]), *groups]) + "\n"


def write(directory: str, content: str) -> None:
    fd = os.open(f"{directory}/plain", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, content.encode())
    finally:
        os.close(fd)


def forget(directory: str) -> None:
    """From now on the container is ours alone."""
    try:
        os.unlink(f"{directory}/plain")
    except FileNotFoundError:
        pass  # it never was plain


def told() -> bytes:
    """What the script has heard from init at its start, as the payload of a frame REFUSED; b"" if it has heard nothing.

    Shells drop the zeros of the frame (X, 0 0 0 8, errno, what): see `ops_depart.refused`.
    """
    said = os.environb.pop(b"PYCTR_SAID", b"")
    if said[:2] != b"X\x08":
        return b""
    number, execve = [*said[2:4], 0, 0][:2]
    return struct.pack("II", number, execve)
