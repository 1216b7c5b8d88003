"""Everything known about it, as the document of `pyctr inspect`."""

from __future__ import annotations

import json

from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.tui.format import Line, Span
    from pyctr.tui.snapshot import ContainerRow, Snapshot
    from pyctr.tui.table import Look


def collect(engine: Engine, container: Container, before: object) -> object:
    from pyctr.core import inspect

    found = inspect.document(container)
    return engine.recorded.shown(found) if engine.recorded is not None else found


def render(document: object, row: ContainerRow, snapshot: Snapshot, width: int, height: int, look: Look) -> list[Line]:
    lines: list[Line] = []
    if isinstance(document, dict):
        for key, value in document.items():
            _render(key, value, 0, lines)
    return lines


def _render(key: str, value: Any, depth: int, lines: list[Line]) -> None:
    """Braces and quotes of keys left out: the indent says it."""
    head: list[Span] = [("  " * depth, "text"), (f"{f.neutral(key)}", "json.key")]
    if isinstance(value, dict) and value:
        lines.append(tuple(head))
        for name, one in value.items():
            _render(str(name), one, depth + 1, lines)
    elif isinstance(value, list) and value and any(isinstance(one, (dict, list)) for one in value):
        lines.append(tuple(head))
        for number, one in enumerate(value):
            _render(str(number), one, depth + 1, lines)
    elif isinstance(value, list) and value and sum(len(str(one)) for one in value) > 60:
        lines.append(tuple(head))
        lines.extend((("  " * (depth + 1), "text"), ("- ", "faint"), _scalar(one)) for one in value)
    elif isinstance(value, list):
        head.append(("  ", "text"))
        for number, one in enumerate(value):
            if number:
                head.append((", ", "faint"))
            head.append(_scalar(one))
        if not value:
            head.append(("[]", "faint"))
        lines.append(tuple(head))
    else:
        lines.append((*head, ("  ", "text"), _scalar(value)))


def _scalar(value: Any) -> Span:
    if isinstance(value, str):
        return (f.neutral(value), "json.string") if value else ('""', "faint")
    if value is None or value == {} or value is False or value == 0:
        return (json.dumps(value), "faint")
    return (json.dumps(value), "json.other")
