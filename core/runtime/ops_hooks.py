"""The hooks of a create and of a start, at their places in the plan (see `hooks`)."""

from __future__ import annotations

import os

from pyctr.core.runtime import hooks, operation, ops_namespace, sync
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.runtime.context import Context


class RuntimeHooks(Operation):
    """prestart and createRuntime: init waits, everything mounted, while the host's side runs them."""

    step = operation.ROOTFS

    prestart: list[dict[str, Any]] = []
    create_runtime: list[dict[str, Any]] = []
    state: dict[str, Any]

    def describe(self) -> str:
        return "\n".join(f"hook {hook['path']}, on the host" for hook in [*self.prestart, *self.create_runtime])

    def execute(self, context: Context) -> None:
        assert context.packets is not None
        context.packets.send(sync.HOOKS)
        ops_namespace.wait_for(context, sync.HOOKED)

    def serve(self, context: Context) -> None:
        """In the shim or the command line, when init has said that it waits. Raises RuntimeFailure."""
        state = {**self.state, "pid": context.pid}
        for name, listed in (("prestart", self.prestart), ("createRuntime", self.create_runtime)):
            hooks.run(listed, state, name=name, directory=state["bundle"])
        assert context.packets is not None
        context.packets.send(sync.HOOKED)


class InnerHooks(Operation):
    """createContainer, where the host's files can still be seen, or startContainer, where they cannot."""

    step = operation.ROOTFS

    name: str
    hooks: list[dict[str, Any]]
    state: dict[str, Any]

    def describe(self) -> str:
        return "\n".join(f"hook {hook['path']}, in the container's namespaces" for hook in self.hooks)

    def execute(self, context: Context) -> None:
        inside = context.root < 0
        if not inside:
            os.fchdir(context.root)
        hooks.run(self.hooks, {**self.state, "pid": os.getpid()}, name=self.name)
        if not inside:
            os.chdir("/")
