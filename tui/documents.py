"""What a screen shows, as plain data (`pyctr-tui --once --screen NAME --json`), named as the sources name it.

Nothing here, and nothing it imports, knows Textual: a script that asks every few seconds does not pay for a screen.
"""

from __future__ import annotations

from pyctr.core import errors, heaviest
from pyctr.core.cgroups.fields import Fields
from pyctr.core.record import Record
from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyctr.core.engine import Engine
    from pyctr.core.engines.model import Log
    from pyctr.core.events import Event
    from pyctr.core.images.tree import Node
    from pyctr.core.nettalks import Talk
    from pyctr.tui.logfollow import Entry
    from pyctr.tui.snapshot import Snapshot
    from pyctr.tui.sources.images import Shelf
    from pyctr.tui.sources.networks import Rails

LINES = 2000
"""Lines of a log, events of the journal: the last so many."""


def document(engine: Engine, snapshot: Snapshot, screen: str) -> dict[str, Any]:
    """The snapshot, and under the name of the screen what that one shows besides."""
    found: dict[str, Any] = {
        "time": snapshot.time,
        "read_only": snapshot.read_only,
        "error": snapshot.error,
        "host": snapshot.host._asdict(),
        "containers": [row._asdict() for row in snapshot.containers],
    }
    if snapshot.detail is not None:
        found["detail"] = {**snapshot.detail._asdict(), "document": plain(snapshot.detail.document)}
    for name, scene in snapshot.scenes.items():
        if scene.error:
            found.setdefault("errors", {})[name] = scene.error
    if screen == "events":
        found["events"] = [event.to_dict() for event in events(engine)]
    elif screen == "host":
        found["machine"] = plain(part(snapshot, "machine"), without=("ticks", "ticked"))
        found["findings"] = plain(part(snapshot, "findings"))
        found["space"] = plain(part(snapshot, "space"))
    elif screen == "networks":
        found["networks"] = network(part(snapshot, "networks"))
        found["networks"]["talks"] = [talk._asdict() for talk in talks(engine)]
    elif screen == "images":
        found["images"] = shelf(part(snapshot, "images"))
    elif screen == "triage":
        found["triage"] = ward(snapshot)
    elif screen == "posture":
        found["posture"] = ratings(snapshot)
    elif screen != "containers":
        found[screen] = plain(part(snapshot, screen))
    return found


def part(snapshot: Snapshot, name: str) -> Any:
    """What a source found; None if it failed."""
    scene = snapshot.scenes.get(name)
    return scene.document if scene is not None else None


def plain(value: Any, without: Sequence[str] = ()) -> Any:
    """Records and named tuples as objects, other tuples as lists; of measurements what is known."""
    if isinstance(value, Fields):
        return {name: plain(one) for name, one in value.to_dict().items() if one is not None}
    if isinstance(value, (Record, heaviest.Seen)):
        return plain(value.to_dict())
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(one) for name, one in value._asdict().items() if name not in without}
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value


def ward(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Who needs somebody, worst first, with every diagnosis as in core/triage.py."""
    found = part(snapshot, "triage")
    return [
        {"id": case.id, "name": case.name, "status": case.status, "diagnoses": plain(case.diagnoses)}
        for case in (found.cases if found is not None else ())
    ]


def ratings(snapshot: Snapshot) -> list[dict[str, Any]]:
    """How well those that run are shut in, worst first, with every finding as in core/posture.py."""
    found = part(snapshot, "posture")
    return [
        {name: value for name, value in plain(one).items() if name != "failed"}
        for one in (found.rated if found is not None else ())
    ]


def events(engine: Engine) -> list[Event]:
    """The journal's last ones, oldest first. Raises PyctrError where it may not be read."""
    try:
        return engine.events.appended(tail=1 << 20)[0][-LINES:]
    except PermissionError as error:
        raise errors.PermissionDenied("the journal is root's", hint="sudo pyctr-tui …") from error


def log(where: Log) -> list[Entry]:
    """The last lines of a log, harmless. Raises OSError, Unsupported."""
    from pyctr.core.engines import output
    from pyctr.tui.logfollow import Entry, readable

    return [Entry(time_ns, stream, readable(raw)) for time_ns, stream, raw in output.lines(where, tail=LINES)]


def talks(engine: Engine) -> list[Talk]:
    """Who talks to whom, by name; [] for who may not ask."""
    from pyctr.tui import talking

    try:
        return list(talking.look(engine))
    except (errors.PyctrError, OSError):
        return []  # the rest of the screen is everybody's


def network(rails: Rails | None) -> dict[str, Any]:
    """The graph, with the rates on what has some."""
    if rails is None:
        return {"networks": [], "nodes": [], "edges": [], "ports": [], "nics": []}
    graph, flows = rails.graph, rails.flows

    def rated(kind: str, key: str, one: Any) -> dict[str, Any]:
        return {**plain(one), "rates": plain(flows.get((kind, key)))}

    return {
        "networks": [rated("network", rail.name, rail) for rail in graph.networks],
        "nodes": plain(graph.nodes),
        "edges": [rated("edge", edge.key, edge) for edge in graph.edges],
        "ports": plain(graph.ports),
        "nics": [rated("nic", nic.name, nic) for nic in graph.nics],
    }


def shelf(found: Shelf | None) -> dict[str, Any]:
    """The tree of layers, images and containers."""
    if found is None:
        return {"size": None, "saved": None, "images": None, "roots": []}
    return {
        "size": found.size,
        "saved": found.saved,
        "images": found.images,
        "roots": [node(root) for root in found.roots],
    }


def node(one: Node) -> dict[str, Any]:
    """A layer, an image or a container, and what stands on it."""
    return {
        "kind": one.kind,
        "key": one.key,
        "title": f.neutral(one.title),
        "size": one.size,
        "created": one.created,
        "images": one.images,
        "containers": one.containers,
        "children": [node(child) for child in one.children],
    }
