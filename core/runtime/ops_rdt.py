"""Intel Resource Director Technology: the container's group in a resctrl file system (config-linux.md, "IntelRdt")."""

from __future__ import annotations

import os

from pyctr.core import errors
from pyctr.core.runtime import operation
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.runtime.context import Context


def mount_point(mounts: str = "/proc/self/mounts") -> str:
    """Where resctrl is mounted. Raises Unsupported."""
    with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            words = line.split()
            if words[2] == "resctrl":
                return words[1]
    raise errors.Unsupported(
        "linux.intelRdt: no resctrl file system is mounted",
        hint="'mount -t resctrl resctrl /sys/fs/resctrl', on a processor that has it",
    )


def schemata(wanted: dict[str, Any]) -> list[str]:
    """The lines to write: the older fields first, memBwSchema in place of any MB line of l3CacheSchema."""
    cache, bandwidth = wanted.get("l3CacheSchema") or "", wanted.get("memBwSchema") or ""
    lines = [line for line in cache.split("\n") if line and not (bandwidth and line.startswith("MB:"))]
    lines += [bandwidth] if bandwidth else []
    return lines + [line for entry in wanted.get("schemata") or [] for line in entry.split("\n") if line]


class EnterClass(Operation):
    """The process of init into the group of closID, made if it has to be."""

    step = operation.GROUP
    inside = False

    id: str
    wanted: dict[str, Any]

    def describe(self) -> str:
        return f"resctrl group {self.wanted.get('closID') or self.id}"

    def execute(self, context: Context) -> None:
        self._made: list[str] = []
        closid, lines = self.wanted.get("closID") or "", schemata(self.wanted)
        group = f"{mount_point()}/{closid or self.id}"
        there = os.path.isdir(group)
        try:
            if closid and not lines and not there:
                raise errors.NotFound(f"linux.intelRdt.closID: there is no group '{closid}'", hint="or name a schema")
            if not there:
                os.mkdir(group)
                self._made.append(group)
            if there and lines:
                _compare(group, lines)
            elif lines:
                _put(f"{group}/schemata", "".join(f"{line}\n" for line in lines))
            _put(f"{group}/tasks", str(context.pid))
            if any(self.wanted.get(name) for name in ("enableMonitoring", "enableCMT", "enableMBM")):
                monitor = f"{group}/mon_groups/{self.id}"
                os.mkdir(monitor)
                self._made.append(monitor)
                _put(f"{monitor}/tasks", str(context.pid))
        except OSError as error:
            raise errors.RuntimeFailure(
                f"linux.intelRdt: '{error.filename or group}': {(error.strerror or '').lower()}",
                hint="info/last_cmd_status of resctrl may say more",
            ) from error

    def undo(self, context: Context) -> None:
        for path in reversed(self._made):
            try:
                os.rmdir(path)
            except OSError:
                pass  # somebody else's tasks are in it by now


def _compare(group: str, lines: list[str]) -> None:
    with open(f"{group}/schemata", encoding="ascii") as file:
        found = {"".join(line.split()) for line in file}
    for line in lines:
        if "".join(line.split()) not in found:
            raise errors.Conflict(
                f"linux.intelRdt: group '{os.path.basename(group)}' has another schema than '{line}'",
                hint="use another closID",
            )


def _put(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
