"""The machine under the containers: every core, memory, pressure, load; a few files of /proc."""

from __future__ import annotations

import os
from typing import NamedTuple

from pyctr.tui.sources import STALE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.engine import Engine
    from pyctr.tui.sources import Seen

KEPT = 400
"""Points of the charts."""
SHORTEST = 0.2
"""Seconds two looks must be apart to give a rate."""
MEMORY = ("MemTotal", "MemAvailable", "Cached", "SReclaimable", "Shmem", "Dirty", "SwapTotal", "SwapFree")


class Core(NamedTuple):
    """Percent of one core, by what it did."""

    name: str
    user: float | None = None
    system: float | None = None
    iowait: float | None = None
    steal: float | None = None

    @property
    def busy(self) -> float | None:
        return None if self.user is None or self.system is None else self.user + self.system + (self.steal or 0.0)


class Machine(NamedTuple):
    """One moment. Sizes in bytes; what cannot be read is missing."""

    taken: float
    cores: tuple[Core, ...] = ()
    memory: dict[str, int] = {}
    pressure: dict[str, dict[str, tuple[float, float, float]]] = {}
    """cpu, memory, io -> some, full -> percent of the last 10, 60, 300 seconds"""
    load: tuple[float, float, float] | None = None
    tasks: tuple[int, int] | None = None
    """(running, all)"""
    uptime: float | None = None
    kernel: str = ""
    cgroups: str = ""
    ticks: dict[str, tuple[int, ...]] = {}
    """Of /proc/stat, for the next look."""
    ticked: float = 0.0
    cpu_points: tuple[tuple[float, float], ...] = ()
    memory_points: tuple[tuple[float, float], ...] = ()
    cpus: int | None = None
    """Where `cores` does not have each of them."""
    past: float = 0.0
    """Epoch seconds, if it is not of now: much is not on record."""


def collect(engine: Engine, seen: Seen, before: object) -> object:
    proc = engine.paths.proc
    old = before if isinstance(before, Machine) else Machine(seen.monotonic)
    now = seen.monotonic
    ticks = _ticks(_read(f"{proc}/stat"))
    cores, ticked = old.cores, old.ticked
    apart = now - ticked
    cpu_points = old.cpu_points
    if not old.ticks or apart > STALE:
        cores, ticked = tuple(Core(name) for name in ticks if name != "cpu"), now
    elif apart >= SHORTEST:
        rates = {name: _core(name, old.ticks.get(name), counted) for name, counted in ticks.items()}
        cores, ticked = tuple(core for name, core in rates.items() if name != "cpu"), now
        everything = rates.get("cpu")
        if everything is not None and everything.busy is not None:
            cpu_points = (*cpu_points, (now, everything.busy))[-KEPT:]
    else:
        ticks = old.ticks
    memory = _memory(_read(f"{proc}/meminfo"))
    memory_points = old.memory_points
    if "MemTotal" in memory and "MemAvailable" in memory and (ticked == now or not memory_points):
        memory_points = (*memory_points, (now, float(memory["MemTotal"] - memory["MemAvailable"])))[-KEPT:]
    words = _read(f"{proc}/loadavg").split()
    running, _, tasks = words[3].partition("/") if len(words) > 3 else ("", "", "")
    uptime = _read(f"{proc}/uptime").split()
    name = os.uname()
    return Machine(
        now,
        cores,
        memory,
        {kind: found for kind in ("cpu", "memory", "io") if (found := _pressure(_read(f"{proc}/pressure/{kind}")))},
        (float(words[0]), float(words[1]), float(words[2])) if len(words) > 2 else None,
        (int(running), int(tasks)) if tasks.isdigit() and running.isdigit() else None,
        float(uptime[0]) if uptime else None,
        _read(f"{proc}/sys/kernel/osrelease").strip() or name.release,
        engine.layout.mode,
        ticks,
        ticked,
        cpu_points,
        memory_points,
    )


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""  # this kernel, or this recording, does not have it


def _ticks(text: str) -> dict[str, tuple[int, ...]]:
    """proc_stat(5): user nice system idle iowait irq softirq steal, of `cpu` (all) and `cpu0`, ..."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        if not words or not words[0].startswith("cpu"):
            break
        found[words[0]] = tuple(int(word) for word in words[1:9])
    return found


def _core(name: str, before: tuple[int, ...] | None, after: tuple[int, ...]) -> Core:
    if before is None or len(before) != len(after) or len(after) < 8:
        return Core(name)
    spent = [max(0, new - old) for old, new in zip(before, after, strict=True)]
    total = sum(spent)
    if not total:
        return Core(name)
    user, nice, system, _, iowait, irq, softirq, steal = (100 * part / total for part in spent)
    return Core(name, user + nice, system + irq + softirq, iowait, steal)


def _memory(text: str) -> dict[str, int]:
    """proc_meminfo(5), in kB."""
    found = {}
    for line in text.splitlines():
        key, _, rest = line.partition(":")
        if key in MEMORY:
            found[key] = int(rest.split()[0]) * 1024
    return found


def _pressure(text: str) -> dict[str, tuple[float, float, float]]:
    """Documentation/accounting/psi.rst: `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        values = dict(word.partition("=")[::2] for word in words[1:])
        try:
            found[words[0]] = (float(values["avg10"]), float(values["avg60"]), float(values["avg300"]))
        except (KeyError, ValueError):
            continue
    return found
