"""User namespaces made for their mappings: user_namespaces(7), mount_setattr(2) with MOUNT_ATTR_IDMAP."""

from __future__ import annotations

import errno
import os

from pyctr.core.linux import const, namespaces, procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def write_maps(pid: int, uid: list[dict[str, Any]], gid: list[dict[str, Any]], proc: str = "/proc") -> None:
    """Both mappings of the user namespace a process has just got; once, and as a whole.

    An ordinary user may map nobody else, and gives up setgroups(2) inside for the group; for all other ids there are
    newuidmap(1) and newgidmap(1), which look into subuid(5).
    """
    for name, entries in (("uid_map", uid), ("gid_map", gid)):
        text = "".join(f"{entry['containerID']} {entry['hostID']} {entry['size']}\n" for entry in entries)
        if not text:
            continue
        try:
            _write(f"{pid}/{name}", text, proc)
        except PermissionError:
            if len(entries) > 1 or entries[0]["size"] > 1:
                _ask_helper(f"new{name.replace('_', '')}", pid, text)
            elif name == "gid_map":
                _write(f"{pid}/setgroups", "deny", proc)
                _write(f"{pid}/{name}", text, proc)
            else:
                raise


def _write(path: str, text: str, proc: str) -> None:
    fd = procfs.open_verified(path, os.O_WRONLY, proc)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _ask_helper(program: str, pid: int, text: str) -> None:
    """Raises OSError; why, the program has said on stderr."""
    child = os.posix_spawnp(program, [program, str(pid), *text.split()], os.environ)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise OSError(errno.EPERM, f"{program}: it refuses", text)


def keeps_groups(proc: int) -> bool:
    """Whether in the caller's user namespace nobody may change groups: those that the caller had outside stay."""
    fd = os.open("self/setgroups", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    try:
        return os.read(fd, 16).strip() == b"deny"
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
