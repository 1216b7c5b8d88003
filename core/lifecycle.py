"""The verbs. Each takes the engine and a container, or its name, id or id prefix; `state.ALLOWED` says when it may.

create   ── creation                    stop, kill      ── here
start    ── starting ── runtime         pause, unpause  ── here, cgroups
run      = create + start, one lock     remove          ── removal
restart  = stop + start                 half-done ones  ── repair
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports enum
import os
import time

from pyctr.core import birth, containers, creation, errors, fsutil, names, pending, refusals, signals, starting
from pyctr.core.containers import Container
from pyctr.core.runtime import defaults, oci
from pyctr.core.state import ALLOWED, DEAD, PAUSED, RESTARTING, RUNNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.core.engine import Engine
    from pyctr.core.runtime.launch import Launched, Spawn
    from pyctr.core.runtime.plan import Plan
    from pyctr.core.spec import ContainerSpec
    from pyctr.core.state import Exit

_SHIM_PATIENCE = 10.0
"""Seconds a shim gets to write an exit code after its container's last process died."""


def create(engine: Engine, spec: ContainerSpec) -> Container:
    """A new container; nothing runs. Raises UsageError, ImageNotFound, Conflict (name taken), StorageError."""
    _sweep(engine)
    container, lock = creation.create(engine, spec, birth.Recorder())
    lock.release()
    return container


def start(
    engine: Engine,
    ref: Container | str,
    *,
    attach: bool = False,
    spawn: Spawn | None = None,
    winsize: tuple[int, int] | None = None,
) -> Launched:
    """Run its command. Raises IllegalTransition, CommandNotFound, CannotInvoke, RuntimeFailure, Conflict (a port)."""
    _sweep(engine)
    container = _find(engine, ref)
    _permit("start", container)
    _let_shim_go(container)
    container, lock = containers.locked(engine, container)
    try:
        _permit("start", container)
        return starting.start(container, lock, birth.Recorder(), attach=attach, spawn=spawn, size=winsize)
    finally:
        lock.release()


def run(
    engine: Engine,
    spec: ContainerSpec,
    *,
    attach: bool = False,
    spawn: Spawn | None = None,
    winsize: tuple[int, int] | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> tuple[Container, Launched]:
    """create and start in one go. A container whose first start fails stays as created, one with auto_remove goes.

    `meanwhile` is called while the shim works.
    """
    _sweep(engine)
    recorder = birth.Recorder()
    container, lock = creation.create(engine, spec, recorder, hidden=True)
    try:
        try:
            launched = starting.start(
                container, lock, recorder, attach=attach, spawn=spawn, size=winsize, meanwhile=meanwhile
            )
            return container, launched
        except BaseException:
            if spec.auto_remove:
                from pyctr.core import removal

                removal.remove_idle(container, volumes=True)
            raise
    finally:
        lock.release()


def plan(engine: Engine, spec: ContainerSpec) -> Plan:
    """What `run` would do, step by step. Makes and changes nothing."""
    from pyctr.core.dryrun import plan as dry

    return dry(engine, spec)


def stop(engine: Engine, ref: Container | str, timeout: float | None = None, signal: str = "") -> None:
    """The stop signal, and SIGKILL for everything in the cgroup after `timeout` seconds. Works on paused ones.

    An empty `signal` and a timeout of None are the container's own, SIGTERM and 10 s by default; a negative timeout
    waits for ever. Stopping what has stopped is fine, as in Docker.
    """
    container = _find(engine, ref)
    if _idle(container):
        return
    _permit("stop", container)
    spec = container.spec
    if timeout is None:
        timeout = spec.stop_timeout if spec.stop_timeout is not None else defaults.STOP_TIMEOUT
    number = signals.number(signal or spec.stop_signal or defaults.STOP_SIGNAL)
    _want(container, "stopped")
    process = container.state.process
    if _signal_init(container, number):
        _thaw(container)
        from pyctr.core.waiting import gone

        if not gone(process, engine.paths, None if timeout < 0 else timeout):
            engine.group(container.state.group).kill()
    _ended(container)
    container.tell("stop")


def kill(engine: Engine, ref: Container | str, signal: str | int = "KILL", *, everyone: bool = False) -> None:
    """Send a signal to PID 1 of the container. A restart policy does not bring back what SIGKILL ended; with `everyone`
    that goes to all of its cgroup, by cgroup.kill where the kernel has it."""
    number = signals.number(signal)
    container = _find(engine, ref)
    _permit("kill", container)
    if number == _signal.SIGKILL:
        _want(container, "stopped")
    if everyone and number == _signal.SIGKILL:
        engine.group(container.state.group).kill()
    elif not _signal_init(container, number):
        raise errors.IllegalTransition(f"container '{container.name}' ended just now")
    if number == _signal.SIGKILL:
        _thaw(container)
    container.tell("kill", signal=number)
    if number == _signal.SIGKILL:
        _ended(container)


def pause(engine: Engine, ref: Container | str) -> None:
    """Freeze every process of the container where it is."""
    _freeze(engine, ref, "pause")


def unpause(engine: Engine, ref: Container | str) -> None:
    """Let a paused container go on."""
    _freeze(engine, ref, "unpause")


def _freeze(engine: Engine, ref: Container | str, verb: str) -> None:
    container, lock = containers.locked(engine, ref)
    try:
        _permit(verb, container)
        group = engine.group(container.state.group)
        try:
            (group.freeze if verb == "pause" else group.thaw)()
        except (OSError, errors.PyctrError) as error:
            if container.alive:
                raise
            raise errors.IllegalTransition(f"container '{container.name}' ended just now") from error
    finally:
        lock.release()
    from pyctr.core import reverts

    # what was to thaw it by itself was about an earlier freeze, whoever did this one
    reverts.keep(engine.paths, container.id, "freeze")
    container.tell(verb)


def restart(engine: Engine, ref: Container | str, timeout: float | None = None, signal: str = "") -> Launched:
    """Stop it if it runs, start it again. Its restart policy stays in force."""
    container = _find(engine, ref)
    _permit("restart", container)
    auto_remove = container.spec.auto_remove
    if not _idle(container):
        if auto_remove:
            raise errors.IllegalTransition(
                f"container '{container.name}' was made with --rm and would be gone after the stop",
                hint="run it anew instead",
            )
        stop(engine, container, timeout, signal)
    launched = start(engine, container)
    container.tell("restart")
    return launched


def rename(engine: Engine, ref: Container | str, new: str) -> None:
    """Give it another name. Raises Conflict when somebody has it."""
    container, lock = containers.locked(engine, ref)
    try:
        _permit("rename", container)
        old = container.name
        if old == new:
            raise errors.UsageError(f"container '{old}' has that name already", hint="choose another")
        names.claim(engine.paths, new, container.id)
        try:
            container.state.name = new
            containers.save_state(engine.paths, container.state, durable=True)
        except BaseException:
            names.release(engine.paths, new, container.id)
            raise
        names.release(engine.paths, old, container.id)
        engine.networks.rename(container.id, new)
    finally:
        lock.release()
    container.tell("rename", oldName=old)


def update(engine: Engine, ref: Container | str, **limits: Any) -> None:
    """Change limits (fields of `Limits`) and `restart`, live if it runs. Raises UsageError, PyctrError naming the file.

    What the kernel refuses is not recorded.
    """
    container, lock = containers.locked(engine, ref)
    try:
        _permit("update", container)
        spec = container.spec
        policy = limits.pop("restart", None)
        if policy is not None:
            creation.policy(policy)
        unknown = set(limits) - set(spec.limits.to_dict())
        if unknown:
            raise errors.UsageError(f"'{min(unknown)}' is no limit")
        wanted = spec.limits.replace(**limits)
        refusals.limits(wanted)
        resources = oci.resources_of(wanted)
        if limits and container.running:
            try:
                engine.group(container.state.group).update(resources)
                if {"rx_bps", "tx_bps", "net_class"}.intersection(limits):
                    from pyctr.core import bandwidth

                    bandwidth.change(container, wanted)
            except OSError as error:
                raise errors.from_oserror(error, f"updating container '{container.name}'") from error
        container.state.spec = spec.replace(limits=wanted, restart=policy or spec.restart).to_dict()
        containers.save_state(engine.paths, container.state, durable=True)
    finally:
        lock.release()
    container.tell("update", **limits)


def wait(engine: Engine, ref: Container | str) -> int:
    """Wait until it has ended; the exit code, 255 if nobody knows it. At once for one that does not run."""
    from pyctr.core import repair
    from pyctr.core.waiting import gone, recorded

    container = _find(engine, ref)
    process = container.state.process
    if process is None or container.status not in (RUNNING, PAUSED):
        return container.state.exit.code if container.state.exit else 255 if process else 0
    state = recorded(container, process)
    if state is None:
        gone(process, engine.paths)
        try:
            repair.finish(engine, container.id)
            state = container.reload().state
        except errors.NotFound:
            return exit_code_from_journal(engine, container.id)
    return state.exit.code if state.exit else 255


def remove(engine: Engine, ref: Container | str, force: bool = False, volumes: bool = False) -> None:
    """Remove it without a trace; with `force` kill it first, with `volumes` its anonymous volumes, too.

    A removal that failed half-way leaves it dead and may be asked for again. Raises IllegalTransition, NotFound.
    """
    from pyctr.core import removal

    container = _find(engine, ref)
    if not container.state.removing:
        _permit("remove --force" if force else "remove", container)
    killed = False
    while True:
        try:
            if _idle(container):
                _let_shim_go(container)
            else:
                _want(container, "removing")
                engine.group(container.state.group).kill()
                killed = True
                _ended(container)
            container, lock = containers.locked(engine, container)
        except errors.NotFound:
            if killed:
                return  # made with --rm: its shim was faster
            raise
        try:
            if _idle(container):
                removal.remove_idle(container, volumes=volumes or container.spec.auto_remove)
                return
            # somebody started it just now
            _permit("remove --force" if force else "remove", container)
        finally:
            lock.release()


def conclude(engine: Engine, container: Container, launched: Launched) -> None:
    """What follows the end a foreground client has seen: a --rm container goes.

    The client does it, because its interpreter is warm; the shim has it done when no client says that it will.
    """
    from pyctr.core import removal
    from pyctr.core.waiting import pid_gone

    if container.spec.auto_remove:
        try:
            _, lock = containers.locked(engine, container)
        except errors.NotFound:
            return  # a `rm -f` was faster
        try:
            with pending.Mark(engine.paths, container.id):
                launched.take_cleanup()
                removal.remove_marked(container, volumes=True)
        finally:
            lock.release()
    launched.close()
    # nothing of the container is left when we return
    pid_gone(launched.shim_pid, launched.shim_start_time, engine.paths, _SHIM_PATIENCE)


def _sweep(engine: Engine) -> None:
    """Finish what killed pyctrs left half-done; usually that is nothing."""
    if pending.ids(engine.paths):
        from pyctr.core import repair

        repair.sweep(engine)


def permitted(engine: Engine, verb: str, ref: Container | str) -> Container:
    """The container, if it is in a state for `verb`. Raises NotFound, IllegalTransition."""
    container = _find(engine, ref)
    _permit(verb, container)
    return container


def _find(engine: Engine, ref: Container | str) -> Container:
    return ref.reload() if isinstance(ref, Container) else containers.find(engine, ref)


def _permit(verb: str, container: Container) -> None:
    status = container.status
    if status in ALLOWED[verb]:
        return
    name = container.name
    hints = {
        ("start", RUNNING): f"'pyctr restart {name}' starts it anew",
        ("start", PAUSED): f"'pyctr unpause {name}' lets it go on",
        ("pause", PAUSED): f"'pyctr unpause {name}' lets it go on",
        ("unpause", RUNNING): f"'pyctr pause {name}' freezes it",
        ("remove", RUNNING): f"'pyctr stop {name}' first, or 'pyctr rm -f {name}'",
        ("remove", PAUSED): f"'pyctr stop {name}' first, or 'pyctr rm -f {name}'",
        ("remove", RESTARTING): f"'pyctr stop {name}' first, or 'pyctr rm -f {name}'",
        ("exec", PAUSED): f"'pyctr unpause {name}' first",
        ("attach", PAUSED): f"'pyctr unpause {name}' first",
    }
    hint = hints.get((verb, status), f"'pyctr rm {name}' finishes its removal" if status == DEAD else "")
    if not hint and RUNNING in ALLOWED[verb] and status not in (RUNNING, PAUSED):
        hint = f"'pyctr start {name}' first"
    raise errors.IllegalTransition(f"cannot {verb.split()[0]} container '{name}': it is {status}", hint=hint)


def _idle(container: Container) -> bool:
    return container.status not in (RUNNING, PAUSED, RESTARTING)


def _want(container: Container, desired: str) -> None:
    """Record the user's word, so that the shim does not restart what is about to end."""
    with fsutil.Lock(container.path("lock")):
        container.reload()
        container.state.desired = desired
        containers.save_state(container.engine.paths, container.state)


def _signal_init(container: Container, number: int) -> bool:
    """Send a signal through a pidfd; False when PID 1 is gone."""
    from pyctr.core.waiting import handle

    fd = handle(container.state.process, container.engine.paths)
    if fd < 0:
        return False
    try:
        _signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True


def _thaw(container: Container) -> None:
    """A frozen process handles its signals only when it runs again."""
    group = container.engine.group(container.state.group)
    if group.frozen():
        group.thaw()


def _ended(container: Container) -> Exit | None:
    """Wait until the end of the current incarnation is on record and nothing of it runs any more."""
    from pyctr.core import repair
    from pyctr.core.waiting import gone

    engine, process = container.engine, container.state.process
    if process is None:
        return container.state.exit
    _tell_shim(container)
    gone(process, engine.paths, _SHIM_PATIENCE)
    if not gone(process, engine.paths, _SHIM_PATIENCE, shim=True):
        _kill_shim(container)
    try:
        repair.finish(engine, container.id)
        return container.reload().state.exit
    except errors.NotFound:
        return None  # --rm: its shim has removed it


def _let_shim_go(container: Container) -> None:
    """Let the shim of an ended incarnation tidy up (its cgroup, its socket) before somebody starts or removes anew."""
    from pyctr.core.waiting import gone

    process = container.state.process
    if process is not None and process.shim_pid != os.getpid():
        gone(process, container.engine.paths, _SHIM_PATIENCE, shim=True)


def _tell_shim(container: Container) -> None:
    """Wake a shim that waits out its back-off; what it reads then is `desired`."""
    if not container.state.restarting:
        return
    from pyctr.core.runtime import attach

    try:
        connection = attach.connect(container.engine.paths, container.id)
    except errors.IllegalTransition:
        return  # it is ending anyway
    try:
        connection.stop_restarting()
    finally:
        connection.close()


def _kill_shim(container: Container) -> None:
    from pyctr.core.waiting import handle, readable

    fd = handle(container.state.process, container.engine.paths, shim=True)
    if fd >= 0:
        try:
            _signal.pidfd_send_signal(fd, _signal.SIGKILL)
            readable([fd], _SHIM_PATIENCE)
        finally:
            os.close(fd)


def exit_code_from_journal(engine: Engine, id: str) -> int:
    """How a --rm container ended that is gone by the time somebody asks."""
    since = time.time_ns() - 3600 * 10**9
    code = 0
    for event in engine.events.read(since, filters={"event": ["die"], "container": [id]}):
        code = int(event.attributes.get("exitCode") or 0)
    return code
