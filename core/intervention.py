"""Acts on a living cgroup that say beforehand which file gets which value, and that can be taken back.

Only the kernel's own files: a container of any engine, or a service, is frozen and bounded like one of ours, whatever
state its engine is in. The engine does not learn of it, and its next restart undoes what was done here.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from pyctr.core import errors
from pyctr.core.cgroups import files, make

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyctr.core.cgroups.group import Manager

FREEZE, THAW, LIMITS, KILL = "freeze", "thaw", "limits", "kill"
_V1_SUM, _V1_PART = "memory.memsw.limit_in_bytes", "memory.limit_in_bytes"
_PER_DEVICE = ("blkio.throttle.", "blkio.weight_device", "blkio.bfq.weight_device")


class Write(NamedTuple):
    """One write(2)."""

    file: str
    """Absolute."""
    value: str
    before: str
    """What to write there to take it back; "" where nothing does."""

    @property
    def back(self) -> Write:
        return Write(self.file, self.before, self.value)


def freeze(manager: Manager) -> Write:
    """Raises Unsupported where there is no freezer."""
    return _freezer(manager, True)


def thaw(manager: Manager) -> Write:
    return _freezer(manager, False)


def _freezer(manager: Manager, on: bool) -> Write:
    file, frozen, thawed = manager.freezer()
    return Write(file, frozen, thawed) if on else Write(file, thawed, frozen)


def kill(manager: Manager) -> Write | None:
    """None where the kernel has no cgroup.kill for it: then every process is signalled, frozen meanwhile."""
    file = f"{manager.unified}/cgroup.kill"
    return Write(file, "1", "") if manager.unified and os.path.exists(file) else None


def limits(manager: Manager, resources: dict[str, Any]) -> tuple[Write, ...]:
    """What `apply` would write for these limits (OCI linux.resources). Raises as `Manager.update` does, NotFound for
    a group that has gone, Unsupported for a controller that the group is not in."""
    if not manager.exists():
        raise errors.NotFound(f"cgroup '{manager.group}' is gone", hint="it has ended meanwhile")
    make.check_usage(manager, resources)
    writes = []
    for entry in manager.entries(resources):
        file, value = make.place(manager, *entry)
        try:
            now = files.read(file)
        except OSError as error:
            if os.path.isdir(os.path.dirname(file)):
                raise files.refused(error, file, value) from error
            raise errors.Unsupported(
                f"'{manager.group}' is in no group of the {entry[0]} controller",
                hint="its engine has switched that limit off",
            ) from error
        writes.append(Write(file, value, _before(os.path.basename(file), value, now)))
    return _ordered(writes)


def _before(name: str, value: str, now: str) -> str:
    """What of the present text stands where `value` goes: all of it, or what one device has."""
    device, _, wanted = value.partition(" ")
    if name == "io.max":
        keys = [word.partition("=")[0] for word in wanted.split()]
        there = dict(word.split("=") for word in _line(now, device).split()[1:])
        return " ".join([device, *(f"{key}={there.get(key, 'max')}" for key in keys)])
    if name.startswith(_PER_DEVICE):
        return _line(now, device) or f"{device} 0"
    if name in ("io.weight", "io.bfq.weight"):
        return _line(now, device) or f"{device} default"
    return now.strip()


def _line(text: str, first: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.split()[:1] == [first]), "")


def _ordered(writes: Sequence[Write]) -> tuple[Write, ...]:
    """On v1 memory plus swap may at no moment be below memory: the sum is raised first, and lowered last."""
    parts = [write for write in writes if write.file.endswith(f"/{_V1_PART}")]
    rises = any(_bytes(write.value) > _bytes(write.before) for write in parts)
    is_sum = [write.file.endswith(f"/{_V1_SUM}") for write in writes]
    order = sorted(range(len(writes)), key=lambda index: is_sum[index] != rises)
    return tuple(writes[index] for index in order) if parts and any(is_sum) else tuple(writes)


def _bytes(text: str) -> int:
    value = int(text)
    return value if value >= 0 else 1 << 63


def apply(writes: Sequence[Write]) -> None:
    """Write all of them, or none: what was written is put back when one is refused, whose error is raised."""
    done: list[Write] = []
    try:
        for write in writes:
            files.write(write.file, write.value)
            done.append(write)
    except errors.PyctrError as error:
        for write in reversed(done):
            try:
                files.write(write.file, write.before)
            except errors.PyctrError as another:
                error.add_note(f"and not put back: {another}")
        raise


def back(writes: Sequence[Write]) -> tuple[Write, ...]:
    """What takes them back, in an order that the kernel accepts."""
    return _ordered([write.back for write in reversed(writes) if write.before])


def shown(file: str, value: str, *, before: str = "") -> str:
    """`memory.max: 512M -> 256M` for people; the constants that mean "no limit" as such."""
    name = os.path.basename(file)
    return f"{name}: {_words(name, before)} -> {_words(name, value)}" if before else f"{name}: {_words(name, value)}"


def _words(name: str, text: str) -> str:
    if name.startswith("memory.") and text.lstrip("-").isdigit():
        number = int(text)
        if number < 0 or number >= 1 << 62:
            return "unlimited"
        for unit, size in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
            if number and number % size == 0:
                return f"{number // size}{unit}"
    if text in ("max", "-1") or (name == "cpu.max" and text.startswith("max ")):
        return "unlimited"
    return text
