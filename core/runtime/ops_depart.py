"""The end of init by a program of our own instead of the interpreter, see `gate` in `core.linux.machine`.

Whoever may look into the container's first process, before or after its start, then finds nothing of the host: what
`#!/proc/self/exe` executes is that program in sealed memory (CVE-2019-5736). So the interpreter that makes a container
needs no read-only copy of itself, which takes a second start of it, and one that is created but not started costs a
page instead of an interpreter.
"""

from __future__ import annotations

import os
import struct

from pyctr.core import errors
from pyctr.core.runtime import operation
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.runtime.context import Context

_CALLS = {"x86_64": (322, 13, 157, 0, 72, 59, 1, 231), "aarch64": (281, 134, 167, 63, 25, 221, 64, 94)}
"""execveat, rt_sigaction, prctl, read, fcntl, execve, write, exit_group: what it needs under a filter."""


def possible(config: dict[str, Any], filter: bytes | None) -> bool:
    """Whether init may end so; else its interpreter has to be read-only from the beginning, see `readonly`.

    Not where others are in the pid namespace while the interpreter is; nor where something has to be done later by it:
    hooks, a listener, a label that the very next execve takes.
    """
    from pyctr.core.linux import machine

    process, linux = config.get("process") or {}, config.get("linux") or {}
    if not any(entry.get("type") == "pid" and not entry.get("path") for entry in linux.get("namespaces") or []):
        return False
    if (config.get("hooks") or {}).get("startContainer") or (linux.get("seccomp") or {}).get("listenerPath"):
        return False
    if process.get("apparmorProfile") not in (None, "", "unconfined") or process.get("selinuxLabel"):
        return False
    if not machine.possible():
        return False
    if filter and not process.get("noNewPrivileges"):
        from pyctr.core.linux import seccomp

        return seccomp.allows(filter, _CALLS[os.uname().machine])
    return True


class Depart(Operation):
    """Filter and execve by a program that has waited for `start` before, if the container is only created now."""

    step = operation.EXEC

    args: list[str]
    env: list[str] = []
    gated: bool = False
    program: bytes = b""
    """The filter, if it comes last."""
    flags: int = 0

    def describe(self) -> str:
        parts = ["wait for start"] if self.gated else []
        if self.program:
            parts.append(f"seccomp filter, {len(self.program) // 8} instructions")
        return "\n".join([*parts, " ".join(self.args)])

    def brief(self) -> str:
        return " ".join(self.args)

    def prepare(self, context: Context) -> None:
        """In memory, while the host's kernel lets us: a filter may be in force later."""
        from pyctr.core.linux import machine

        assert context.packets is not None
        if self.gated:
            assert context.gate is not None
            self._kept = context.gate
            numbers = context.gate
        else:
            said = context.packets.socket.fileno()
            self._kept = (said, said)
            numbers = (-1, said)
        data = struct.pack("iiII", *numbers, self.flags, len(self.program) // 8) + self.program
        context.init = machine.program("gate", data)
        # who executes what he may not read cannot be looked into by others of his uid (CVE-2016-9962); the program says
        # so again, for those who may read everything
        os.fchmod(context.init, 0o111)

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import process
        from pyctr.core.runtime.ops_exec import Settle, environment

        Settle().execute(context)
        for fd in self._kept:
            os.set_inheritable(fd, True)
        variables = environment(self.env)
        if context.home:
            variables.setdefault("HOME", context.home)
        words = [f"{name}={value}" for name, value in variables.items()]
        process.execveat(context.init, [context.command, *self.args], words)


def refused(payload: bytes, command: str) -> errors.PyctrError:
    """What a frame X of the program means: errno, then 0 for the filter or 1 for execve, perhaps after a length."""
    from pyctr.core.runtime import ops_exec, ops_seccomp

    number, execve = struct.unpack("II", payload[-8:])
    return ops_exec.cannot_execute(number, command) if execve else ops_seccomp.not_taken(number)
