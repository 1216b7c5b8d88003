"""What a screen shows, as one flat table: `pyctr-tui --once --screen NAME --csv`, RFC 4180 with plain newlines.

Sizes are bytes, times seconds since the epoch, rates per second; a cell that cannot be known is empty.
"""

from __future__ import annotations

import csv
import io

from pyctr.core.errors import UsageError
from pyctr.tui import documents
from pyctr.tui import format as f
from pyctr.tui.snapshot import ContainerRow, Snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from pyctr.core.engine import Engine
    from pyctr.core.engines.model import Log

    Sheet = tuple[Sequence[str], Iterable[Sequence[Any]]]


def sheet(engine: Engine, snapshot: Snapshot, screen: str, tab: str, log: Log) -> str:
    """The table of a screen, or with a `tab` of the selected container's; `log` is where its log is.

    Raises UsageError for a tab that is no table, OSError, PyctrError.
    """
    if tab:
        if tab not in _TABS:
            raise UsageError(f"the tab '{tab}' is no table", hint=f"--json, or one of the tabs {', '.join(_TABS)}")
        titles, rows = _TABS[tab](snapshot, log)
    else:
        titles, rows = _SCREENS[screen](engine, snapshot)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(titles)
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return out.getvalue()


def _cell(value: Any) -> Any:
    """Nothing that a terminal would obey: a sheet is looked at in one, too."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        value = " ".join(map(str, value))
    return f.neutral(value) if isinstance(value, str) else value


def _containers(engine: Engine, snapshot: Snapshot) -> Sheet:
    names = [name for name in ContainerRow._fields if name not in ("spark", "busy")]
    return names, ([getattr(row, name) for name in names] for row in snapshot.containers)


def _images(engine: Engine, snapshot: Snapshot) -> Sheet:
    shelf = documents.part(snapshot, "images")
    titles = ("depth", "kind", "title", "key", "size", "created", "images", "containers")
    nodes = (pair for root in (shelf.roots if shelf is not None else ()) for pair in root.walk())
    return titles, (
        (depth, one.kind, one.title, one.key, one.size, one.created, one.images, one.containers) for depth, one in nodes
    )


def _networks(engine: Engine, snapshot: Snapshot) -> Sheet:
    """A line for every link of a container, and one for a network without."""
    titles = (
        *("network", "driver", "bridge", "subnet", "gateway", "internal", "container", "status", "address", "mac"),
        *("host_if", "rx_bytes", "tx_bytes", "rx_per_second", "tx_per_second", "dropped_per_second", "ports"),
    )
    rails = documents.part(snapshot, "networks")
    rows = []
    for rail in rails.graph.networks if rails is not None else ():
        about = (rail.name, rail.driver, rail.bridge, rail.subnet, rail.gateway, rail.internal)
        links = rails.graph.on(rail.name)
        for edge, node in links:
            flow, seen = rails.flows.get(("edge", edge.key)), edge.counters
            ports = [str(port) for port in rails.graph.ports if port.id == edge.id and not edge.number]
            rows.append(
                (
                    *(*about, node.name, node.status, edge.address, edge.mac, edge.host_if),
                    *((seen.rx_bytes, seen.tx_bytes) if seen else (None, None)),
                    *((flow.rx_bytes, flow.tx_bytes, flow.dropped) if flow else (None, None, None)),
                    ports,
                )
            )
        if not links:
            rows.append((*about, *(None,) * 11))
    return titles, rows


def _volumes(engine: Engine, snapshot: Snapshot) -> Sheet:
    from pyctr.tui.sources.volumes import VolumeRow

    return VolumeRow._fields, documents.part(snapshot, "volumes") or ()


def _events(engine: Engine, snapshot: Snapshot) -> Sheet:
    return ("time", "type", "action", "name", "id", "attributes"), (
        (
            f"{event.time_ns / 1e9:.3f}",
            event.type,
            event.action,
            event.name,
            event.id,
            [f"{key}={value}" for key, value in event.attributes.items()],
        )
        for event in documents.events(engine)
    )


def _triage(engine: Engine, snapshot: Snapshot) -> Sheet:
    ward = documents.part(snapshot, "triage")
    return ("name", "id", "status", "kind", "rank", "title", "since", "facts", "why"), (
        (
            *(case.name, case.id, case.status, one.kind, one.rank, one.title, one.since or None),
            "; ".join(f"{fact.name} {_number(fact.value)}{f' {fact.unit}' if fact.unit else ''}" for fact in one.facts),
            one.why,
        )
        for case in (ward.cases if ward is not None else ())
        for one in case.diagnoses
    )


def _posture(engine: Engine, snapshot: Snapshot) -> Sheet:
    """A line for every finding."""
    found = documents.part(snapshot, "posture")
    return ("name", "id", "engine", "status", "level", "kind", "title", "evidence", "fix"), (
        (one.name, one.id, one.engine, one.status, finding.level, finding.kind, *finding[2:])
        for one in (found.rated if found is not None else ())
        for finding in one.findings
    )


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _host(engine: Engine, snapshot: Snapshot) -> Sheet:
    rows: list[tuple[str, str, Any]] = [
        ("host", name, value) for name, value in snapshot.host._asdict().items() if name != "cpu_spark"
    ]
    machine = documents.part(snapshot, "machine")
    if machine is not None:
        rows += [("kernel", "release", machine.kernel), ("kernel", "cgroups", machine.cgroups)]
        rows += [("memory", name, value) for name, value in machine.memory.items()]
        for core in machine.cores:
            rows += [(core.name, name, value) for name, value in core._asdict().items() if name != "name"]
        for kind, lines in machine.pressure.items():
            for line, values in lines.items():
                times = zip(("avg10", "avg60", "avg300"), values, strict=True)
                rows += [(f"psi {kind}", f"{line} {name}", value) for name, value in times]
    for finding in documents.part(snapshot, "findings") or ():
        rows.append((f"doctor {finding.level}", finding.topic, finding.text))
    space = documents.part(snapshot, "space")
    if space is not None:
        rows += [("disk", "total", space.total), ("disk", "available", space.available)]
        for kind in space.kinds:
            rows += [(kind.name, name, getattr(kind, name)) for name in ("number", "used", "size", "free")]
    return ("part", "name", "value"), rows


_SCREENS = {
    "containers": _containers,
    "images": _images,
    "networks": _networks,
    "volumes": _volumes,
    "events": _events,
    "triage": _triage,
    "posture": _posture,
    "host": _host,
}


def _processes(snapshot: Snapshot, log: Log) -> Sheet:
    from pyctr.core import heaviest
    from pyctr.tui.details.processes import Process

    found: Any = snapshot.detail.document if snapshot.detail is not None else None
    if isinstance(found, heaviest.Seen):
        rows = [one.to_dict() for one in found.rows]
        return heaviest.FIELDS, ([*row.values()] for row in rows)
    names = [name for name in Process._fields if name not in ("ticks", "start_time")]
    return names, ([getattr(row, name) for name in names] for row in (found.rows if found is not None else ()))


def _log(snapshot: Snapshot, log: Log) -> Sheet:
    return ("time", "stream", "text"), (
        (f"{entry.time_ns / 1e9:.3f}", entry.stream, entry.text) for entry in documents.log(log)
    )


def _mounts(snapshot: Snapshot, log: Log) -> Sheet:
    found: Any = snapshot.detail.document if snapshot.detail is not None else None
    return ("target", "type", "source", "options"), found.there if found is not None else ()


def _files(snapshot: Snapshot, log: Log) -> Sheet:
    from pyctr.core.openfiles import OpenFile

    found: Any = snapshot.detail.document if snapshot.detail is not None else None
    names = [name for name in OpenFile._fields if name != "pids"]
    return names, ([getattr(file, name) for name in names] for file in (found.files if found is not None else ()))


_TABS = {"processes": _processes, "logs": _log, "mounts": _mounts, "files": _files}
