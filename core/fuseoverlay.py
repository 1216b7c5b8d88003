"""The fuse-overlayfs driver: an overlay made by a program, where the kernel's own cannot mount but fuse(4) is there.

Layers and writable layer lie on disk as overlayfs has them. A mount is made here, attached nowhere, and the program
serves it through /dev/fuse from outside every mount namespace in which it will be seen: whoever it is handed to holds
the last word. When those namespaces and descriptors are gone the kernel ends the connection, and the program goes.
"""

from __future__ import annotations

import errno
import os

from pyctr.core.linux import const, mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PROGRAM = "fuse-overlayfs"
DEVICE = "/dev/fuse"
_PLACES = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")
_ODD = frozenset(",:\\\"'\n")
_PATIENCE = 10.0
"""Seconds for the program to see that its connection is gone: it is told at once, if it is given any time to run."""


class Served:
    """A mount and the program behind it. `tree` is a detached mount (-1: given away), `pidfd` the program's."""

    def __init__(self, tree: int, pid: int, pidfd: int) -> None:
        self.tree = tree
        self.pid = pid
        self.pidfd = pidfd

    def close_tree(self) -> None:
        if self.tree >= 0:
            os.close(self.tree)
            self.tree = -1

    def end(self) -> None:
        """Wait for the program, which ends with the last view of its mount, and reap it; twice is no error."""
        import select

        from pyctr.core.linux import namespaces

        self.close_tree()
        if self.pidfd < 0:
            return
        watch = select.poll()
        watch.register(self.pidfd, select.POLLIN)
        if not watch.poll(_PATIENCE * 1000):
            namespaces.pidfd_send_signal(self.pidfd, 9)
            watch.poll(_PATIENCE * 1000)
        os.close(self.pidfd)
        self.pidfd = -1
        try:
            os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            pass  # a shim reaps whatever ends


def program() -> str:
    """Where it is installed, "" for nowhere. Not PATH, which a user may have set to anything."""
    return next((path for place in _PLACES if os.access(path := f"{place}/{PROGRAM}", os.X_OK)), "")


def works(directory: str) -> bool:
    """Does it serve an overlay of directories below this one? Raises OSError for what says nothing about that."""
    import shutil

    from pyctr.core.images.unpack import is_whiteout

    found = program()
    if not found or not os.access(DEVICE, os.R_OK | os.W_OK):
        return False
    try:
        for name in ("lower", "upper", "work"):
            os.mkdir(f"{directory}/{name}")
        os.mkdir(f"{directory}/lower/gone")
        served = serve({"program": found, **{name: f"{directory}/{name}" for name in ("upper", "work")},
                        "lower": [f"{directory}/lower"]})  # fmt: skip
        try:
            os.rmdir("gone", dir_fd=served.tree)
            # on overlayfs it cannot make whiteouts, and would spell them in its own way
            return is_whiteout(os.lstat(f"{directory}/upper/gone"))
        finally:
            served.end()
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT):
            raise
        return False
    finally:
        for name in ("lower", "upper", "work"):
            shutil.rmtree(f"{directory}/{name}", ignore_errors=True)


def serve(rootfs: Mapping[str, Any]) -> Served:
    """Start the program for what `Storage.prepare` made. Raises OSError, with what it said if it did not come up."""
    upper, work, lower = rootfs["upper"], rootfs["work"], rootfs["lower"]
    for path in (upper, work, *lower):
        if _ODD.intersection(path):
            raise OSError(errno.EINVAL, f"{PROGRAM}: no word of its options can have these characters", path)
    options = f"lowerdir={':'.join(lower)},upperdir={upper},workdir={work}"
    if rootfs.get("volatile"):
        options += ",volatile"
    said = os.memfd_create("said", os.MFD_CLOEXEC)
    try:
        served = _started(rootfs["program"], options, said)
        try:
            os.stat(".", dir_fd=served.tree)  # answered by the program
        except OSError as error:
            served.end()
            words = os.pread(said, 500, 0).decode(errors="replace").strip().splitlines()
            reason = words[-1] if words else (error.strerror or "").lower()
            raise OSError(error.errno, f"{PROGRAM}: {reason}", upper) from None
        return served
    finally:
        os.close(said)


def _started(path: str, options: str, said: int) -> Served:
    device = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    try:
        tree = _mount(device)
        try:
            pid = _spawn(path, options, device, said)
            # not reaped before we let go of it: nobody else has that number
            return Served(tree, pid, os.pidfd_open(pid))
        except BaseException:
            os.close(tree)
            raise
    finally:
        # the program's is the only one from here on: its death is the connection's
        os.close(device)


def _mount(device: int) -> int:
    """A detached fuse mount whose requests are read from `device`; permissions are checked by the kernel."""
    filesystem = mount.fsopen("fuse")
    try:
        words = {"source": PROGRAM, "fd": str(device), "rootmode": "40000", "user_id": "0", "group_id": "0"}
        for key, value in words.items():
            mount.fsconfig(filesystem, const.FSCONFIG_SET_STRING, key, value)
        for key in ("default_permissions", "allow_other"):
            mount.fsconfig(filesystem, const.FSCONFIG_SET_FLAG, key)
        mount.fsconfig(filesystem, const.FSCONFIG_CMD_CREATE)
        return mount.fsmount(filesystem, const.FSMOUNT_CLOEXEC, 0)
    finally:
        os.close(filesystem)


def _spawn(path: str, options: str, device: int, said: int) -> int:
    """libfuse takes /dev/fd/N for a mount that is there already (fuse(8))."""
    return os.posix_spawn(
        path,
        [PROGRAM, "-f", "-o", options, "/dev/fd/3"],
        {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        file_actions=[
            (os.POSIX_SPAWN_DUP2, said, 1),
            (os.POSIX_SPAWN_DUP2, said, 2),
            (os.POSIX_SPAWN_DUP2, device, 3),
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        ],
        # neither the terminal's signals nor a caller's mask are its
        setsid=True,
        setsigmask=(),
        setsigdef=(1, 2, 3, 13, 15, 17),
    )
