"""Secrets as files of a file system in memory that only this container has."""

from __future__ import annotations

import os

from pyctr.core.runtime import operation, ops_mount
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.runtime.context import Context

PLACE = "/run/secrets"


class Secrets(Operation):
    """After the mounts of the configuration. Those below /run/secrets come with that directory, so that a layer made
    of this container has not even empty files by their names; others are mounted one by one."""

    step = operation.ROOTFS

    files: list[dict[str, Any]]
    """{source (on the host), target (inside), uid, gid, mode}"""

    def describe(self) -> str:
        return "\n".join(f"secret {entry['source']} on {entry['target']} (tmpfs)" for entry in self.files)

    def brief(self) -> str:
        return f"{len(self.files)} secret{'s' * (len(self.files) != 1)}"

    def prepare(self, context: Context) -> None:
        """The values, while we are the host's root and its files are in sight."""
        self._values = [read(entry["source"]) for entry in self.files]
        # a place for the tmpfs while parts of it are taken: only what is mounted can be cloned
        self._below = os.open(os.path.dirname(self.files[0]["source"]), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import const, mount

        tree = self._make()
        together = False
        os.mkdir("run", 0o755, dir_fd=tree)
        os.chmod("run", 0o755, dir_fd=tree)
        names: list[tuple[str, str]] = []
        for number, (entry, value) in enumerate(zip(self.files, self._values, strict=True)):
            directory, _, name = entry["target"].rpartition("/")
            if directory == PLACE:
                together, path = True, f"run/{name}"
            else:
                path = str(number)
                names.append((path, entry["target"]))
            _write(tree, path, value, entry)
        self._values = []
        on = const.MOUNT_ATTR_RDONLY | const.MOUNT_ATTR_NOSUID | const.MOUNT_ATTR_NODEV | const.MOUNT_ATTR_NOEXEC
        mount.mount_setattr(tree, "", 0, on, 0, const.MS_PRIVATE)
        mount.move_mount(tree, "", self._below, "")
        for path, target in [("run", PLACE), *names] if together else names:
            part = mount.open_tree(tree, path, const.OPEN_TREE_CLONE)
            place = ops_mount.target(context, target, path == "run")
            mount.move_mount(part, "", place, "")
            os.close(place)
            os.close(part)
        os.close(tree)
        os.close(self._below)

    def _make(self) -> int:
        from pyctr.core.linux import const, mount

        size = sum(-(-len(value) // 4096) + 1 for value in self._values) * 4096
        filesystem = mount.fsopen("tmpfs")
        try:
            mount.fsconfig(filesystem, const.FSCONFIG_SET_STRING, "size", str(size))
            mount.fsconfig(filesystem, const.FSCONFIG_SET_STRING, "mode", "755")
            try:
                mount.fsconfig(filesystem, const.FSCONFIG_SET_FLAG, "noswap")
            except OSError:
                pass  # before Linux 6.4, and in a user namespace: tmpfs(5)
            mount.fsconfig(filesystem, const.FSCONFIG_CMD_CREATE)
            return mount.fsmount(filesystem, const.FSMOUNT_CLOEXEC, const.MOUNT_ATTR_NODEV | const.MOUNT_ATTR_NOSUID)
        finally:
            os.close(filesystem)


def read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.readall()


def _write(tree: int, path: str, value: bytes, entry: dict[str, Any]) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=tree)
    try:
        view = memoryview(value)
        while view:
            view = view[os.write(fd, view) :]
        os.fchown(fd, entry["uid"], entry["gid"])
        os.fchmod(fd, entry["mode"])
    finally:
        os.close(fd)
