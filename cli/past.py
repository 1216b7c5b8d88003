"""`pyctr stats --history`: what containers used, from their rings."""

from __future__ import annotations

import os
import time

from pyctr.cli import output
from pyctr.core import containers, history, hosthistory, hostrecord, redo, ring
from pyctr.core.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyctr.core.engine import Engine
    from pyctr.core.history import Moment

    Ring = tuple[str, str, str]
    """Name, id, path."""

SINCE = 900.0
"""Seconds back, when nothing is said."""
LINES = 40
"""Rows of a container at most: records beyond are put together. JSON has all."""
_HEADINGS = ("TIME", "NAME", "CPU %", "THROTTLED", "MEM", "MEM %", "PIDS", "NET I/O", "BLOCK I/O", "PSI CPU/MEM/IO", "")
_UNKNOWN = "--"


def all_rings(engine: Engine) -> list[Ring]:
    """Those of all containers: stopped ones have a past, too."""
    redo.mend(engine.paths)
    return [(one.name, one.id, one.path(ring.FILE)) for one in containers.all(engine)]


def ring_of(engine: Engine, name: str) -> Ring:
    """A container's, by name or id; what `pyctr record` wrote of a cgroup ("/docker/<id>") or of another engine's;
    the machine's ("/").

    Raises NotFound.
    """
    redo.mend(engine.paths)
    if name == "/":
        return name, "", hosthistory.place(engine.paths)
    if name.startswith("/"):
        path = hostrecord.place(engine.paths, name.rstrip("/"))
        if not os.path.exists(path):
            raise NotFound(f"no record of cgroup '{name}'", hint="'pyctr record --list' shows what is on record")
        return name, "", path
    try:
        found = containers.find(engine, name)
        return found.name, found.id, found.path(ring.FILE)
    except NotFound as refused:
        from pyctr.cli import others

        other = others.instead(engine, name, refused)
        return other.name, other.id, hostrecord.place(engine.paths, other.group)


def show(rings: Sequence[Ring], since: float | None, until: float | None, *, json: bool) -> int:
    """A table, rates per second; or a document per record."""
    now = time.time()
    begin, end = (now - SINCE if since is None else since), (now if until is None else until)
    rows = []
    for name, id, path in rings:
        found = history.read(path, begin, end)
        if json:
            for moment in found:
                about = {"id": id, "name": name}
                output.write(output.json_line({**about, **moment.to_dict()}))
            continue
        days = found and time.localtime(found[0].time)[:3] != time.localtime(now)[:3]
        form = "%m-%d %H:%M:%S" if days else "%H:%M:%S"
        rows += [_row(name, moment, form) for moment in history.thin(found, LINES)]
    if not json:
        output.table(_HEADINGS, rows)
    return 0


def _row(name: str, moment: Moment, form: str) -> list[str]:
    got = moment.rates
    kills = f"{got.oom_kills} OOM-killed" if got.oom_kills else ""
    return [
        time.strftime(form, time.localtime(moment.time)),
        name,
        _percent(got.cpu_percent),
        _percent(got.throttled_percent),
        _size(got.memory_working_set),
        _percent(got.memory_percent_of_limit),
        _UNKNOWN if got.pids is None else str(got.pids),
        _pair(got.net_rx, got.net_tx),
        _pair(got.io_read, got.io_write),
        " / ".join(
            _UNKNOWN if value is None else f"{value:.1f}" for value in (got.psi_cpu, got.psi_memory, got.psi_io)
        ),
        ", ".join(word for word in ("after a gap" if moment.gap else "", kills) if word),
    ]


def _percent(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.1f}%"


def _size(value: int | None) -> str:
    return _UNKNOWN if value is None else output.binary_size(value)


def _pair(first: float | None, second: float | None) -> str:
    return " / ".join(_UNKNOWN if value is None else output.decimal_size(value) for value in (first, second))
