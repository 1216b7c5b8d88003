"""A container's files as an image (commit) or as an archive (export)."""

from __future__ import annotations

import os
import time

from pyctr.core.errors import StorageError, from_oserror
from pyctr.core.images import importing, instructions, newlayer
from pyctr.core.images.merged import Directory
from pyctr.core.images.model import rfc3339
from pyctr.core.images.tarwriter import TarWriter
from pyctr.core.state import RUNNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.core.containers import Container
    from pyctr.core.images.model import Image


def export(container: Container, write: Callable[[bytes], object]) -> None:
    """All files of a container, running or not, as a tar archive; volumes and other mounts are empty in it."""
    tar = TarWriter(write)
    with _view(container) as root:
        tar.merged(root)
    tar.finish()


def commit(
    container: Container,
    name: str = "",
    *,
    changes: list[str] | None = None,
    message: str = "",
    author: str = "",
    pause: bool = True,
) -> Image:
    """An image of the container's image and, as one more layer, what the container changed.

    A running container stands still meanwhile unless not `pause`. Raises ImageNotFound when its image is gone,
    UsageError for a change that is none, StorageError.
    """
    engine = container.engine
    base = engine.images.resolve(container.state.image_id)
    config = _config(container, base.config)
    for change in changes or []:
        instructions.apply(config, change)
    try:
        with engine.images.adding(), _Still(container, pause):
            descriptor, diff_id = newlayer.write(engine.images.blobs, lambda write: _changes(container, base, write))
        with engine.images.adding():
            older = engine.images.manifest(base.digest)["layers"]
            stack = [(layer, one.diff_id) for layer, one in zip(older, base.layers, strict=True)]
            step = {
                "created": rfc3339(time.time()),
                "created_by": " ".join(container.state.command),
                "comment": message,
            }
            return importing.add(
                engine.images,
                engine.layers,
                name,
                layers_=[*stack, (descriptor, diff_id)],
                config=config,
                history=[*_history(base), {key: value for key, value in step.items() if value}],
                author=author,
            )
    except OSError as error:
        raise from_oserror(error, f"committing '{container.name}'") from error


class _Still:
    """The container is paused inside, if it runs and is not paused anyway."""

    def __init__(self, container: Container, wanted: bool) -> None:
        self.container = container
        self.wanted = wanted and container.status == RUNNING

    def __enter__(self) -> None:
        if self.wanted:
            self.container.engine.group(self.container.state.group).freeze()

    def __exit__(self, *_: object) -> None:
        if self.wanted:
            self.container.engine.group(self.container.state.group).thaw()


def _view(container: Container) -> Directory:
    engine = container.engine
    with engine.storage.whole(container.id) as tree:
        if tree:
            return Directory.root([tree])
    upper = engine.paths.container(container.id, "upper")
    lower = (container.state.rootfs or {}).get("lower")
    if not lower:
        raise StorageError(f"the layers of container '{container.name}' are unknown")
    return Directory.root([upper, *lower])


def _changes(container: Container, base: Image, write: Callable[[bytes], object]) -> None:
    engine = container.engine
    tar = TarWriter(write)
    with engine.storage.whole(container.id) as tree:
        if tree:
            with Directory.root([tree]) as root:
                tar.changed(root, engine.storage.changes(container.id, base))
        else:
            fd = os.open(engine.paths.container(container.id, "upper"), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                tar.upper(fd)
            finally:
                os.close(fd)
    tar.finish()


def _config(container: Container, base: dict[str, Any]) -> dict[str, Any]:
    """The image's configuration with what the container was made with, as Docker's commit has it."""
    spec = container.spec
    config = {key: value for key, value in base.items() if value is not None}
    if spec.command is not None:
        config["Cmd"] = list(spec.command)
    if spec.entrypoint is not None:
        config["Entrypoint"] = list(spec.entrypoint)
        if spec.command is None:
            config.pop("Cmd", None)
    names = {one.partition("=")[0] for one in spec.env}
    kept = [one for one in config.get("Env") or [] if one.partition("=")[0] not in names]
    if kept or spec.env:
        config["Env"] = [*kept, *(one for one in spec.env if "=" in one)]
    if spec.labels:
        config["Labels"] = {**(config.get("Labels") or {}), **spec.labels}
    given = {"User": spec.user, "WorkingDir": spec.workdir, "StopSignal": spec.stop_signal}
    return {**config, **{key: value for key, value in given.items() if value}}


def _history(base: Image) -> list[dict[str, Any]]:
    """A step per layer at least: older images may say less than they have."""
    steps = list(base.history)
    told = sum(1 for step in steps if not step.get("empty_layer"))
    return [*steps, *({"created_by": ""} for _ in range(len(base.layers) - told))]
