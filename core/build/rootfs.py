"""A stage's files, mounted where nobody sees them, and what was written to them as a layer.

The overlay is mounted in a mount namespace that one thread makes for it and leaves at once: the mount is then held by
the descriptor alone and goes with it, whatever ends the build.
"""

from __future__ import annotations

import os
import threading

from pyctr.core import storage
from pyctr.core.errors import from_oserror
from pyctr.core.fsutil import make_private_directory, remove_tree
from pyctr.core.images import newlayer
from pyctr.core.images.tarwriter import TarWriter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.core.build.state import Layer, State
    from pyctr.core.engine import Engine
    from pyctr.core.fuseoverlay import Served
    from pyctr.core.images.blobs import Blobs


class Rootfs:
    """A writable view of a stage's files. A context manager; `fd` is its root."""

    def __init__(self, engine: Engine, state: State, directory: str) -> None:
        """`directory` is a new one for what is written. Raises StorageError."""
        self.fd = -1
        self._served: Served | None = None
        self._directory = directory
        self._image = state.image()
        self._id = os.path.basename(directory)
        # the container driver's own layout, in a place where no container is
        root = os.path.dirname(directory)
        self._storage = storage.Storage(engine.paths.replace(root=root), engine.layers)
        try:
            self._rootfs = self._storage.prepare(self._id, self._image, throwaway=True, mount_points=False)
            make_private_directory(directory)
            self._served = storage.serve(self._rootfs)
            self.fd = _mounted(self._rootfs, directory, self._served)
        except OSError as error:
            self.__exit__()
            raise from_oserror(error, "mounting the files of a stage") from error
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Rootfs:
        return self

    def __exit__(self, *_: object) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        if self._served is not None:
            self._served.end()
            self._served = None
        self._storage.remove(self._id)
        remove_tree(self._storage.paths.container(self._id))
        remove_tree(self._directory)

    def layer(self, blobs: Blobs, latest: int | None) -> Layer:
        """What was written since, as a layer in the store."""
        if self._rootfs["driver"] in storage.STACKED:
            return of_upper(blobs, self._rootfs["upper"], latest)
        with self._storage.whole(self._id) as tree:
            return of_tree(blobs, tree, lambda: self._storage.changes(self._id, self._image), latest)


def of_upper(blobs: Blobs, path: str, latest: int | None) -> Layer:
    """A layer of an overlay's upper directory."""

    def produce(write: Callable[[bytes], object]) -> None:
        tar = TarWriter(write, latest)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            tar.upper(fd)
        finally:
            os.close(fd)
        tar.finish()

    return newlayer.write(blobs, produce)


def of_tree(blobs: Blobs, path: str, changes: Callable[[], list[tuple[str, str]]], latest: int | None) -> Layer:
    """A layer of what differs in a whole tree from its image."""
    from pyctr.core.images.merged import Directory

    def produce(write: Callable[[bytes], object]) -> None:
        tar = TarWriter(write, latest)
        with Directory.root([path]) as root:
            tar.changed(root, changes())
        tar.finish()

    return newlayer.write(blobs, produce)


def _mounted(rootfs: dict[str, Any], target: str, served: Served | None) -> int:
    """A descriptor of the root of a mount that is in no mount namespace any more. Raises OSError."""
    found: list[int | BaseException] = []
    thread = threading.Thread(target=_mount, args=(rootfs, target, served, found))
    thread.start()
    thread.join()
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


def _mount(rootfs: dict[str, Any], target: str, served: Served | None, found: list[int | BaseException]) -> None:
    from pyctr.core.linux import const, mount, namespaces

    try:
        # of this thread alone: namespace, root and working directory (unshare(2), CLONE_NEWNS implies CLONE_FS)
        namespaces.unshare(const.CLONE_NEWNS)
        mount.mount(None, "/", None, const.MS_PRIVATE | const.MS_REC)
        storage.mount_rootfs(rootfs, target, served)
        found.append(os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except BaseException as error:
        found.append(error)
