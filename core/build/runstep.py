"""RUN: one command in a container of our own runtime, isolated like any other, and what it wrote as a layer.

The container is bound to this process: when the build goes, for whatever reason, its shim kills and removes it.
"""

from __future__ import annotations

import marshal
import os
import select

from pyctr.core import birth, creation, fsutil, pending, removal, starting
from pyctr.core.build import rootfs
from pyctr.core.build.progress import Cancelled
from pyctr.core.images.model import Image
from pyctr.core.runtime import sync
from pyctr.core.spec import ContainerSpec
from pyctr.core.storage import STACKED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyctr.core.build.mounts import Mounts
    from pyctr.core.build.progress import Stop
    from pyctr.core.build.state import Layer, State
    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.core.fsutil import Lock
    from pyctr.core.runtime.launch import Launched

_PATIENCE = 15.0
"""Seconds that a shim gets to kill and remove a container whose build was stopped."""
_MEMBERS = ("Env", "User", "WorkingDir", "Shell")
"""What of an image's configuration RUN goes by: no VOLUME (what RUN writes there stays), no health check."""


class ExitedWith(Exception):
    """The command ended with this code."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(reason or f"exit code {code}")
        self.code = code


def run(
    engine: Engine,
    state: State,
    argv: list[str],
    *,
    env: list[str],
    network: str,
    mounts: Mounts,
    output: Callable[[bytes], None],
    stop: Stop,
    latest: int | None,
    add_hosts: list[str],
) -> Layer:
    """Run `argv` in the stage's files as they are; the layer of what it changed.

    Raises ExitedWith, Cancelled, RuntimeFailure and its kind (nothing to execute), StorageError; nothing stays then.
    """
    image = state.image()
    config = {name: state.config[name] for name in _MEMBERS if name in state.config}
    image = Image.from_dict({**image.to_dict(), "config": config})
    spec = ContainerSpec(
        image="build",
        name=f"build-{os.urandom(4).hex()}",
        command=argv,
        entrypoint=[],
        env=env,
        workdir=state.config.get("WorkingDir") or "",
        auto_remove=True,
        network=network,
        mounts=mounts.specs,
        add_hosts=add_hosts,
    )
    recorder = birth.Recorder()
    container, lock = creation.create(engine, spec, recorder, hidden=True, image=image)
    try:
        mounts.remember(container.state.rootfs or {})
        try:
            launched = starting.start(container, lock, recorder, attach=True, bound_to=config)
        except BaseException:
            removal.remove_idle(container, volumes=True)
            raise
        mounts.started()
    finally:
        lock.release()
    try:
        code, oom = _watch(launched, output, stop)
    except BaseException:
        _abandon(engine, launched)
        raise
    return _conclude(engine, container, launched, code, oom, mounts, latest)


def _watch(launched: Launched, output: Callable[[bytes], None], stop: Stop) -> tuple[int, bool]:
    """Its output until it ends: (exit code, killed for want of memory). Raises Cancelled."""
    poller = select.poll()
    poller.register(launched.channel, select.POLLIN)
    poller.register(stop.fd, select.POLLIN)
    while True:
        if not launched.channel.pending() and any(fd == stop.fd for fd, _ in poller.poll()):
            raise Cancelled
        for kind, payload in launched.channel.read():
            if kind in (sync.STDOUT, sync.STDERR):
                output(payload)
            elif kind == sync.EXITED:
                end = marshal.loads(payload)
                return int(end["code"]), bool(end.get("oom_killed"))


def _abandon(engine: Engine, launched: Launched) -> None:
    """Our end of the connection is what keeps it alive."""
    from pyctr.core.waiting import pid_gone

    launched.close()
    pid_gone(launched.shim_pid, launched.shim_start_time, engine.paths, _PATIENCE)


def _conclude(
    engine: Engine, container: Container, launched: Launched, code: int, oom: bool, mounts: Mounts, latest: int | None
) -> Layer:
    from pyctr.core.waiting import pid_gone

    with _locked(container), pending.Mark(engine.paths, container.id):
        launched.take_cleanup()
        try:
            if code:
                raise ExitedWith(code, f"exit code {code}: out of memory" if oom else "")
            return _layer(engine, container, mounts, latest)
        finally:
            removal.remove_marked(container.reload(), volumes=True)
            launched.close()
            pid_gone(launched.shim_pid, launched.shim_start_time, engine.paths, _PATIENCE)


def _locked(container: Container) -> Lock:
    return fsutil.Lock(container.path("lock"))


def _layer(engine: Engine, container: Container, mounts: Mounts, latest: int | None) -> Layer:
    made = container.state.rootfs or {}
    if made.get("driver") in STACKED:
        mounts.clean(made["upper"])
        return rootfs.of_upper(engine.images.blobs, made["upper"], latest)
    with engine.storage.whole(container.id) as tree:
        mounts.clean(tree)
        return rootfs.of_tree(engine.images.blobs, tree, lambda: engine.storage.changes(container.id), latest)
