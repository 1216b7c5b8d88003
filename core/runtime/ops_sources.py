"""Bind mounts whose source only the host's side can open: id-mapped, tied to the host by propagation, or below
directories that the root of a user namespace may not enter."""

from __future__ import annotations

import errno
import os

from pyctr.core import errors
from pyctr.core.runtime import operation, ops_mount
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.runtime.context import Context

_TIED = frozenset({"shared", "rshared", "slave", "rslave"})
_MAPPED = frozenset({"idmap", "ridmap"})


class Sources(Operation):
    """Detached copies of the sources, before init exists; init attaches them.

    Cloned in the host's own mount namespace they are peers of the source, so that "slave" and "shared" mean the host.
    """

    step = operation.ROOTFS
    inside = False

    mounts: list[dict[str, Any]]
    """{index, source, options, uid, gid (mappings), userns (path)}"""
    slave: bool = False
    """What is not said of a mount's propagation: slave of the host's, else private."""

    def describe(self) -> str:
        return "\n".join(f"open {entry['source']} on the host" for entry in self.mounts)

    def execute(self, context: Context) -> None:
        for entry in self.mounts:
            context.trees[entry["index"]] = self._open(entry)

    def undo(self, context: Context) -> None:
        for fd in context.trees.values():
            os.close(fd)
        context.trees = {}

    def _open(self, entry: dict[str, Any]) -> int:
        from pyctr.core.linux import const, mount

        field, options = f"mounts[{entry['index']}]" if entry["index"] >= 0 else "root.path", entry["options"]
        recursive = const.AT_RECURSIVE if "rbind" in options else 0
        try:
            tree = mount.open_tree(const.AT_FDCWD, entry["source"], const.OPEN_TREE_CLONE | recursive)
        except OSError as error:
            raise ops_mount.refused_source(field, entry["source"], error) from error
        try:
            words = [word for word in options if word in _TIED]
            if not words:
                kind = const.MS_SLAVE if self.slave else const.MS_PRIVATE
                mount.mount_setattr(tree, "", const.AT_RECURSIVE, 0, 0, kind)
            elif words[-1].endswith("slave"):
                deep = const.AT_RECURSIVE if words[-1].startswith("r") else 0
                mount.mount_setattr(tree, "", deep, 0, 0, const.MS_SLAVE)
            if entry["uid"] or entry["userns"] or _MAPPED.intersection(options):
                self._map(tree, entry, field)
        except BaseException:
            os.close(tree)
            raise
        return tree

    def _map(self, tree: int, entry: dict[str, Any], field: str) -> None:
        from pyctr.core.linux import const, mount, usernamespace

        options = entry["options"]
        if entry["uid"]:
            try:
                users = usernamespace.make(entry["uid"], entry["gid"])
            except OSError as error:
                raise errors.UsageError(
                    f"{field}.uidMappings: the kernel refuses the mappings: {(error.strerror or '').lower()}"
                ) from error
        else:
            users = os.open(entry["userns"], os.O_RDONLY | os.O_CLOEXEC)
        deep = const.AT_RECURSIVE if "ridmap" in options else 0
        try:
            mount.mount_setattr(tree, "", deep, const.MOUNT_ATTR_IDMAP, 0, 0, users)
        except OSError as error:
            text = f"{field}.options: '{entry['source']}' cannot be id-mapped: {(error.strerror or '').lower()}"
            if error.errno in (errno.EINVAL, errno.EPERM):
                raise errors.Unsupported(text, hint="its file system, or this kernel, does not do it") from error
            raise errors.RuntimeFailure(text) from error
        finally:
            os.close(users)
