"""What images, containers, volumes, builds and leftovers take on the disk, told one by one as each is known.

Images are known at once, from their records: packed blobs and unpacked layers, each once. Writable layers, volumes
and cache mounts have to be walked; whoever iterates has everything before the next walk ends.
"""

from __future__ import annotations

import os
import time

from pyctr.core import containers
from pyctr.core.errors import PyctrError
from pyctr.core.images import garbage
from pyctr.core.record import Record
from pyctr.core.storage import disk_usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyctr.core.engine import Engine
    from pyctr.core.images.model import Image

IMAGE, CONTAINER, VOLUME, CACHE, LEFTOVER = "image", "container", "volume", "cache", "leftover"
KINDS = (IMAGE, CONTAINER, VOLUME, CACHE, LEFTOVER)


class Used(Record):
    """One thing on the disk."""

    kind: str
    name: str
    id: str
    size: int
    """Bytes that only it has."""
    counted: int
    """Bytes that nothing told before has: the sum of these is what a kind takes."""
    shared: int = 0
    """Bytes it has together with other images."""
    active: bool = False
    """A container uses it; for containers: it runs."""
    free: int = 0
    """Bytes a prune of everything would give back."""
    users: int = 0
    created: float = 0.0


class Counted(Record):
    """A kind of which all is told now."""

    kind: str


def survey(engine: Engine) -> Iterator[Used | Counted]:
    """Everything, in the order of KINDS."""
    everyone = containers.all(engine)
    yield from _images(engine, [container.state.image_id for container in everyone])
    yield Counted(kind=IMAGE)
    for container in everyone:
        size = engine.storage.usage(container.id)
        yield Used(
            kind=CONTAINER,
            name=container.name,
            id=container.id,
            size=size,
            counted=size,
            active=container.running,
            free=0 if container.running else size,
            created=container.state.created_at,
        )
    yield Counted(kind=CONTAINER)
    for volume in engine.volumes.list():
        try:
            users, size = len(engine.volumes.users(volume.name)), engine.volumes.usage(volume.name)
        except PyctrError:
            continue  # removed meanwhile
        yield Used(
            kind=VOLUME,
            name=volume.name,
            id=volume.name,
            size=size,
            counted=size,
            active=users > 0,
            free=0 if users else size,
            users=users,
            created=volume.created_at,
        )
    yield Counted(kind=VOLUME)
    yield from _cache(engine)
    yield Counted(kind=CACHE)
    left = garbage.survey(engine.images)
    for items in (left.blobs, left.layers, left.downloads, left.halves):
        for name, size in items:
            yield Used(kind=LEFTOVER, name=name.rpartition("/")[2], id=name, size=size, counted=size, free=size)
    yield Counted(kind=LEFTOVER)


def _images(engine: Engine, image_ids: list[str]) -> Iterator[Used]:
    images = engine.images.list()
    sizes = {key: size for image in images for key, size in _parts(engine, image)}
    having: dict[str, int] = {}
    needed: set[str] = set()
    for image in images:
        keys = {key for key, _ in _parts(engine, image)}
        for key in keys:
            having[key] = having.get(key, 0) + 1
        if image.id in image_ids:
            needed |= keys
    told: set[str] = set()
    for image in images:
        keys = {key for key, _ in _parts(engine, image)}
        own = sum(sizes[key] for key in keys if having[key] == 1)
        users = image_ids.count(image.id)
        yield Used(
            kind=IMAGE,
            name=image.familiar,
            id=image.id,
            size=own,
            counted=sum(sizes[key] for key in keys - told),
            shared=sum(sizes[key] for key in keys if having[key] > 1),
            active=users > 0,
            free=sum(sizes[key] for key in keys - needed - told),
            users=users,
            created=image.created,
        )
        told |= keys


def _cache(engine: Engine) -> Iterator[Used]:
    """Steps with what no image and no container has, and cache mounts, which have to be walked."""
    if not os.path.isdir(engine.paths.build):
        return
    from pyctr.core.build import prune

    now = time.time() + 1
    for step in prune.steps(engine, now):
        yield Used(
            kind=CACHE,
            name=step.by,
            id=step.key,
            size=step.size,
            counted=step.size,
            free=step.size,
            created=step.used_at,
        )
    for path in prune.mounts(engine, now):
        size = disk_usage(path)
        name = "RUN --mount=type=cache"
        yield Used(kind=CACHE, name=name, id=path, size=size, counted=size, free=size)


def _parts(engine: Engine, image: Image) -> list[tuple[str, int]]:
    """(blob or unpacked layer, bytes)."""
    found = [(layer.digest, layer.size) for layer in image.layers]
    for layer in image.layers:
        size = engine.layers.info(layer.diff_id).get("size")
        if size is not None:
            found.append((f"unpacked {layer.diff_id}", int(size)))
    return found
