"""The tabs of a container of another engine: what its record and the kernel say, and in one line what they do not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import NamedTuple

from pyctr.core import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.engine import Engine
    from pyctr.core.engines.model import Foreign
    from pyctr.tui.format import Line


class Told(NamedTuple):
    """A document of its own: lines of key and value, and a word of explanation."""

    pairs: tuple[tuple[str, str], ...]
    note: str = ""


def collect(tab: str, engine: Engine, one: Foreign, before: object) -> object:
    """The document of a tab. OSError where the kernel does not let this user look."""
    return _COLLECT[tab](engine, one, before)


def render(document: Told, width: int) -> list[Line]:
    from pyctr.tui.details import facts

    lines = facts(list(document.pairs), width)
    if document.note:
        lines += [*([()] if lines else []), ((document.note, "muted"),)]
    return lines


def _overview(engine: Engine, one: Foreign, before: object) -> object:
    """The last words of one that has ended."""
    if one.running:
        from pyctr.tui.details.overview import closely

        return {"engine": one.engine, "pod": one.pod, "inside": one.inside[:12], **closely(engine, one, before)}
    if isinstance(before, dict) and before.get("ended") == one.finished_at:
        return before
    from pyctr.core.engines import output
    from pyctr.tui.details.overview import LAST_WORDS
    from pyctr.tui.logfollow import readable

    found: dict[str, object] = {"engine": one.engine, "pod": one.pod, "ended": one.finished_at}
    try:
        lines = list(output.read(one, tail=LAST_WORDS))
    except (OSError, errors.PyctrError):
        return found  # kept nowhere, or not ours to read
    found["words"] = [(stream, readable(raw)) for _, stream, raw in lines]
    return found


def _processes(engine: Engine, one: Foreign, before: object) -> object:
    from pyctr.tui.details import processes

    if not one.group:
        return processes.Processes(0.0, (), 0)
    return processes.collect(engine, _as_ours(one), before)


def _network(engine: Engine, one: Foreign, before: object) -> object:
    from pyctr.core.engines import document
    from pyctr.tui.details import network

    found = document.addresses(engine.paths, one.pid) if one.pid and one.own_network else []
    return network.collect(engine, _as_ours(one, {"address": ", ".join(found or one.addresses)}), before)


def _as_ours(one: Foreign, network: dict[str, Any] | None = None) -> Any:
    """What those tabs ask of a container."""
    return SimpleNamespace(pid=one.pid, state=SimpleNamespace(group=one.group, network=network or {}))


def _layers(engine: Engine, one: Foreign, before: object) -> object:
    from pyctr.core.engines import document

    if not one.pid:
        return Told((("image", one.image or "-"),), "its layers are seen while it runs, as its overlay mount has them")
    found = document.layers(document.mounts(engine.paths, one.pid))
    if not found:
        return Told((("image", one.image or "-"),), "its root is no overlay: there are no layers to tell apart")
    below = [("" if place else "below", path) for place, path in enumerate(found[1:])]
    return Told((("image", one.image or "-"), ("writable", found[0]), ("its size", _size(found[0])), *below))


def _size(upper: str) -> str:
    from pyctr.core import closelook
    from pyctr.tui import format as f

    try:
        size = closelook.written(upper)
    except OSError:
        return "-"  # not ours to look at
    return "too many files to add up" if size is None else f.size(size)


def _mounts(engine: Engine, one: Foreign, before: object) -> object:
    from pyctr.core.engines import document
    from pyctr.tui.details.mounts import Mounted

    there = []
    for mount in document.mounts(engine.paths, one.pid) if one.pid else ():
        wide = mount.wide.split(",")[0]
        options = mount.options if mount.options.startswith(wide) else f"{mount.options} ({wide})"
        there.append((mount.target, mount.kind, mount.source, options))
    asked = tuple((mount.kind, mount.source, mount.target, mount.readonly) for mount in one.mounts)
    return Mounted(asked, tuple(there))


def _files(engine: Engine, one: Foreign, before: object) -> object:
    from pyctr.tui.details import files

    return files.collect(engine, _as_ours(one), before)


def _security(engine: Engine, one: Foreign, before: object) -> object:
    from pyctr.tui.details import security

    return security.collect(engine, _as_ours(one), before)


def _inspect(engine: Engine, one: Foreign, before: object) -> object:
    from pyctr.core.engines import document

    return document.document(engine.paths, one)


def _events(engine: Engine, one: Foreign, before: object) -> object:
    return Told((), f"what happened to it only {one.engine} could tell, which is not asked")


_COLLECT = {
    "overview": _overview,
    "processes": _processes,
    "network": _network,
    "layers": _layers,
    "mounts": _mounts,
    "files": _files,
    "security": _security,
    "inspect": _inspect,
    "events": _events,
}
