"""Containers on disk: reading their records, finding one by what a user typed, and their status right now."""

from __future__ import annotations

import os

from pyctr.core import errors, fsutil
from pyctr.core.spec import ContainerSpec
from pyctr.core.state import CREATING, PAUSED, RUNNING, Process, State, derive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.engine import Engine
    from pyctr.core.paths import Paths

_HEX = frozenset("0123456789abcdef")


class Container:
    """One container: its record as read, and questions to the kernel about it."""

    def __init__(self, engine: Engine, state: State) -> None:
        self.engine = engine
        self.state = state
        self._spec: ContainerSpec | None = None

    @property
    def id(self) -> str:
        return self.state.id

    @property
    def short_id(self) -> str:
        return self.state.id[:12]

    @property
    def name(self) -> str:
        return self.state.name

    @property
    def spec(self) -> ContainerSpec:
        if self._spec is None:
            self._spec = ContainerSpec.from_dict(self.state.spec)
        return self._spec

    @property
    def alive(self) -> bool:
        """Whether PID 1 of the container runs; a zombie does not."""
        return is_alive(self.state.process, self.engine.paths)

    @property
    def shim_alive(self) -> bool:
        return is_alive(self.state.process, self.engine.paths, shim=True)

    @property
    def pid(self) -> int:
        """PID 1 of the container as the host sees it; 0 when nothing runs."""
        process = self.state.process
        return process.pid if process is not None and self.alive else 0

    @property
    def status(self) -> str:
        """created, running, paused, restarting, stopped or dead: derived from the kernel at every call."""
        alive = self.alive
        return derive(
            self.state,
            alive=alive,
            shim_alive=not alive and (self.state.restarting or self.state.exit is None) and self.shim_alive,
            frozen=alive and self.frozen,
        )

    @property
    def frozen(self) -> bool:
        try:
            return bool(self.engine.group(self.state.group).frozen())
        except OSError:
            return False  # the cgroup went while we looked

    @property
    def running(self) -> bool:
        return self.status in (RUNNING, PAUSED)

    def path(self, *more: str) -> str:
        """A path in the container's directory."""
        return self.engine.paths.container(self.id, *more)

    @property
    def log_path(self) -> str:
        return self.path("log", "ctr.log")

    def reload(self) -> Container:
        """Read the record again. Raises NotFound when the container is gone."""
        self.state = load_state(self.engine.paths, self.id)
        self._spec = None
        return self

    def tell(self, action: str, **attributes: Any) -> None:
        """Into the journal, with what filters look for."""
        labels, image = self.spec.labels, self.state.image_name
        self.engine.events.record(action, self.id, self.name, labels=labels, image=image, **attributes)

    def __repr__(self) -> str:
        return f"<Container {self.name} {self.short_id}>"


def is_alive(process: Process | None, paths: Paths, *, shim: bool = False) -> bool:
    """Whether a recorded process is still the one it was: pid, start time and boot all agree."""
    from pyctr.core.linux import procfs

    if process is None or process.boot_id != procfs.boot_id(paths.proc):
        return False
    if shim:
        return procfs.alive(process.shim_pid, process.shim_start_time, paths.proc)
    return procfs.alive(process.pid, process.start_time, paths.proc)


def load_state(paths: Paths, id: str) -> State:
    """The record of a full id. Raises NotFound, StorageError."""
    path = paths.container(id, "state.json")
    try:
        return State.from_dict(fsutil.read_json(path))
    except (FileNotFoundError, NotADirectoryError):
        raise errors.NotFound(f"no container '{id}'") from None
    except ValueError as error:
        raise errors.StorageError(f"the record of container '{id[:12]}' cannot be read: {error}") from error


def save_state(paths: Paths, state: State, *, durable: bool = False) -> None:
    """Write the record. The caller holds the container's lock.

    Not fsynced by default: the rename already survives the death of any process, and what a power cut would
    undo (a start, a stop) it undoes in the kernel, too. Of a --rm container nothing need survive a power cut.
    """
    throwaway = bool(state.spec.get("auto_remove"))
    path = paths.container(state.id, "state.json")
    durable = durable and not throwaway
    fsutil.write_json(path, state.to_dict(), durable=durable, throwaway=throwaway, in_place=True)


def all(engine: Engine) -> list[Container]:
    """Every container, newest first, without those that are just being made. Unreadable records: see `broken`."""
    found = []
    for id in ids(engine.paths):
        try:
            state = load_state(engine.paths, id)
        except (errors.NotFound, errors.StorageError):
            continue  # removed since the directory was listed; one bad record must not hide all others
        if state.desired != CREATING:
            found.append(Container(engine, state))
    found.sort(key=lambda container: container.state.created_at, reverse=True)
    return found


def broken(engine: Engine) -> list[errors.StorageError]:
    """What is wrong with records that cannot be read."""
    found = []
    for id in ids(engine.paths):
        try:
            load_state(engine.paths, id)
        except errors.StorageError as error:
            found.append(error)
        except errors.NotFound:
            continue
    return found


def reconcile(engine: Engine) -> list[str]:
    """Finish what killed clients and shims left half-done, everywhere; ids that needed it."""
    from pyctr.core import repair

    return repair.reconcile(engine)


def ids(paths: Paths) -> list[str]:
    """Full ids of everything below containers/; names with a dot in front are work in progress."""
    try:
        return [name for name in os.listdir(paths.containers) if name[0] != "."]
    except FileNotFoundError:
        return []


def find(engine: Engine, ref: str) -> Container:
    """The container with this exact name, else this id, else the only one whose id begins so.

    Raises NotFound (its hint names near ones) and Ambiguous (its hint lists the candidates).
    """
    ref = ref.removeprefix("/")
    id = named(engine.paths, ref)
    if id is None and ref and set(ref) <= _HEX:
        candidates = [name for name in ids(engine.paths) if name.startswith(ref)]
        if ref in candidates:
            candidates = [ref]
        if len(candidates) > 1:
            shown = ", ".join(sorted(name[:12] for name in candidates)[:8])
            raise errors.Ambiguous(f"'{ref}' fits {len(candidates)} containers", hint=f"say more of one of: {shown}")
        id = candidates[0] if candidates else None
    if id is not None:
        try:
            state = load_state(engine.paths, id)
            if state.desired != CREATING:
                return Container(engine, state)
        except errors.NotFound:
            pass  # removed meanwhile
    raise errors.NotFound(f"no container '{ref}'", hint=_near(engine.paths, ref))


def locked(engine: Engine, ref: Container | str) -> tuple[Container, fsutil.Lock]:
    """The container and its lock, held; its record as of now. Raises NotFound."""
    container = ref.reload() if isinstance(ref, Container) else find(engine, ref)
    lock = fsutil.Lock(container.path("lock"))
    try:
        lock.__enter__()
        container.reload()
    except (FileNotFoundError, errors.NotFound):
        lock.release()
        raise errors.NotFound(f"container '{container.name}' was removed meanwhile") from None
    return container, lock


def named(paths: Paths, name: str) -> str | None:
    """The id that a name belongs to."""
    if not name or "/" in name or name in (".", ".."):
        return None
    try:
        return os.readlink(f"{paths.names}/{name}")
    except OSError:
        return None


def _near(paths: Paths, ref: str) -> str:
    from pyctr.core.near import near

    try:
        names = os.listdir(paths.names)
    except FileNotFoundError:
        names = []
    meant = near(ref, names) or [name for name in names if ref and ref in name][:3]
    if meant:
        return f"did you mean {' or '.join(sorted(meant))}?"
    return "'pyctr ps -a' lists all containers" if names else "there are no containers yet" + _of_yours()


def _of_yours() -> str:
    return "" if os.geteuid() == 0 else " of yours; root's are reached with sudo"
