"""User namespaces made for their mappings: user_namespaces(7), mount_setattr(2) with MOUNT_ATTR_IDMAP."""

from __future__ import annotations

import os

from pyctr.core.linux import const, namespaces, procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def write_maps(pid: int, uid: list[dict[str, Any]], gid: list[dict[str, Any]], proc: str = "/proc") -> None:
    """Both mappings of the user namespace a process has just got; once, and as a whole."""
    for name, entries in (("uid_map", uid), ("gid_map", gid)):
        text = "".join(f"{entry['containerID']} {entry['hostID']} {entry['size']}\n" for entry in entries)
        if not text:
            continue
        fd = procfs.open_verified(f"{pid}/{name}", os.O_WRONLY, proc)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


def make(uid: list[dict[str, Any]], gid: list[dict[str, Any]]) -> int:
    """A descriptor of a new user namespace with OCI mappings, in which nobody lives. For single-threaded callers."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid, pidfd = namespaces.clone3(const.CLONE_NEWUSER)
    if pid == 0:
        try:
            os.close(writer)
            os.read(reader, 1)  # until the parent has opened the namespace, or is dead
        finally:
            os._exit(0)
    try:
        write_maps(pid, uid, gid)
        return namespaces.open_namespace(pid, "user")
    finally:
        os.close(writer)
        os.close(reader)
        os.waitpid(pid, 0)
        os.close(pidfd)
