"""What may be done about a sick container of any engine, at once and with a way back.

Ours go through `lifecycle`, which records it; of others only the kernel's files are written, so their engine learns of
it from the kernel if at all, and may be stopped or hung meanwhile. Timed acts touch no record of ours either.
"""

from __future__ import annotations

import os

from pyctr.core import errors, intervention, lifecycle, reverts, signals
from pyctr.core.intervention import FREEZE, LIMITS
from pyctr.core.runtime import oci

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.cgroups.group import Manager
    from pyctr.core.engine import Engine
    from pyctr.core.intervention import Write
    from pyctr.core.reverts import Revert
    from pyctr.core.targets import Target

_KILL = 9


def freeze(engine: Engine, target: Target, after: float = 0.0) -> Revert | None:
    """Stop all its processes where they are; with `after`, thaw them so many seconds later. Raises IllegalTransition
    for one that is frozen, or does not run."""
    if target.ours:
        lifecycle.pause(engine, target.id)
    else:
        manager = target.manager(engine)
        if manager.frozen():
            raise errors.IllegalTransition(f"container '{target.name}' is paused", hint="unpause it first")
        manager.freeze()
        reverts.keep(engine.paths, target.id, FREEZE)
    if not after:
        return None
    try:
        return reverts.schedule(engine.paths, target, FREEZE, [intervention.thaw(target.manager(engine))], after)
    except BaseException:
        thaw(engine, target)
        raise


def thaw(engine: Engine, target: Target) -> None:
    """Raises IllegalTransition for one that is not frozen."""
    if target.ours:
        lifecycle.unpause(engine, target.id)
    else:
        manager = target.manager(engine)
        if not manager.frozen():
            raise errors.IllegalTransition(f"container '{target.name}' is not paused")
        manager.thaw()
        reverts.keep(engine.paths, target.id, FREEZE)


def planned(engine: Engine, target: Target, limits: dict[str, Any]) -> tuple[Write, ...]:
    """The files that limits (fields of `spec.Limits`) change, with what stands there now. Raises as `limit` does."""
    from pyctr.core import refusals
    from pyctr.core.spec import Limits

    unknown = set(limits) - set(Limits().to_dict())
    if unknown:
        raise errors.UsageError(f"'{min(unknown)}' is no limit")
    wanted = Limits(**limits)
    refusals.limits(wanted)
    return intervention.limits(target.manager(engine), oci.resources_of(wanted))


def limit(engine: Engine, target: Target, limits: dict[str, Any], after: float = 0.0) -> tuple[Write, ...]:
    """Change limits, live; what was written. With `after` for so many seconds, without a record of it. An earlier timed
    change is taken back first, so that what stood before it is what comes back. Raises UsageError, Unsupported,
    IllegalTransition, and what the kernel says about a value."""
    if earlier := reverts.pending(engine.paths, target.id, LIMITS):
        reverts.carry_out(engine, earlier)
    if target.ours and not after:
        writes = planned(engine, target, limits) if target.pid else ()
        lifecycle.update(engine, target.id, **limits)
        return writes
    if {"rx_bps", "tx_bps"} & limits.keys():
        raise errors.Unsupported("bandwidth is changed for good only, and of ours", hint="leave --for out")
    writes = planned(engine, target, limits)
    intervention.apply(writes)
    if after:
        back = intervention.back(writes)
        try:
            reverts.schedule(engine.paths, target, LIMITS, back, after)
        except BaseException:
            intervention.apply(back)
            raise
    return writes


def undo(engine: Engine, target: Target, writes: tuple[Write, ...], limits: dict[str, Any] | None = None) -> None:
    """Take a change of limits back: in the kernel, and of ours in its record, which had these `limits` before."""
    intervention.apply(intervention.back(writes))
    if not target.ours or not limits:
        return
    from pyctr.core import containers

    container, lock = containers.locked(engine, target.id)
    try:
        spec = container.spec
        container.state.spec = spec.replace(limits=spec.limits.replace(**limits)).to_dict()
        containers.save_state(engine.paths, container.state, durable=True)
    finally:
        lock.release()
    container.tell("update")


def signal(engine: Engine, target: Target, name: str | int, *, everyone: bool = False) -> None:
    """A signal to its first process, or to each one of its cgroup (SIGKILL by cgroup.kill, which nothing outruns)."""
    number = signals.number(name)
    manager = target.manager(engine)
    if target.ours and (number == _KILL or not everyone):
        # a restart policy must hear who wanted it
        lifecycle.kill(engine, target.id, number, everyone=everyone)
    elif everyone:
        manager.kill(number)
        if target.ours:
            engine.events.record("kill", target.id, target.name, signal=number, all=True)
    else:
        _signal_first(target, manager, number)


def signal_process(engine: Engine, target: Target, pid: int, start_time: int, name: str | int) -> None:
    """A signal to one process of it, as the host counts; `start_time` (clock ticks after boot) tells it from a later
    one of that number. Raises IllegalTransition when it has ended, or is none of the container's."""
    number = signals.number(name)
    if target.ours and pid == target.pid:
        lifecycle.kill(engine, target.id, number)  # a restart policy must hear who wanted it
        return
    gone = errors.IllegalTransition(f"process {pid} of container '{target.name}' has ended")
    _signal(pid, target.manager(engine), number, gone, start_time, engine.paths.proc)
    if target.ours:
        engine.events.record("kill", target.id, target.name, signal=number, pid=pid)


def _signal_first(target: Target, manager: Manager, number: int) -> None:
    _signal(target.pid, manager, number, errors.IllegalTransition(f"container '{target.name}' ended just now"))


def _signal(
    pid: int, manager: Manager, number: int, ended: errors.PyctrError, start_time: int = 0, proc: str = "/proc"
) -> None:
    from pyctr.core.linux import namespaces, procfs

    try:
        fd = namespaces.pidfd_open(pid)
    except ProcessLookupError:
        raise ended from None
    try:
        # a pidfd first: from here on the number cannot become another process's
        if pid not in manager.pids() or (start_time and not procfs.alive(pid, start_time, proc)):
            raise ended
        namespaces.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        raise ended from None
    finally:
        os.close(fd)
