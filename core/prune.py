"""What a prune would remove and what that frees, decided before anybody is asked; then the removal.

Containers go first, so that images only they use are free as well; then volumes, images, and what killed commands left
behind (`images.garbage`).
"""

from __future__ import annotations

from pyctr.core import containers, lifecycle
from pyctr.core import state as states
from pyctr.core.errors import Conflict, IllegalTransition, NotFound
from pyctr.core.images import garbage
from pyctr.core.images.store import build_records
from pyctr.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyctr.core.build.prune import Kept
    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.core.images.garbage import Garbage
    from pyctr.core.images.model import Image
    from pyctr.core.volumes import Volume

    Wanted = Callable[[float, dict[str, str]], bool]
    """(made at, labels) -> may it go"""

IDLE = (states.CREATED, states.STOPPED, states.DEAD)
"""Containers that a prune removes."""


class Plan(Record):
    """Things with the bytes on disk that go with each; an image's are those no image that stays has."""

    containers: list[tuple[Container, int]] = []
    volumes: list[tuple[Volume, int]] = []
    images: list[tuple[Image, int]] = []
    cache: Kept | None = None
    """Of builds."""
    garbage: Garbage | None = None

    @property
    def size(self) -> int:
        left = sum(found.size for found in (self.cache, self.garbage) if found is not None)
        return left + sum(size for items in (self.containers, self.volumes, self.images) for _, size in items)

    @property
    def empty(self) -> bool:
        left = sum(found.count for found in (self.cache, self.garbage) if found is not None)
        return not (self.containers or self.volumes or self.images or left)


def any_(made_at: float, labels: dict[str, str]) -> bool:
    """No filter."""
    return True


def idle_containers(engine: Engine, wanted: Wanted = any_) -> list[tuple[Container, int]]:
    """Containers that do not run, with the bytes of their writable layers."""
    return [
        (container, engine.storage.usage(container.id))
        for container in containers.all(engine)
        if container.status in IDLE and wanted(container.state.created_at, container.spec.labels)
    ]


def idle_volumes(
    engine: Engine, everything: bool, without: set[str], wanted: Wanted = any_
) -> list[tuple[Volume, int]]:
    """Anonymous volumes, or all, that no container has but those `without` (names)."""
    return [
        (volume, engine.volumes.usage(volume.name))
        for volume in engine.volumes.list()
        if (everything or volume.anonymous)
        and set(engine.volumes.users(volume.name)) <= without
        and wanted(volume.created_at, volume.labels)
    ]


def idle_images(engine: Engine, everything: bool, without: set[str], wanted: Wanted = any_) -> list[tuple[Image, int]]:
    """Nameless images, or all, that no container uses but those `without` (ids). What the build cache has as well does
    not go with them."""
    used = {one.state.image_id for one in containers.all(engine) if one.id not in without}
    doomed: list[Image] = []
    kept: list[Image] = []
    for image in engine.images.list():
        free = image.id not in used and (everything or not image.names)
        fits = free and wanted(image.created, image.config.get("Labels") or {})
        (doomed if fits else kept).append(image)
    blobs = {layer.digest for image in kept for layer in image.layers}
    unpacked = {layer.diff_id for image in kept for layer in image.layers}
    for record in build_records(engine.paths):
        blobs.add(str((record.get("descriptor") or {}).get("digest")))
        unpacked.add(str(record.get("diff_id")))
    found = []
    for image in doomed:
        size = 0
        for layer in image.layers:
            if layer.digest not in blobs:
                blobs.add(layer.digest)
                size += layer.size
            if layer.diff_id not in unpacked:
                unpacked.add(layer.diff_id)
                size += int(engine.layers.info(layer.diff_id).get("size") or 0)
        found.append((image, size))
    return found


def carry_out(engine: Engine, plan: Plan, told: Callable[[str, str], object]) -> int:
    """Do it. `told` hears ("container"|"volume"|"untagged"|"deleted", name). Returns bytes freed; what somebody took
    into use meanwhile stays."""
    # first, and again at the end: removing an image takes what belongs to nothing along, and tells nobody
    freed = garbage.sweep(engine.images).size if plan.garbage is not None else 0
    for container, size in plan.containers:
        try:
            if containers.find(engine, container.id).status in IDLE:
                lifecycle.remove(engine, container.id)
                told("container", container.id)
                freed += size
        except (NotFound, Conflict, IllegalTransition):
            continue  # started or removed meanwhile
    for volume, size in plan.volumes:
        try:
            engine.volumes.remove(volume.name)
        except (NotFound, Conflict):
            continue
        told("volume", volume.name)
        freed += size
    for image, size in plan.images:
        try:
            for name in image.names or [image.digest]:
                for what, which in engine.images.remove(name):
                    told(what, which)
        except (NotFound, Conflict):
            continue
        freed += size
    if plan.cache is not None:
        from pyctr.core.build import prune as builds

        freed += builds.remove(engine, plan.cache)
    if plan.garbage is not None:
        freed += garbage.sweep(engine.images).size
    engine.volumes.sweep()
    return freed
