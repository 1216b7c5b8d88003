"""The tabs of one container's details: what each needs to know (in the poller's thread) and how it reads (pure)."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.core.engines.model import Foreign
    from pyctr.tui.format import Line
    from pyctr.tui.snapshot import ContainerRow, Snapshot
    from pyctr.tui.table import Look


class Tab:
    """A tab and its module, which has `collect(engine, container, before) -> document` (may raise OSError, PyctrError)
    and `render(document, row, snapshot, width, height, look) -> lines`. Collected anew every `every` seconds."""

    def __init__(self, name: str, title: str, every: float) -> None:
        self.name = name
        self.title = title
        self.every = every

    def _module(self) -> Any:
        return import_module(f"pyctr.tui.details.{self.name}")

    def collect(self, engine: Engine, container: Container | Foreign, before: object) -> object:
        if not hasattr(container, "spec"):
            from pyctr.tui.details import foreign

            return foreign.collect(self.name, engine, container, before)
        return self._module().collect(engine, container, before)

    def render(
        self, document: object, row: ContainerRow, snapshot: Snapshot, width: int, height: int, look: Look
    ) -> list[Line]:
        if row.engine:
            from pyctr.tui.details import foreign

            if isinstance(document, foreign.Told):
                return foreign.render(document, width)
        lines: list[Line] = self._module().render(document, row, snapshot, width, height, look)
        return lines


TABS = (
    Tab("overview", "Overview", 5.0),
    Tab("logs", "Logs", 3600.0),
    Tab("processes", "Processes", 1.0),
    Tab("layers", "Layers", 10.0),
    Tab("network", "Network", 1.0),
    Tab("mounts", "Mounts", 5.0),
    Tab("files", "Files", 5.0),
    Tab("security", "Security", 5.0),
    Tab("inspect", "Inspect", 5.0),
    Tab("events", "Events", 2.0),
)


def find(name: str) -> Tab:
    for tab in TABS:
        if tab.name == name:
            return tab
    raise KeyError(name)


def facts(pairs: list[tuple[str, str]], width: int, *, key_width: int = 12) -> list[Line]:
    """`key  value` lines, long values wrapped below themselves."""
    from pyctr.tui import format as f

    lines: list[Line] = []
    room = max(8, width - key_width - 1)
    for key, value in pairs:
        rest = f.neutral(value)
        first = True
        while rest or first:
            piece = rest if f.width(rest) <= room else _piece(rest, room)
            lines.append(((f.fit(key if first else "", key_width), "faint"), (" ", "text"), (piece, "text")))
            rest = rest[len(piece) :].lstrip()
            first = False
    return lines


def _piece(text: str, room: int) -> str:
    from pyctr.tui import format as f

    out = ""
    for char in text:
        if f.width(out + char) > room:
            break
        out += char
    space = out.rfind(" ")
    return out[:space] if space > room // 2 else out


def table(headings: list[tuple[str, int, str]], rows: list[list[tuple[str, str]]], width: int) -> list[Line]:
    """A small static table: headings are (title, width, align), the last column takes what is left."""
    from pyctr.tui import format as f

    lines: list[Line] = []
    used = sum(size + 2 for _, size, _ in headings[:-1])
    sizes = [size for _, size, _ in headings[:-1]] + [max(4, width - used)]

    def line(cells: list[tuple[str, str]]) -> Line:
        spans: list[tuple[str, str]] = []
        for index, ((text, style), size, (_, _, align)) in enumerate(zip(cells, sizes, headings, strict=True)):
            if index:
                spans.append(("  ", "text"))
            spans.append((f.fit(text, size, align), style))
        return tuple(spans)

    lines.append(line([(title, "heading") for title, _, _ in headings]))
    lines.extend(line(row) for row in rows)
    return lines
