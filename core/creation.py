"""Making a container: everything on disk, nothing running. Each step is taken back if a later one fails."""

from __future__ import annotations

import os
import time

from pyctr.core import birth, containers, errors, fsutil, names, pending, refusals, signals
from pyctr.core.containers import Container
from pyctr.core.runtime import oci
from pyctr.core.spec import Mount
from pyctr.core.state import CREATED, CREATING, State
from pyctr.core.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.engine import Engine
    from pyctr.core.fsutil import Lock
    from pyctr.core.images.model import Image
    from pyctr.core.spec import ContainerSpec, Health


def create(
    engine: Engine,
    spec: ContainerSpec,
    recorder: birth.Recorder,
    *,
    hidden: bool = False,
    image: Image | None = None,
) -> tuple[Container, Lock]:
    """A new container in state created, and its lock, still held.

    `hidden`: a start follows at once and makes it known; if we are killed before that it is cleaned up. `image`: this
    one, which is in no store (a build's), and not the one that the spec names.
    Raises UsageError, ImageNotFound, Conflict (the name), StorageError; then nothing is left of it.
    """
    check(spec)
    with engine.images.adding():  # no layer of the image is collected before the record names it
        return _create(engine, spec, recorder, hidden, image or find_image(engine, spec.image))


def _create(
    engine: Engine, spec: ContainerSpec, recorder: birth.Recorder, hidden: bool, image: Image
) -> tuple[Container, Lock]:
    recorder.step("resolve image", f"{spec.image} → {image.id[:19]}…, {len(image.layers)} layers")
    id = os.urandom(32).hex()
    # everything that can be refused is refused before anything is made
    argv = oci.arguments(spec, image.config)
    spec = with_image_defaults(spec, image)
    oci.config(spec, image.config, id=id, volumes=_dummies(spec, image))
    if spec.name:
        names.check(spec.name)
    paths = engine.paths
    values: list[bytes] = []
    if spec.secrets:
        from pyctr.core import secrets

        values = secrets.values(paths, spec.secrets)
    with pending.Mark(paths, id) as mark, Undo(mark.keep) as undo:
        state = State(
            id=id,
            name=spec.name or names.random(),
            created_at=time.time(),
            spec=spec.to_dict(),
            image_id=image.id,
            image_name=spec.image,
            command=argv,
            group=f"/{paths.cgroup_parent}/{id}",
            desired=CREATING,
        )
        # undone last, when no record has them any more
        undo(_remove_volumes, engine, state.anonymous)
        undo(fsutil.remove_tree, f"{paths.containers}/.new-{id}")
        lock = _make_directory(engine, state)
        undo(lock.release)
        undo(fsutil.remove_tree, paths.container(id))
        _claim(engine, state, spec)
        undo(names.release, paths, state.name, id)
        _make_volumes(engine, state, spec, image)
        state.rootfs = engine.storage.prepare(
            id, image, readonly=spec.readonly_rootfs, throwaway=spec.auto_remove, size=spec.storage_size
        )
        undo(engine.storage.remove, id)
        recorder.step("writable layer", _describe_rootfs(state.rootfs))
        os.mkdir(paths.container(id, "log"), 0o700)
        if values:
            secrets.keep(paths.container(id), values)
        if not hidden:
            state.desired = CREATED
            containers.save_state(paths, state, durable=True)
        container = Container(engine, state)
        container.tell("create")
        recorder.skip()
        return container, lock
    raise AssertionError("unreachable")


def find_image(engine: Engine, text: str) -> Image:
    """The image of a reference or id; the embedded base image is made the first time it is named."""
    from pyctr.core.images import base

    return base.resolve(engine.images, engine.layers, text)


def check(spec: ContainerSpec) -> None:
    """Refuse what contradicts itself, whatever the image. Raises UsageError."""
    policy(spec.restart)
    if spec.auto_remove and policy(spec.restart)[0] != "no":
        raise errors.UsageError(f"--rm conflicts with --restart {spec.restart}", hint="drop one of them")
    if spec.stop_signal:
        signals.number(spec.stop_signal)
    refusals.limits(spec.limits)
    refusals.names(spec)
    oci.security_options(spec.security_opt)
    refusals.ports(spec.ports)
    if spec.ports and (spec.network in ("host", "none") or spec.network.startswith("container:")):
        raise errors.UsageError(
            f"ports cannot be published with --network {spec.network}", hint="use the bridge network, or drop -p"
        )


def policy(text: str) -> tuple[str, int]:
    """ "on-failure:3" -> ("on-failure", 3); 0 means again and again. Raises UsageError."""
    kind, colon, count = (text or "no").partition(":")
    if kind not in ("no", "on-failure", "always", "unless-stopped") or (colon and kind != "on-failure"):
        raise errors.UsageError(f"bad restart policy '{text}'", hint="no, on-failure[:N], always, unless-stopped")
    if colon and not (count.isascii() and count.isdigit()):
        raise errors.UsageError(f"bad number of restarts in '{text}'", hint="like on-failure:5")
    return kind, int(count or 0)


def with_image_defaults(spec: ContainerSpec, image: Image) -> ContainerSpec:
    """The spec with what the image says where the user said nothing: user, stop signal, labels, health check."""
    config = image.config
    changes: dict[str, Any] = {}
    if not spec.user and config.get("User"):
        changes["user"] = config["User"]
    if not spec.stop_signal and config.get("StopSignal"):
        changes["stop_signal"] = config["StopSignal"]
    if config.get("Labels"):
        changes["labels"] = {**config["Labels"], **spec.labels}
    if spec.health is not None or config.get("Healthcheck"):
        changes["health"] = _health(spec.health, config.get("Healthcheck"))
    return spec.replace(**changes) if changes else spec


def image_volumes(spec: ContainerSpec, image_config: dict[str, Any]) -> list[str]:
    """Targets of the image's VOLUMEs that no mount of the spec covers."""
    asked = {os.path.normpath(mount.target) for mount in spec.mounts}
    return [target for target in image_config.get("Volumes") or {} if os.path.normpath(target) not in asked]


def _health(asked: Health | None, probe: Any) -> Health | None:
    """The user's check, field by field on top of the image's HEALTHCHECK (times there are nanoseconds)."""
    from pyctr.core.spec import Health

    probe = probe if isinstance(probe, dict) else {}

    def seconds(key: str) -> float:
        value = probe.get(key)
        return value / 1e9 if isinstance(value, (int, float)) and value > 0 else 0.0

    test, retries = probe.get("Test"), probe.get("Retries")
    found = Health(
        test=[str(word) for word in test] if isinstance(test, list) else [],
        interval=seconds("Interval"),
        timeout=seconds("Timeout"),
        start_period=seconds("StartPeriod"),
        start_interval=seconds("StartInterval"),
        retries=retries if isinstance(retries, int) and retries > 0 else 0,
    )
    if asked is None:
        return found if found.test else None
    given = {name: value for name, value in asked.to_dict().items() if value}
    if not given.get("test") and not found.test:
        raise errors.UsageError(
            "the image has no health check whose times could be changed", hint="give the probe: --health-cmd"
        )
    return found.replace(**given)


def _make_directory(engine: Engine, state: State) -> Lock:
    """containers/<id> with a record and a lock that is held, there at once or not at all."""
    paths = engine.paths
    fresh = f"{paths.containers}/.new-{state.id}"
    try:
        os.mkdir(fresh, 0o700)
    except FileNotFoundError:
        fsutil.make_private_directory(paths.containers)
        os.mkdir(fresh, 0o700)
    lock = fsutil.Lock(f"{fresh}/lock")
    try:
        if not lock.try_acquire():
            raise errors.Conflict(f"somebody else made '{state.id}'")
        lock.path = paths.container(state.id, "lock")
        fsutil.write_json(f"{fresh}/state.json", state.to_dict(), durable=False)
        os.rename(fresh, paths.container(state.id))
    except BaseException:
        lock.release()
        raise
    return lock


def _claim(engine: Engine, state: State, spec: ContainerSpec) -> None:
    """Take the name in the record. It is on disk before it is taken, so that whoever cleans up knows it."""
    for attempt in range(20):
        try:
            names.claim(engine.paths, state.name, state.id)
            return
        except errors.Conflict:
            if spec.name:
                from pyctr.core import repair

                owner = containers.named(engine.paths, spec.name)
                if attempt or owner is None or not repair.finish(engine, owner):
                    raise
            else:
                state.name = names.random(attempt)
                containers.save_state(engine.paths, state)
    raise errors.Conflict("no free name found", hint="give one with --name")


def _make_volumes(engine: Engine, state: State, spec: ContainerSpec, image: Image) -> None:
    """Make or find every volume, fill new ones from the image, and note them in the record."""
    wanted = [mount for mount in spec.mounts if mount.kind == "volume"]
    wanted += [Mount(kind="volume", target=target) for target in image_volumes(spec, image.config)]
    for mount in wanted:
        volume = engine.volumes.ensure(mount.source, mount.labels, mount.driver_opts)
        if not mount.source:
            # on disk before anything else, so that the removal of a half-made container takes it along
            state.anonymous.append(volume.name)
            containers.save_state(engine.paths, state)
        if not mount.nocopy and not mount.subpath:
            engine.volumes.populate(volume, engine.layers.lower(image) or engine.layers.ensure(image), mount.target)
        state.volumes[os.path.normpath(mount.target)] = volume.path


def _remove_volumes(engine: Engine, volumes: list[str]) -> None:
    for name in volumes:
        engine.volumes.remove(name, force=True)


def _dummies(spec: ContainerSpec, image: Image) -> dict[str, str]:
    """Stand-ins for volumes that are not made yet, to check a spec with."""
    targets = [mount.target for mount in spec.mounts if mount.kind == "volume"]
    return {os.path.normpath(target): "/" for target in [*targets, *image_volumes(spec, image.config)]}


def _describe_rootfs(rootfs: dict[str, Any]) -> str:
    stacked = "upper and work made"
    made = {"overlay": stacked, "fuse-overlayfs": stacked, "btrfs": "snapshot taken", "zfs": "snapshot cloned"}
    return made.get(str(rootfs.get("driver")), "layers copied")
