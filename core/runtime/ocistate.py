"""Containers of `pyctr-runtime`: one directory each below its root, and their state (runtime.md, "State").

    <root>/<id>/    lock  state.json  process.marshal  exec.fifo said.fifo (until started)  plain started (see `plain`)

Nothing of ours runs beside such a container. Its status is what the kernel says: whether the recorded process lives
(pid, start time and boot id), whether an init waits at the gate, whether the group is frozen.
"""

from __future__ import annotations

import marshal
import os

from pyctr.core import errors, fsutil
from pyctr.core.fsutil import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.cgroups.group import Manager

VERSION = "1.2.0"
"""Of the runtime-spec."""

CREATING, CREATED, RUNNING, PAUSED, STOPPED = "creating", "created", "running", "paused", "stopped"


_KEPT: dict[str, type] = {
    "bundle": str,
    "rootfs": str,
    "created": str,
    "owner": str,
    "version": str,
    "group": str,
    "cgroup_root": str,
    "boot_id": str,
    "own": list,
}
"""What every record has."""

_PLACE = ("group", "scope", "cgroup_root")
"""Where its cgroup is."""


class Damaged(errors.RuntimeFailure):
    """What is kept of a container is not what we wrote."""


def _is(document: Any, key: str, kind: type) -> bool:
    if not isinstance(document, dict) or not isinstance(document.get(key), kind):
        return False
    # the root of a hierarchy is everybody's, and would be killed with it
    return key != "group" or not {"", ".", ".."}.intersection(document[key].strip("/").split("/"))


class Root:
    """The containers below one root."""

    def __init__(self, path: str) -> None:
        self.path = path

    def container(self, id: str) -> Container:
        """The container of that id, which need not exist. Raises UsageError for what cannot be one."""
        if (
            not id
            or len(id) > 1024
            or id in (".", "..")
            or not all((c.isalnum() and c.isascii()) or c in "_+-." for c in id)
        ):
            raise errors.UsageError(f"invalid container ID '{id}'", hint="letters, digits, '_', '+', '-', '.'")
        return Container(f"{self.path}/{id}", id)

    def all(self) -> list[Container]:
        """Those that have a record, by id."""
        try:
            ids = sorted(os.listdir(self.path))
        except FileNotFoundError:
            return []
        return [Container(f"{self.path}/{id}", id) for id in ids if os.path.exists(f"{self.path}/{id}/state.json")]


class Container:
    def __init__(self, directory: str, id: str) -> None:
        self.directory = directory
        self.id = id

    def make(self) -> Lock:
        """The directory, 0700, with the lock held. Raises Conflict when the id is taken."""
        fsutil.make_private_directory(os.path.dirname(self.directory))
        try:
            os.mkdir(self.directory, 0o700)
        except FileExistsError:
            raise errors.Conflict(
                f"container with id '{self.id}' already exists", hint=f"'pyctr-runtime delete {self.id}' removes it"
            ) from None
        return Lock(f"{self.directory}/lock").__enter__()

    def lock(self) -> Lock:
        """Against every other change of this container. Raises NotFound."""
        lock = Lock(f"{self.directory}/lock")
        try:
            return lock.__enter__()
        except (FileNotFoundError, NotADirectoryError):
            raise self._missing() from None

    def exists(self) -> bool:
        return os.path.isdir(self.directory)

    def _missing(self) -> errors.NotFound:
        return errors.NotFound(f"container '{self.id}' does not exist", hint="'pyctr-runtime list' has all")

    def record(self) -> dict[str, Any]:
        """What `direct` has written down. Raises NotFound, also for one whose creator has not come that far, and
        Damaged."""
        path = f"{self.directory}/state.json"
        try:
            document: dict[str, Any] = fsutil.read_json(path)
        except (FileNotFoundError, NotADirectoryError):
            raise self._missing() from None
        except ValueError as error:
            raise Damaged(str(error), hint=f"'pyctr-runtime delete --force {self.id}' removes it") from None
        if wrong := [key for key, kind in _KEPT.items() if not _is(document, key, kind)]:
            raise Damaged(
                f"'{path}' is damaged: '{wrong[0]}' is missing or of another type",
                hint=f"'pyctr-runtime delete --force {self.id}' removes it",
            )
        return document

    def write(self, record: dict[str, Any]) -> None:
        """State of a process means nothing after a power failure."""
        fsutil.write_json(f"{self.directory}/state.json", record, durable=False, throwaway=True)

    def process(self) -> dict[str, Any]:
        """What a further process starts from: {process, linux, seccomp} as `direct` has kept it."""
        path = f"{self.directory}/process.marshal"
        try:
            with open(path, "rb", buffering=0) as file:
                document: dict[str, Any] = marshal.loads(file.read())
        except FileNotFoundError:
            raise self._missing() from None
        except (ValueError, EOFError, TypeError) as error:
            raise Damaged(f"'{path}' is damaged: {error}") from None
        return document

    def keep_process(self, document: dict[str, Any], record: dict[str, Any]) -> None:
        """With where its group is a second time, for `remains`."""
        kept = {**document, "place": {key: record[key] for key in _PLACE}}
        # bytes of a filter have no place in JSON; only our own code of this very host reads it
        fsutil.write_atomic(f"{self.directory}/process.marshal", marshal.dumps(kept), durable=False, throwaway=True)

    def remains(self) -> dict[str, Any] | None:
        """Of a container without a record: enough of one to find its group, or None if there is no more. Raises Damaged
        when that is not known either."""
        try:
            place = self.process().get("place")
        except errors.NotFound:
            return None
        except Damaged as error:
            place, damage = None, str(error)
        else:
            damage = f"'{self.directory}' does not say where its cgroup is"
        if not isinstance(place, dict) or not all(_is(place, key, _KEPT[key]) for key in _PLACE if key in _KEPT):
            raise Damaged(
                f"{damage}, and its record is lost: what still runs of '{self.id}' cannot be found",
                hint=f"end its processes, then remove its cgroup and '{self.directory}'",
            )
        return {**place, "pid": 0}

    def alive(self, record: dict[str, Any]) -> bool:
        """Whether its first process lives. A zombie does not."""
        from pyctr.core.linux import procfs

        pid = record.get("pid") or 0
        return bool(pid) and procfs.alive(pid, record["start_time"]) and procfs.boot_id() == record["boot_id"]

    def status(self, record: dict[str, Any], *, frozen: bool = True, locked: bool = False) -> str:
        """With `frozen` false a paused container counts as running, which spares looking at its group. With `locked`
        the caller is the one who has the lock."""
        from pyctr.core.runtime import gate

        if not self.alive(record):
            if record.get("creating") and not record.get("pid") and not locked and self._busy():
                return CREATING
            return STOPPED
        if record.get("creating"):
            return CREATING
        if frozen and self.manager(record).frozen():
            return PAUSED
        return CREATED if gate.waiting(self.directory) else RUNNING

    def _busy(self) -> bool:
        """Whether somebody is changing it, who holds its lock."""
        lock = Lock(f"{self.directory}/lock")
        try:
            free = lock.try_acquire()
        except (FileNotFoundError, NotADirectoryError):
            return False
        lock.release()
        return not free

    def manager(self, record: dict[str, Any]) -> Manager:
        from pyctr.core.runtime.ops_cgroup import manager

        scope = record.get("scope")
        if scope and "absent" in scope:
            scope = {"absent": record["pid"] if self.alive(record) else 0}
        return manager(record["group"], record["cgroup_root"], scope)

    def open(self, record: dict[str, Any]) -> int:
        """A pidfd of the first process. Raises IllegalTransition when it is gone."""
        try:
            fd = os.pidfd_open(record.get("pid") or -1)
        except (ProcessLookupError, OSError):
            raise not_running(self.id) from None
        # looked at after the descriptor was there: it cannot mean another process from now on
        if not self.alive(record):
            os.close(fd)
            raise not_running(self.id)
        return fd


def not_running(id: str) -> errors.IllegalTransition:
    # containerd and podman look for these words
    return errors.IllegalTransition(f"container not running: '{id}'")


def state(container: Container, record: dict[str, Any], status: str, **more: Any) -> dict[str, Any]:
    """The document of the specification; `more` is put at its end."""
    document: dict[str, Any] = {
        "ociVersion": VERSION,
        "id": container.id,
        "pid": 0 if status == STOPPED else record.get("pid") or 0,
        "status": status,
        "bundle": record["bundle"],
        **more,
    }
    if annotations := record.get("annotations"):
        document["annotations"] = annotations
    return document


def shown(container: Container, record: dict[str, Any]) -> dict[str, Any]:
    """What `state` and `list` print, with the fields that runc adds."""
    status = container.status(record)
    return state(container, record, status, rootfs=record["rootfs"], created=record["created"], owner=record["owner"])


def for_hooks(container: Container, record: dict[str, Any], status: str) -> dict[str, Any]:
    """What hooks after the start and after the end read."""
    from pyctr.core.runtime import hooks

    pid = 0 if status == STOPPED else record.get("pid") or 0
    return hooks.state(record["version"], container.id, status, pid, record["bundle"], record.get("annotations"))
