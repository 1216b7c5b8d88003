"""What a plan is made of: operations that say what they do and do it."""

from __future__ import annotations

from pyctr.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.runtime.context import Context

GROUP = "cgroup + limits"
NAMESPACES = "namespaces"
NETWORK = "network"
ROOTFS = "root filesystem"
PRIVILEGES = "privileges"
EXEC = "exec"
STEPS = (GROUP, NAMESPACES, NETWORK, ROOTFS, PRIVILEGES, EXEC)
"""The lines of a birth certificate that the runtime writes, in the order they end."""


class Operation(Record):
    """One step's part, a document like any other. The class says who does it and to which step it belongs.

    The ones of the host run in the shim, in the plan's order, the others in init, in the plan's order, at the same
    time. Module level imports stay cheap: a client builds and describes plans without the kernel floor.
    """

    step = EXEC
    inside = True

    def describe(self) -> str:
        """One line for `--dry-run`: what will happen with which values."""
        return type(self).__name__

    def brief(self) -> str:
        """A few words for the birth certificate, "" if it is not worth a mention."""
        return ""

    def prepare(self, context: Context) -> None:
        """Called on all before any runs, in whatever way a later one may not: modules, names, memory."""

    def before_clone(self, context: Context) -> None:
        """Called on host operations just before init is cloned: what it shall know, or what is cheaper now."""

    def execute(self, context: Context) -> None:
        """Do it. Raises OSError or PyctrError; what was half done by then is undone or dies with the namespaces."""
        raise NotImplementedError

    def undo(self, context: Context) -> None:
        """Take back a finished `execute` (host operations only). Never raises."""


def to_document(operation: Operation) -> list[Any]:
    return [type(operation).__name__, operation.to_dict()]
