"""The volumes, with their sizes and who uses them."""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.engine import Engine
    from pyctr.tui.sources import Seen


class VolumeRow(NamedTuple):
    name: str
    size: int
    """Bytes."""
    created_at: float
    users: tuple[str, ...]
    """Names of containers."""
    labels: tuple[str, ...]
    anonymous: bool
    path: str


def collect(engine: Engine, seen: Seen, before: object) -> object:
    rows = []
    for volume in engine.volumes.list():
        labels = tuple(f"{key}={value}" if value else key for key, value in sorted(volume.labels.items()))
        rows.append(
            VolumeRow(
                volume.name,
                engine.volumes.usage(volume.name),
                volume.created_at,
                tuple(engine.volumes.users(volume.name)),
                labels,
                volume.anonymous,
                engine.recorded.shown(volume.path) if engine.recorded is not None else volume.path,
            )
        )
    return tuple(sorted(rows, key=lambda row: (row.anonymous, row.name)))
