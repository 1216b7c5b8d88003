"""What our images, containers and volumes take on the disk, and what is left there."""

from __future__ import annotations

import os
from typing import NamedTuple

from pyctr.core import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.engine import Engine
    from pyctr.tui.sources import Seen


class Kind(NamedTuple):
    name: str
    number: int
    used: int
    """How many of them something uses."""
    size: int
    free: int
    """Bytes that removing the unused ones would give back."""


class Space(NamedTuple):
    place: str
    """The directory all of it is in."""
    total: int | None = None
    available: int | None = None
    kinds: tuple[Kind, ...] = ()


def collect(engine: Engine, seen: Seen, before: object) -> object:
    root = engine.paths.root
    if not os.path.isdir(root):
        return Space(root)
    disk = os.statvfs(root)
    in_use = {container.state.image_id for container in seen.containers}
    layers: dict[str, int] = {}
    needed: set[str] = set()
    images = engine.images.list()
    for image in images:
        for layer in image.layers:
            layers[layer.digest] = layer.size
            if image.id in in_use:
                needed.add(layer.digest)
    own: list[tuple[bool, int]] = []
    for container in seen.containers:
        live = seen.statuses.get(container.id) in ("running", "paused")
        try:
            own.append((live, engine.storage.usage(container.id)))
        except OSError:
            continue  # removed meanwhile
    volumes: list[tuple[bool, int]] = []
    for volume in engine.volumes.list():
        try:
            volumes.append((bool(engine.volumes.users(volume.name)), engine.volumes.usage(volume.name)))
        except (OSError, errors.PyctrError):
            continue  # removed meanwhile
    return Space(
        root,
        disk.f_blocks * disk.f_frsize,
        disk.f_bavail * disk.f_frsize,
        (
            Kind(
                "images",
                len(images),
                sum(image.id in in_use for image in images),
                sum(layers.values()),
                sum(size for digest, size in layers.items() if digest not in needed),
            ),
            _kind("writable layers", own),
            _kind("volumes", volumes),
        ),
    )


def _kind(name: str, things: list[tuple[bool, int]]) -> Kind:
    return Kind(
        name,
        len(things),
        sum(used for used, _ in things),
        sum(size for _, size in things),
        sum(size for used, size in things if not used),
    )
