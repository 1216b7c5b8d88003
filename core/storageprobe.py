"""Which storage driver a host gets: the first that does what it is needed for, below our own root."""

from __future__ import annotations

import errno
import os

from pyctr.core import fuseoverlay, storage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyctr.core.images.layers import LayerStore
    from pyctr.core.paths import Paths

_PROBE = ".overlay-"
_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EINTR})
"""Errors that say nothing about the filesystem; a driver chosen for one of them would be remembered until a reboot."""


def found(paths: Paths, layers: LayerStore) -> str:
    """One of `storage.DRIVERS`. Raises OSError for what says nothing about any."""
    from pyctr.core import datasets, whole

    if _trial(paths, _overlay_works):
        return storage.OVERLAY
    if whole.snapshots_work(layers, paths.containers):
        return storage.BTRFS
    if datasets.works(paths.root):
        return storage.ZFS
    return storage.FUSE if _trial(paths, fuseoverlay.works) else storage.VFS


def _trial(paths: Paths, works: Callable[[str], bool]) -> bool:
    """Try something in a directory below our root."""
    import tempfile

    from pyctr.core.fsutil import make_private_directory

    make_private_directory(paths.containers)
    sweep(paths, os.listdir(paths.containers))
    trial = tempfile.mkdtemp(prefix=f"{_PROBE}{os.getpid()}-", dir=paths.containers)
    try:
        return works(trial)
    finally:
        try:
            os.rmdir(trial)
        except OSError:
            pass  # not empty: it goes with the next sweep


def _overlay_works(trial: str) -> bool:
    """Configure an overlay of three empty directories without attaching it anywhere.

    fsopen(2) needs no mount namespace and no child process, so this is safe in a process with threads.
    """
    from pyctr.core.linux.const import FSCONFIG_CMD_CREATE, FSCONFIG_SET_STRING
    from pyctr.core.linux.mount import fsconfig, fsopen
    from pyctr.core.linux.rename import exchange

    lower, upper, work = (f"{trial}/{name}" for name in ("lower", "upper", "work"))
    try:
        for path in (lower, upper, work):
            os.mkdir(path)
        try:
            exchange(lower, upper)
        except OSError as error:
            if error.errno in _PASSING:
                raise
            return False  # EINVAL, as on OpenZFS before 2.2: it mounts, but then no directory of a layer can be removed
        try:
            context = fsopen("overlay")
        except OSError as error:
            if error.errno in _PASSING:
                raise
            return False  # ENODEV: no overlayfs; EPERM: no mounting at all
        try:
            for key, path in (("lowerdir", lower), ("upperdir", upper), ("workdir", work)):
                fsconfig(context, FSCONFIG_SET_STRING, key, path)
            fsconfig(context, FSCONFIG_CMD_CREATE)
        except OSError as error:
            if error.errno in _PASSING:
                raise
            return False  # EINVAL: overlayfs refuses this filesystem as upper
        finally:
            os.close(context)
        return True
    finally:
        # by path, which needs no descriptor; the one below "work" is what overlayfs made
        for path in (lower, upper, f"{work}/work", work):
            try:
                os.rmdir(path)
            except OSError:
                continue  # never made; what stays all the same goes with the next sweep


def sweep(paths: Paths, names: list[str]) -> None:
    """Remove what probes that were killed left; `names` are those below `paths.containers`."""
    for name in names:
        if name.startswith(_PROBE) and not os.path.exists(f"/proc/{name[len(_PROBE) :].partition('-')[0]}"):
            from shutil import rmtree

            rmtree(f"{paths.containers}/{name}", ignore_errors=True)
