"""What a process keeps over execve about resources and scheduling: rlimits, policy, I/O priority, personality, memory.

Late in the plan: a low limit or an idle priority would hit the rest of the start itself. Still before the capabilities
go, which raising most of them takes.
"""

from __future__ import annotations

import errno

from pyctr.core import errors
from pyctr.core.linux import cpulist
from pyctr.core.runtime import operation
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.runtime.context import Context

_PRIVILEGE = "this takes a capability that the runtime does not have"


class RaiseLimits(Operation):
    """Raise hard limits from outside: a user namespace's root has no CAP_SYS_RESOURCE that counts for that."""

    step = operation.PRIVILEGES
    inside = False

    rlimits: list[dict[str, Any]]

    def describe(self) -> str:
        return f"raise hard limits of {' '.join(limit['type'] for limit in self.rlimits)} where needed"

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import process

        for index, limit in enumerate(self.rlimits):
            name, wanted = _full(limit["type"]), limit["hard"]
            soft, hard = process.getrlimit(name, context.pid)
            if hard != -1 and (wanted > hard or wanted == process.UNLIMITED):
                _set(index, limit, soft, wanted, context.pid)


class Limits(Operation):
    """Those of `process.rlimits`, `.scheduler`, `.ioPriority`, `linux.personality`, `.memoryPolicy`."""

    step = operation.PRIVILEGES

    rlimits: list[dict[str, Any]] = []
    scheduler: dict[str, Any] | None = None
    io_priority: dict[str, Any] | None = None
    personality: str = ""
    memory_policy: dict[str, Any] | None = None

    def describe(self) -> str:
        lines = [f"{limit['type'].lower()} {limit['soft']} {limit['hard']}" for limit in self.rlimits]
        if self.scheduler:
            lines.append(" ".join(f"{key} {value}" for key, value in self.scheduler.items() if value))
        if self.io_priority:
            lines.append(f"I/O {self.io_priority['class']} {self.io_priority.get('priority') or 0}")
        if self.personality:
            lines.append(f"personality {self.personality}")
        if self.memory_policy:
            lines.append(f"memory {self.memory_policy['mode']} {self.memory_policy.get('nodes') or ''}".rstrip())
        return "\n".join(lines)

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import process

        if self.personality:
            process.set_personality(process.PERSONALITIES[self.personality])
        if policy := self.memory_policy:
            self._memory(policy)
        if io := self.io_priority:
            try:
                process.set_ioprio(process.IO_CLASSES[io["class"]], io.get("priority") or 0)
            except OSError as error:
                raise _refused("process.ioPriority", io["class"], error) from error
        for index, limit in enumerate(self.rlimits):
            _set(index, limit, limit["soft"], limit["hard"])
        if self.scheduler:
            self._schedule(self.scheduler)

    def _memory(self, policy: dict[str, Any]) -> None:
        from pyctr.core.linux import process

        mode = process.MEMORY_MODES[policy["mode"]]
        for flag in policy.get("flags") or []:
            mode |= process.MEMORY_FLAGS[flag]
        try:
            process.set_memory_policy(mode, cpulist.parse(policy.get("nodes") or ""))
        except OSError as error:
            raise _refused(
                "linux.memoryPolicy", f"{policy['mode']} {policy.get('nodes') or ''}".strip(), error
            ) from error

    def _schedule(self, scheduler: dict[str, Any]) -> None:
        from pyctr.core.linux import process

        flags = 0
        for flag in scheduler.get("flags") or []:
            flags |= process.SCHEDULER_FLAGS[flag]
        try:
            process.set_scheduler(
                process.POLICIES[scheduler["policy"]],
                flags=flags,
                nice=scheduler.get("nice") or 0,
                priority=scheduler.get("priority") or 0,
                runtime=scheduler.get("runtime") or 0,
                deadline=scheduler.get("deadline") or 0,
                period=scheduler.get("period") or 0,
            )
        except OSError as error:
            raise _refused("process.scheduler", scheduler["policy"], error) from error


def _full(name: str) -> str:
    return name.upper() if name.upper().startswith("RLIMIT_") else f"RLIMIT_{name.upper()}"


def _set(index: int, limit: dict[str, Any], soft: int, hard: int, pid: int = 0) -> None:
    from pyctr.core.linux import process

    try:
        process.setrlimit(limit["type"], soft, hard, pid)
    except OSError as error:
        refused = _refused(f"process.rlimits[{index}]", f"{limit['type']} {_word(soft)} {_word(hard)}", error)
        if _full(limit["type"]) == "RLIMIT_NOFILE" and error.errno == errno.EPERM:
            refused.hint = "'sysctl fs.nr_open' is the most for open files"
        raise refused from error


def _word(value: int) -> str:
    return "unlimited" if value in (-1, (1 << 64) - 1) else str(value)


def _refused(path: str, value: str, error: OSError) -> errors.PyctrError:
    text = f"{path}: '{value}' cannot be set: {(error.strerror or '').lower()}"
    if error.errno in (errno.EPERM, errno.EACCES):
        return errors.PermissionDenied(text, hint=_PRIVILEGE)
    if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP):
        return errors.Unsupported(text, hint="this kernel was built without it")
    return errors.UsageError(text)
