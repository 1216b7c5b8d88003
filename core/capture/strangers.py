"""Containers of other engines in a recording: what their engines have on record, told once, and their logs' ends."""

from __future__ import annotations

import hashlib

from pyctr.core.engines.model import ENGINES, Foreign, Log, Mount, Port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from pyctr.core.engine import Engine

SERVICES = "systemd"
"""Services of the host are no containers: a recording has none of them."""


def find(engine: Engine) -> tuple[Foreign, ...]:
    """Those that are there now, by their engines' records and the kernel."""
    from pyctr.core.engines.finder import Finder

    found = Finder(engine.paths, engine.layout).look()
    return tuple(one for one in found if one.engine in ENGINES and one.engine != SERVICES and not one.infra)


def log_name(one: Foreign) -> str:
    """Where the end of its log is in a recording."""
    return f"root/others/{hashlib.sha256(one.key.encode(errors='replace')).hexdigest()[:32]}.log"


def to_document(found: Iterable[Foreign]) -> list[dict[str, Any]]:
    """As JSON has it; how its engine's command line would be called is nobody's business elsewhere."""
    return [plain(one._replace(words=())) for one in found]


def plain(value: Any) -> Any:
    """Named tuples as objects, other tuples as lists."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(one) for name, one in value._asdict().items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return {str(key): plain(one) for key, one in value.items()} if hasattr(value, "items") else value


def from_document(document: Iterable[Any], root: str, present: frozenset[str]) -> tuple[Foreign, ...]:
    """The records again; logs are those below `root` whose names are `present`. What is none of them is left out."""
    found = []
    for told in document:
        try:
            one = _read(told)
        except (TypeError, ValueError, KeyError, AttributeError):
            continue
        if ".." in one.group.split("/"):
            continue  # no group is called so: it would be somewhere else on this machine
        name = log_name(one)
        kept = name.rpartition("/")[2] in present
        log = Log("cri", f"{root}/{name.partition('/')[2]}") if kept else Log(why="it was not recorded")
        found.append(one._replace(log=log, words=()))
    return tuple(found)


def _read(told: dict[str, Any]) -> Foreign:
    known = {name: value for name, value in told.items() if name in Foreign._fields}
    plain: dict[str, Any] = {}
    for name, value in known.items():
        default = Foreign._field_defaults.get(name, "")
        if isinstance(default, bool) or default is None or isinstance(default, (int, float)):
            if value is not None and not isinstance(value, (int, float)):
                raise TypeError(name)
            plain[name] = value
        elif isinstance(default, str):
            plain[name] = str(value)
    plain["command"] = tuple(map(str, known.get("command") or ()))
    plain["addresses"] = tuple(map(str, known.get("addresses") or ()))
    plain["labels"] = {str(key): str(value) for key, value in (known.get("labels") or {}).items()}
    plain["ports"] = tuple(_as(Port, one) for one in known.get("ports") or ())
    plain["mounts"] = tuple(_as(Mount, one) for one in known.get("mounts") or ())
    plain["log"] = _as(Log, known.get("log") or {})
    return Foreign(**plain)


def _as(kind: Any, told: dict[str, Any]) -> Any:
    return kind(**{name: told[name] for name in kind._fields if name in told})
