"""The end of a container without a shim: what is left is killed by its cgroup, and all traces go. See `direct`."""

from __future__ import annotations

import os

from pyctr.core import errors, fsutil
from pyctr.core.runtime import ocistate
from pyctr.core.runtime.ocistate import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Warn = Callable[[str], None]


def delete(container: Container, *, force: bool, warn: Warn) -> None:
    """Remove all traces of a container that does not run; with `force` of any. Raises NotFound, IllegalTransition."""
    if force:
        _end(container)
    try:
        lock = container.lock()
    except errors.NotFound:
        if force:
            return
        raise
    try:
        try:
            record = container.record()
        except (errors.NotFound, ocistate.Damaged) as error:
            _delete_remains(container, error, force=force, warn=warn)
            return
        status = container.status(record, locked=True)
        if status not in (ocistate.STOPPED, ocistate.CREATED) and not force:
            raise errors.IllegalTransition(
                f"cannot delete container '{container.id}' that is not stopped: {status}", hint="kill it, or --force"
            )
        _remove_group(container, record)
        fsutil.remove_tree(container.directory)
    finally:
        lock.release()
    if listed := (record.get("hooks") or {}).get("poststop"):
        from pyctr.core.runtime import hooks

        state = ocistate.for_hooks(container, record, ocistate.STOPPED)
        hooks.run(listed, state, name="poststop", directory=record["bundle"], warn=warn)


def _delete_remains(container: Container, error: errors.PyctrError, *, force: bool, warn: Warn) -> None:
    """Of a container without a sound record. Raises it if it may still run and nobody asked for `force`."""
    remains = container.remains()
    if remains is not None:
        if not force:
            raise error
        warn(f"the record of '{container.id}' is damaged: hooks for after its end are not run")
        _remove_group(container, remains)
    fsutil.remove_tree(container.directory)  # without remains its creator died before there was anything else


def _end(container: Container) -> None:
    """Kill its first process without the lock: a `start` may hold that for as long as a hook takes."""
    from pyctr.core.errors import PyctrError

    try:
        record = container.record()
        fd = container.open(record)
    except PyctrError:
        return  # nothing there to be killed
    import _signal  # type: ignore[import-not-found]

    try:
        _signal.pidfd_send_signal(fd, 9)
    except ProcessLookupError:
        pass  # it was quicker
    finally:
        os.close(fd)


def _remove_group(container: Container, record: dict[str, Any]) -> None:
    group = container.manager(record)
    if group.exists():
        group.kill()
        group.remove()
