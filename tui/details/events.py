"""The birth certificate of the last start, and what happened to the container since it was made."""

from __future__ import annotations

import json
import os
from typing import NamedTuple

from pyctr.core import fsutil
from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.tui.format import Line, Span
    from pyctr.tui.snapshot import ContainerRow, Snapshot
    from pyctr.tui.table import Look

READ = 1 << 20
"""Bytes of the journal's end that are searched."""
GLYPH_STYLE = {"start": "good", "die": "warn", "oom": "bad", "kill": "warn", "destroy": "bad", "create": "accent"}


class Happened(NamedTuple):
    birth: dict[str, Any]
    events: tuple[tuple[float, str, dict[str, str]], ...]
    """(seconds since the epoch, action, attributes), the newest first"""


def collect(engine: Engine, container: Container, before: object) -> object:
    try:
        birth = fsutil.read_json(container.path("birth.json"))
    except OSError:
        birth = {}  # never started
    wanted = container.id.encode()
    found = []
    try:
        with open(engine.paths.events, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - READ))
            for line in file:
                # most lines are about others: looking is cheaper than parsing
                if wanted in line:
                    try:
                        event = json.loads(line)
                        found.append(
                            (event["time_ns"] / 1e9, str(event["action"]), dict(event.get("attributes") or {}))
                        )
                    except (ValueError, KeyError, TypeError):
                        continue  # the first line of the piece may be cut
    except FileNotFoundError:
        pass  # no journal yet
    return Happened(birth, tuple(reversed(found[-500:])))


def render(document: object, row: ContainerRow, snapshot: Snapshot, width: int, height: int, look: Look) -> list[Line]:
    if not isinstance(document, Happened):
        return []
    lines: list[Line] = certificate(document.birth, width, look) if document.birth else []
    if lines:
        lines.append(())
    for moment, action, attributes in document.events:
        about = "  ".join(
            f"{key} {value}" for key, value in attributes.items() if value and key not in ("image", "name")
        )
        lines.append(
            (
                (f.stamp(moment)[:-4], "faint"),
                (f"  {f.fit(f.neutral(action), 10)}", GLYPH_STYLE.get(action, "text")),
                (f.cut(f.neutral(about), max(0, width - 32)), "muted"),
            )
        )
    if not lines:
        lines.append((("nothing has happened to it yet", "faint"),))
    return lines


def certificate(birth: dict[str, Any], width: int, look: Look) -> list[Line]:
    """Every step with its begin, what it did, how long it took, and a bar on a common scale."""
    steps = birth.get("steps") or []
    total = birth.get("total_us") or sum(step.get("took_us", 0) for step in steps)
    dot = look.glyphs.dot
    lines: list[Line] = [
        (
            ("start of ", "muted"),
            (f.neutral(str(birth.get("name", ""))), "strong"),
            (f" {dot} ", "faint"),
            (f.milliseconds(total), "accent"),
            (f" {dot} {f.stamp(birth.get('started_at') or 0.0)}", "muted"),
        )
    ]
    bar = 20 if width >= 100 else 10 if width >= 70 else 0
    longest = max((step.get("took_us", 0) for step in steps), default=0) or 1
    room = max(4, width - 7 - 18 - 9 - bar - 3)
    for step in steps:
        took = step.get("took_us", 0)
        spans: list[Span] = [
            (f.fit(f"{step.get('at_us', 0) / 1000:.1f}", 6, "right"), "faint"),
            (f"  {f.fit(f.neutral(str(step.get('name', ''))), 16)}", "strong"),
            (" ", "text"),
            (f.fit(" ".join(f.neutral(str(step.get("text", ""))).split()), room), "text"),
            (f.fit(f.milliseconds(took), 8, "right"), "muted"),
        ]
        if bar:
            eighths = max(1, round(took * bar * 8 / longest))
            whole, part = divmod(eighths, 8)
            spans += [(" ", "text"), (look.glyphs.full * whole + look.glyphs.eighths[part], "chart")]
        lines.append(tuple(spans))
    return lines
