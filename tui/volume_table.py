"""The volumes as rows of a grid."""

from __future__ import annotations

from pyctr.tui import format as f
from pyctr.tui.sources.volumes import VolumeRow
from pyctr.tui.table import Column

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.tui.format import Line
    from pyctr.tui.table import Look


def _name(row: VolumeRow, width: int, look: Look) -> Line:
    return ((f.cut(f.neutral(row.name), width, look.glyphs.ellipsis), "muted" if row.anonymous else "strong"),)


def _size(row: VolumeRow, width: int, look: Look) -> Line:
    return ((f.size(row.size), "text" if row.size else "faint"),)


def _users(row: VolumeRow, width: int, look: Look) -> Line:
    text = ", ".join(f.neutral(name) for name in row.users)
    return ((f.cut(text, width, look.glyphs.ellipsis), "accent") if text else ("unused", "faint"),)


def _age(row: VolumeRow, width: int, look: Look) -> Line:
    return ((f.duration(max(0.0, look.now - row.created_at)), "muted"),)


def _labels(row: VolumeRow, width: int, look: Look) -> Line:
    text = "anonymous" if row.anonymous else " ".join(f.neutral(label) for label in row.labels)
    return ((f.cut(text or "-", width, look.glyphs.ellipsis), "faint"),)


def columns(width: int, look: Look) -> list[Column]:
    chosen = [
        Column("name", "NAME", 16, _name, sort=lambda row: row.name, grow=2, limit=40, sort_key="N"),
        Column("size", "SIZE", 6, _size, align="right", sort=lambda row: row.size, descending=True),
        Column("age", "AGE", 5, _age, align="right", sort=lambda row: -row.created_at),
        Column("users", "USED BY", 12, _users, sort=lambda row: row.users, grow=2, limit=48),
    ]
    if width >= 90:
        chosen.append(Column("labels", "LABELS", 12, _labels, grow=1, limit=40))
    return chosen
