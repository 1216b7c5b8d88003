"""A container's files as it sees them, from outside: one descriptor of its root directory.

A running container is seen through its own mount namespace, with every mount in it. The root of one that stands still
is mounted for the occasion in a mount namespace that nobody lives in: a thread makes it (unshare(2) is per thread) and
ends; what keeps it is our descriptor of the namespace. Nothing is ever mounted where the host could see it, and the
death of this process is the end of it.
"""

from __future__ import annotations

import os
import threading

from pyctr.core import errors, fsutil
from pyctr.core.linux import const, mount, namespaces
from pyctr.core.linux.inroot import make_directories, make_file, open_in
from pyctr.core.state import RESTARTING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from pyctr.core.containers import Container
    from pyctr.core.fuseoverlay import Served

_ETC = ("hosts", "hostname", "resolv.conf")


class Bind:
    """Something of the host at a place of the container."""

    def __init__(self, source: str, target: str, readonly: bool = False, subpath: str = "") -> None:
        self.source = source
        self.target = target
        self.readonly = readonly
        self.subpath = subpath
        """The part of the source, looked up inside it."""

    def tree(self) -> int:
        """A detached mount of it."""
        flags = const.OPEN_TREE_CLONE | const.AT_RECURSIVE
        if not self.subpath:
            return mount.open_tree(const.AT_FDCWD, self.source, flags)
        top = os.open(self.source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            part = open_in(top, self.subpath)
        finally:
            os.close(top)
        try:
            return mount.open_tree(part, "", flags | const.AT_EMPTY_PATH)
        finally:
            os.close(part)


class RootView:
    """`root` is the descriptor. A context manager; until its end a stopped container cannot be started."""

    def __init__(
        self, root: int, *, namespace: int = -1, lock: fsutil.Lock | None = None, served: Served | None = None
    ) -> None:
        self.root = root
        self._namespace = namespace
        self._lock = lock
        self._served = served

    @classmethod
    def of(cls, container: Container) -> RootView:
        """Of a container, running or not. Raises IllegalTransition between two incarnations, PyctrError."""
        if view := cls._living(container):
            return view
        lock = fsutil.Lock(container.path("lock"))
        try:
            try:
                lock.__enter__()
                container.reload()
            except (FileNotFoundError, errors.NotFound):
                raise errors.NotFound(f"container '{container.name}' was removed meanwhile") from None
            if view := cls._living(container):
                lock.release()
                return view
            if container.status == RESTARTING:
                raise errors.IllegalTransition(
                    f"container '{container.name}' is restarting", hint="try again, or stop it"
                )
            view = cls.mounted(
                container.state.rootfs, container.path(), _binds(container), readonly=container.spec.readonly_rootfs
            )
        except BaseException:
            lock.release()
            raise
        view._lock = lock
        return view

    @classmethod
    def mounted(
        cls, rootfs: Mapping[str, Any], place: str, binds: Sequence[Bind] = (), *, readonly: bool = False
    ) -> RootView:
        """Of what `Storage.prepare` returned; `place` is any directory to mount on. Raises StorageError."""
        from pyctr.core import storage

        made: list[int] = []
        failed: list[BaseException] = []
        try:
            served = storage.serve(rootfs)
        except OSError as error:
            raise errors.from_oserror(error, "mounting the root file system") from error

        def work() -> None:
            try:
                made.extend(_mount(rootfs, place, binds, readonly, served))
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=work, name="rootview")
        thread.start()
        thread.join()
        if failed:
            if served is not None:
                served.end()
            if isinstance(failed[0], OSError):
                raise errors.from_oserror(failed[0], "mounting the root file system") from failed[0]
            raise failed[0]
        return cls(made[0], namespace=made[1], served=served)

    def __enter__(self) -> RootView:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for fd in (self.root, self._namespace):
            if fd >= 0:
                os.close(fd)
        self.root = self._namespace = -1
        if self._served is not None:
            self._served.end()
            self._served = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @classmethod
    def _living(cls, container: Container) -> RootView | None:
        pid = container.pid
        if not pid:
            return None
        try:
            root = os.open(f"/proc/{pid}/root", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, ProcessLookupError):
            return None  # it ended just now
        except OSError as error:
            raise errors.from_oserror(error, f"entering container '{container.name}'") from error
        if container.alive:
            return cls(root)
        os.close(root)  # whose pid that is by now, nobody knows
        return None


def _binds(container: Container) -> list[Bind]:
    """Volumes, bind mounts and the files we keep for a container, parents first."""
    asked = {os.path.normpath(one.target): one for one in container.spec.mounts}
    found = {}
    for target, source in container.state.volumes.items():
        mounted = asked.get(target)
        found[target] = Bind(source, target, bool(mounted and mounted.readonly), mounted.subpath if mounted else "")
    for target, one in asked.items():
        if one.kind == "bind":
            found[target] = Bind(one.source, target, one.readonly)
    for name in _ETC:
        if f"/etc/{name}" not in found and os.path.exists(path := container.path(name)):
            found[f"/etc/{name}"] = Bind(path, f"/etc/{name}")
    return sorted(found.values(), key=lambda bind: bind.target.count("/"))


def _mount(
    rootfs: Mapping[str, Any], place: str, binds: Sequence[Bind], readonly: bool, served: Served | None
) -> tuple[int, int]:
    """In a thread of its own: (root, mount namespace)."""
    from pyctr.core.storage import mount_rootfs

    namespaces.unshare(const.CLONE_NEWNS)
    # private: neither does what happens here show on the host nor the other way round
    mount.mount(None, "/", None, const.MS_PRIVATE | const.MS_REC)
    trees: list[tuple[Bind, int]] = []
    try:
        for bind in binds:  # before anything hides where they are
            trees += ((bind, bind.tree()),)
        mount_rootfs(rootfs, place, served)
        root = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for bind, tree in trees:
                _attach(root, bind, tree)
            if readonly:
                mount.mount_setattr(root, "", 0, const.MOUNT_ATTR_RDONLY, 0)
            return root, os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            os.close(root)
            raise
    finally:
        for _, tree in trees:
            os.close(tree)


def _attach(root: int, bind: Bind, tree: int) -> None:
    import stat

    if bind.readonly:
        mount.mount_setattr(tree, "", 0, const.MOUNT_ATTR_RDONLY, 0)
    try:
        target = open_in(root, bind.target)
    except FileNotFoundError:
        directory = stat.S_ISDIR(os.fstat(tree).st_mode)
        target = make_directories(root, bind.target) if directory else make_file(root, bind.target)
    try:
        mount.move_mount(tree, "", target, "")
    finally:
        os.close(target)
