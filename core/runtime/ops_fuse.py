"""A root file system that a process serves: it is started on the host's side and reaped there."""

from __future__ import annotations

from pyctr.core.runtime import operation, ops_root
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.runtime.context import Context


class Serve(Operation):
    """The mount goes to init as a descriptor, see `ops_root.Root`."""

    step = operation.ROOTFS
    inside = False

    rootfs: dict[str, Any]

    def describe(self) -> str:
        return f"serve the root with {self.rootfs['program']}"

    def execute(self, context: Context) -> None:
        from pyctr.core import fuseoverlay

        served = fuseoverlay.serve(self.rootfs)
        context.served = served
        context.trees[ops_root.TREE] = served.tree
        served.tree = -1  # closed with the others of `trees`

    def undo(self, context: Context) -> None:
        tree = context.trees.pop(ops_root.TREE, -1)
        if context.served is not None:
            context.served.tree = tree
            context.served.end()
            context.served = None
