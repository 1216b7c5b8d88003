"""A group made by systemd: a transient scope, asked for over D-Bus (systemd.io/CONTROL_GROUP_INTERFACE).

A scope needs a process to begin with, and we want the group before there is one: a child of ours that only waits is
in it until init was born there. The scope is delegated: within it the tree is ours. Limits are given to systemd, which
would write its own over ours whenever it is told to reload, and written by us as well: it does not know all of them.
"""

from __future__ import annotations

import os

from pyctr.core import dbus, errors
from pyctr.core.cgroups.group import Manager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.cgroups import Layout

_SERVICE, _OBJECT = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
_MANAGER = "org.freedesktop.systemd1.Manager"
_ANNOTATION = "org.systemd.property."
_NEVER = 0xFFFFFFFFFFFFFFFF
_CONTROLLERS = ("cpu", "cpuacct", "cpuset", "io", "blkio", "memory", "pids")
"""What a scope is delegated on v1: all that systemd knows, but not devices, which it would open again on a reload."""

Property = tuple[str, tuple[str, "Any"]]


def connect() -> dbus.Connection:
    """The system's systemd for root, else the user's own. Raises Unsupported."""
    if os.geteuid() == 0:
        places = [("/run/systemd/private", False), ("/run/dbus/system_bus_socket", True)]
    else:
        run = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
        places = [(f"{run}/systemd/private", False), (f"{run}/bus", True)]
    reason = ""
    for path, bus in places:
        try:
            return dbus.Connection(path, bus=bus)
        except OSError as error:
            reason = reason or f"'{path}': {(error.strerror or str(error)).lower()}"
    raise errors.Unsupported(
        f"--systemd-cgroup: systemd does not run here: {reason}",
        hint="cgroups without systemd: podman --cgroup-manager=cgroupfs, native.cgroupdriver=cgroupfs of docker",
    )


def parse(path: str, id: str) -> tuple[str, str]:
    """(slice, unit) of linux.cgroupsPath "slice:prefix:name"; always a scope, as under crun. Raises UsageError."""
    if not path:
        slice, prefix, name = "", "pyctr", id
    else:
        parts = path.split(":")
        if len(parts) != 3:
            raise errors.UsageError(
                f"linux.cgroupsPath: '{path}' is not 'slice:prefix:name'", hint="which --systemd-cgroup asks for"
            )
        slice, prefix, name = parts
    slice = slice or ("system.slice" if os.geteuid() == 0 else "user.slice")
    if slice == "-":
        slice = "-.slice"
    if not slice.endswith(".slice") or "/" in slice or "--" in slice or (slice[0] == "-" and slice != "-.slice"):
        raise errors.UsageError(f"linux.cgroupsPath: '{slice}' is not a slice", hint="for example 'machine.slice'")
    unit = f"{prefix}-{name}.scope" if prefix else f"{name}.scope"
    if not name or "/" in unit or len(unit) > 255:
        raise errors.UsageError(f"linux.cgroupsPath: '{unit}' is not a unit's name")
    return slice, unit


def group(slice: str, unit: str) -> str:
    """Where systemd puts a unit: "a-b.slice" is below "a.slice" (systemd.slice(5))."""
    words = slice.removesuffix(".slice").split("-") if slice != "-.slice" else []
    parts = ["-".join(words[: count + 1]) + ".slice" for count in range(len(words))]
    return "/" + "/".join([*parts, unit])


class ScopeManager(Manager):
    """A `Manager` whose directory comes and goes by systemd."""

    def __init__(
        self, layout: Layout, group: str, unit: str, slice: str = "", properties: list[Property] | None = None
    ):
        super().__init__(layout, group)
        self.unit = unit
        self.slice = slice
        self.properties = properties or []
        """Further ones, of annotations."""
        self._waiting: tuple[int, int] | None = None
        """(pid, descriptor that ends it) of who is in the scope before init is."""

    def create(self, resources: dict[str, Any] | None = None, *, counted: bool = False) -> None:
        """See `Manager.create`. The scope lives as long as somebody is in it: `occupied` after the first process."""
        self.entries(resources or {})  # what is refused is refused before systemd hears of it
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            try:
                os.close(write_end)
                os.read(read_end, 1)
            finally:
                os._exit(0)
        os.close(read_end)
        self._waiting = (pid, write_end)
        try:
            self._start(pid, resources or {})
        except BaseException:
            self.occupied()
            raise
        try:
            self.update(resources or {})
        except BaseException:
            self.occupied()
            self._stop()
            raise

    def _start(self, pid: int, resources: dict[str, Any]) -> None:
        properties: list[Property] = [
            ("Description", ("s", f"container {self.unit}")),
            ("Slice", ("s", self.slice)),
            ("PIDs", ("au", [pid])),
            ("DefaultDependencies", ("b", False)),
            *((f"{name}Accounting", ("b", True)) for name in ("CPU", "Memory", "Tasks", "IO")),
            ("Delegate", ("b", True)) if self.mode == "v2" else ("DelegateControllers", ("as", [*_CONTROLLERS])),
            *limits(resources, self.mode == "v2"),
            *self.properties,
        ]
        connection = connect()
        try:
            _call(connection, "Subscribe")
            try:
                (job,) = _call(connection, "StartTransientUnit", "ssa(sv)a(sa(sv))", self.unit, "fail", properties, [])
            except dbus.Refused as error:
                if error.name != f"{_SERVICE}.UnitExists":
                    raise _refused(error, "starting", self.unit) from error
                # a scope of that name has failed, and systemd remembers it
                _quietly(connection, "ResetFailedUnit", "s", self.unit)
                try:
                    (job,) = _call(
                        connection, "StartTransientUnit", "ssa(sv)a(sa(sv))", self.unit, "fail", properties, []
                    )
                except dbus.Refused as error:
                    raise _refused(error, "starting", self.unit) from error
            while True:
                _, path, _, result = connection.signal("JobRemoved")
                if path == job:
                    break
            if result != "done":
                raise errors.RuntimeFailure(f"systemd could not start '{self.unit}': {result}")
        except OSError as error:
            raise errors.from_oserror(error, "talking to systemd") from error
        finally:
            connection.close()
        if self.unified and not os.path.isdir(self.unified):
            raise errors.RuntimeFailure(f"systemd did not make '{self.unified}' for '{self.unit}'")

    def occupied(self) -> None:
        """The container's own process is there: ours may go."""
        if self._waiting is not None:
            pid, fd = self._waiting
            self._waiting = None
            os.close(fd)
            os.waitpid(pid, 0)

    def update(self, resources: dict[str, Any]) -> None:
        """See `Manager.update`. systemd is told, too, once the scope is there."""
        super().update(resources)
        if self._waiting is None and (properties := limits(resources, self.mode == "v2")):
            connection = connect()
            try:
                _call(connection, "SetUnitProperties", "sba(sv)", self.unit, True, properties)
            except dbus.Refused as error:
                raise _refused(error, "changing", self.unit) from error
            finally:
                connection.close()

    def remove(self, timeout: float = 10.0) -> None:
        self.occupied()
        super().remove(timeout)
        self._stop()

    def _stop(self) -> None:
        """Nothing of it is remembered. A scope ends by itself with its last process, so it may be gone."""
        try:
            connection = connect()
        except errors.Unsupported:
            return  # systemd itself is gone
        try:
            _quietly(connection, "StopUnit", "ss", self.unit, "replace")
            _quietly(connection, "ResetFailedUnit", "s", self.unit)
        finally:
            connection.close()


def limits(resources: dict[str, Any], unified: bool) -> list[Property]:
    """The properties of systemd.resource-control(5) that stand for linux.resources."""
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    found: list[Property] = []

    def number(name: str, value: int | None) -> None:
        if value:
            found.append((name, ("t", value if value > 0 else _NEVER)))

    limit = memory.get("limit")
    number("MemoryMax" if unified else "MemoryLimit", limit)
    if unified:
        from pyctr.core.cgroups import v2

        number("MemoryLow", memory.get("reservation"))
        swap = memory.get("swap")
        if swap and swap > 0 and limit and limit > 0:
            found.append(("MemorySwapMax", ("t", swap - limit)))
        elif swap:
            number("MemorySwapMax", -1 if swap < 0 else None)
        if cpu.get("shares"):
            found.append(("CPUWeight", ("t", v2.shares_to_weight(cpu["shares"]))))
    else:
        number("CPUShares", cpu.get("shares"))
    quota, period = cpu.get("quota"), cpu.get("period")
    if period:
        found.append(("CPUQuotaPeriodUSec", ("t", period)))
    if quota:
        # systemd keeps whole per cents: rounded up, ours is what is written
        each = -(-quota * 1_000_000 // (period or 100_000) // 10_000) * 10_000 if quota > 0 else _NEVER
        found.append(("CPUQuotaPerSecUSec", ("t", each)))
    number("TasksMax", (resources.get("pids") or {}).get("limit"))
    if unified:
        for name, key in (("AllowedCPUs", "cpus"), ("AllowedMemoryNodes", "mems")):
            if cpu.get(key):
                found.append((name, ("ay", _bits(cpu[key]))))
    return found


def _bits(text: str) -> list[int]:
    """A CPU list as systemd takes it: bit n of byte n // 8."""
    from pyctr.core.linux import cpulist

    numbers = cpulist.parse(text)
    out = [0] * (max(numbers) // 8 + 1)
    for number in numbers:
        out[number // 8] |= 1 << number % 8
    return out


def annotated(annotations: dict[str, str]) -> list[Property]:
    """Properties that annotations "org.systemd.property.NAME" name, in GVariant's text. Raises UsageError."""
    found = []
    for key, text in sorted(annotations.items()):
        if key.startswith(_ANNOTATION):
            name = key[len(_ANNOTATION) :]
            try:
                found.append((name, _variant(text.strip())))
            except ValueError:
                raise errors.UsageError(
                    f"annotations['{key}']: '{text}' is not a value", hint="for example true, uint64 123, 'text'"
                ) from None
    return found


_TYPES = {"byte": "y", "int16": "n", "uint16": "q", "int32": "i", "uint32": "u", "int64": "x", "uint64": "t"}


def _variant(text: str) -> tuple[str, Any]:
    word, _, rest = text.partition(" ")
    if word in _TYPES and rest:
        return _TYPES[word], int(rest, 0)
    if text in ("true", "false"):
        return "b", text == "true"
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return "s", text[1:-1]
    if text.startswith("[") and text.endswith("]"):
        items = [_variant(item.strip()) for item in text[1:-1].split(",") if item.strip()]
        if not items or any(kind != items[0][0] for kind, _ in items):
            raise ValueError
        return f"a{items[0][0]}", [value for _, value in items]
    return "i", int(text, 0)


def _call(connection: dbus.Connection, member: str, signature: str = "", *values: Any) -> list[Any]:
    return connection.call(_SERVICE, _OBJECT, _MANAGER, member, signature, values)


def _quietly(connection: dbus.Connection, member: str, signature: str, *values: Any) -> None:
    try:
        _call(connection, member, signature, *values)
    except (dbus.Refused, OSError):
        pass  # there is no such unit any more, which is what was wanted


def _refused(error: dbus.Refused, doing: str, unit: str) -> errors.PyctrError:
    if error.name == f"{_SERVICE}.UnitExists":
        return errors.Conflict(f"systemd has a unit '{unit}' already", hint="another container uses that cgroupsPath")
    return errors.RuntimeFailure(f"{doing} '{unit}': systemd says: {error}")
