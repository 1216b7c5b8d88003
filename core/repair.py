"""Finding and finishing what a killed pyctr, a killed shim or a reboot left half-done.

Every verb in flight has a mark in `pending`; `sweep` looks only there and costs nothing when nobody was killed.
`reconcile` looks at every container.
"""

from __future__ import annotations

import os
import time

from pyctr.core import containers, errors, fsutil, pending, storageprobe
from pyctr.core.state import CREATING, Exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.engine import Engine
    from pyctr.core.state import State


def sweep(engine: Engine) -> list[str]:
    """Finish what marks tell of; ids that were worked on. Verbs that are still running are left alone."""
    done = []
    for id in pending.ids(engine.paths):
        mark = pending.Mark(engine.paths, id)
        if mark.take_over():
            mark.let_go()
            if finish(engine, id):
                done.append(id)
    return done


def reconcile(engine: Engine) -> list[str]:
    """`sweep`, and look at every container: lost exits are recorded, leases without a container released."""
    done = sweep(engine)
    paths = engine.paths
    try:
        names = os.listdir(paths.containers)
    except FileNotFoundError:
        names = []
    storageprobe.sweep(paths, names)
    for name in names:
        id = name.removeprefix(".new-").removeprefix(".gone-")
        if (name == id and name[0] != "." and finish(engine, id)) or (name != id and _without_record(engine, id)):
            done.append(id)
    if os.path.isdir(f"{paths.run}/networks"):
        done += engine.networks.collect()
    return done


def finish(engine: Engine, id: str) -> bool:
    """Bring one container to a state that every verb understands; whether there was anything to do."""
    paths = engine.paths
    lock = fsutil.Lock(paths.container(id, "lock"))
    try:
        if not lock.try_acquire():
            return False  # somebody is at work on it right now
    except FileNotFoundError:
        return _without_record(engine, id)
    try:
        try:
            state = containers.load_state(paths, id)
        except errors.NotFound:
            return False
        container = containers.Container(engine, state)
        if state.desired == CREATING or state.removing or _forgotten(container):
            from pyctr.core import removal

            removal.remove_idle(container, volumes=state.desired == CREATING or container.spec.auto_remove)
            return True
        worked = record_lost_exit(engine, state) or _left_behind(container)
        pending.forget(paths, id)
        return worked
    finally:
        lock.release()


def record_lost_exit(engine: Engine, state: State) -> bool:
    """If a recorded process and its shim are gone without an exit, say so in the record and clean up after them."""
    from pyctr.core.waiting import ended

    process = state.process
    if process is None or ended(state, process) or containers.is_alive(process, engine.paths):
        return False
    if containers.is_alive(process, engine.paths, shim=True):
        return False
    container = containers.Container(engine, state)
    state.exit = lost(container)
    state.exit.finished_at = time.time()
    reason = state.exit.error
    state.restarting = False
    remains(engine, state)
    containers.save_state(engine.paths, state)
    container.tell("die", exitCode=state.exit.code, error=reason)
    return True


def lost(container: containers.Container) -> Exit:
    """How an incarnation ended that nobody saw end; when is not known either."""
    process = container.state.process
    rebooted = process is not None and process.boot_id != _boot_id(container.engine)
    reason = "the host was restarted" if rebooted else "its shim was killed, the exit code is unknown"
    return Exit(code=255, error=reason, lost=True)


def remains(engine: Engine, state: State) -> None:
    """Remove what an incarnation without a shim left: processes, cgroup, published ports, its socket."""
    if engine.has_group(state.group):
        group = engine.group(state.group)
        group.kill()
        group.remove()
    if state.network.get("ports"):
        engine.networks.unpublish(state.network)
    fsutil.remove_tree(engine.paths.runtime(state.id))


def _forgotten(container: containers.Container) -> bool:
    """A --rm container whose start was cut off, or that ended while neither client nor shim could remove it."""
    state = container.state
    if not container.spec.auto_remove:
        return False
    if state.process is None:
        return state.desired == "running"
    return not container.alive and not container.shim_alive


def _left_behind(container: containers.Container) -> bool:
    """What a shim left that was killed after it had put the end on record."""
    if container.alive or container.shim_alive or not os.path.exists(container.engine.paths.runtime(container.id)):
        return False
    remains(container.engine, container.state)
    return True


def _without_record(engine: Engine, id: str) -> bool:
    """A mark or a directory of a container that was never made, or is already gone."""
    mark = pending.Mark(engine.paths, id)
    if not mark.take_over():
        return False  # its maker is at work: it marks before it makes anything
    fsutil.remove_tree(f"{engine.paths.containers}/.new-{id}")
    fsutil.remove_tree(f"{engine.paths.containers}/.gone-{id}")
    mark.done()
    return True


def _boot_id(engine: Engine) -> str:
    from pyctr.core.linux import procfs

    return procfs.boot_id(engine.paths.proc)
