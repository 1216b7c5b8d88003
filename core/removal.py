"""Removing a container so that nothing of it is left, and so that a removal cut short can be finished."""

from __future__ import annotations

import os

from pyctr.core import containers, errors, fsutil, names, pending
from pyctr.core.state import CREATING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.containers import Container


def remove_idle(container: Container, *, volumes: bool) -> None:
    """Remove a container nothing of which runs any more. The caller holds its lock.

    The record goes last: until then a failure leaves a container in state dead whose removal can be asked for again.
    Raises PyctrError naming what could not be removed.
    """
    with pending.Mark(container.engine.paths, container.id):
        remove_marked(container, volumes=volumes)


def remove_marked(container: Container, *, volumes: bool) -> None:
    """`remove_idle` for who has made the mark in `pending` already."""
    engine, state, paths = container.engine, container.state, container.engine.paths
    was = state.desired
    state.removing = True
    state.desired = "removing"
    if not container.spec.auto_remove or state.anonymous:
        # a --rm container is known to be doomed anyway; its volumes go only when their user is known to go
        containers.save_state(paths, state)
    doing = "stopping its last processes"
    try:
        if engine.has_group(state.group):
            group = engine.group(state.group)
            group.kill()
            group.remove()
        doing = "releasing its network"
        # not what the record says: a start that failed took that back, and keeps its address for the next one
        if os.path.exists(f"{paths.run}/networks/ids/{container.id}"):
            engine.networks.release(container.id)
        doing = "removing its runtime directory"
        fsutil.remove_tree(paths.runtime(container.id))
        doing = "removing its writable layer"
        engine.storage.remove(container.id)
        doing = "removing its volumes"
        for name in state.anonymous if volumes else ():
            try:
                engine.volumes.remove(name)
            except (errors.NotFound, errors.Conflict):
                continue  # removed by hand, or mounted by another container meanwhile
        doing = "removing its files"
        names.release(paths, state.name, container.id)
        gone = f"{paths.containers}/.gone-{container.id}"
        os.rename(container.path(), gone)
        fsutil.remove_tree(gone)
    except OSError as error:
        try:
            containers.save_state(paths, state)
        except OSError:
            pass  # the disk is what failed; the mark in `pending` tells the next pyctr
        raise errors.from_oserror(
            error, f"container '{container.name}' is only half removed: {doing}", hint="try 'pyctr rm' again"
        ) from error
    if was != CREATING:
        container.tell("destroy")
