"""The zfs driver: a container's root is a clone of its image's files, which shares all their blocks.

<dataset of the root>/pyctr-<key>    parent of all datasets of one root; mountpoint=legacy: nobody mounts them but we
    /l-<key>                         layers merged: a clone of those below and one more; @whole when it has them all
    /c-<name>-<random>               a container's, a clone of @whole
<root>/datasets/<key>.lock           while an l-<key> is filled
<containers>/<id>/dataset            the name of its clone, written before there is one

So layers that images have in common are in the pool twice, as files of <root>/layers and in one dataset, however many
images and containers there are. Nothing is mounted where the host could see it: a clone is seen in its container's
mount namespace, and through a descriptor by whoever looks into it (`linux.zfs.tree`).
"""

from __future__ import annotations

import errno
import os
import time

from pyctr.core.fsutil import Lock, make_private_directory, write_atomic
from pyctr.core.linux import zfs

MARK = "dataset"
_POINTS = "mountpoints"
WHOLE = "whole"
_LAYER, _PLACE, _ROOT = "pyctr:layer", "pyctr:place", "pyctr:root"
"""Properties of ours: which layer is the topmost, whose directory knows of a clone, whose root all is."""
_PROPERTIES = {"mountpoint": "legacy", "acltype": "posixacl", "xattr": "sa", "relatime": "on"}
"""What files of an image need to come out as they went in; the datasets below inherit them."""
_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EINTR})
_TRIES = 3
_FRESH = 2.0
"""Seconds for which an answer about sizes is good enough: zfs itself counts only every few."""
_used: dict[str, tuple[float, dict[str, int]]] = {}
_PATIENCE = 5.0
"""Seconds for the last view of a clone to go: the kernel takes a mount namespace down after its last process."""


def works(root: str) -> bool:
    """Is this directory on zfs, and may we make datasets there and mount them? Leaves nothing.

    Raises OSError for what says nothing about that.
    """
    if not zfs.is_zfs(root) or not zfs.program() or not os.access(zfs.DEVICE, os.R_OK | os.W_OK):
        return False
    try:
        trial = f"{_home(root)}-{os.getpid()}"
        zfs.create(trial, _PROPERTIES)
        try:
            os.close(zfs.tree(trial))
        finally:
            zfs.destroy(trial)
    except OSError as error:
        if error.errno in _PASSING:
            raise
        return False
    return True


def take(root: str, lower: list[str], place: str, size: int = 0) -> str:
    """The name of a new clone of these layers (short links, topmost first) for the container whose directory `place`
    is, which may write `size` bytes, 0 for all there are. Raises OSError."""
    names = [_layer(link) for link in lower]
    if names[-1] == _POINTS:  # whatever comes with them or without shares all the rest
        names = [_POINTS, *names[:-1]]
    home = _home(root)
    name = f"{home}/c-{os.path.basename(place)[:12]}-{os.urandom(4).hex()}"
    write_atomic(f"{place}/{MARK}", name.encode(), durable=False)
    properties = {_PLACE: place, **({"quota": str(size)} if size else {})}
    for turn in range(_TRIES):
        try:
            zfs.clone(f"{home}/l-{_key(names)}@{WHOLE}", name, properties)
            break
        except FileNotFoundError:
            if turn == _TRIES - 1:
                raise
            # never made, or its image was removed and came back meanwhile
        _fill(root, home, names, lower)
    return name


def name(place: str) -> str:
    """The clone of the container whose directory this is, "" for none."""
    try:
        with open(f"{place}/{MARK}") as file:
            found = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return found if "/pyctr-" in found and "/c-" in found else ""


def used(name: str) -> int:
    """Bytes that only this clone has, as of some seconds ago; 0 for none. One question to zfs answers for all."""
    home = name.rpartition("/")[0]
    asked, known = _used.get(home, (0.0, {}))
    if name not in known or time.monotonic() - asked > _FRESH:
        known = {row[0]: int(row[1]) for row in zfs.listed(home, "name", "used")} if home else {}
        _used[home] = time.monotonic(), known
    return known.get(name, 0)


def drop(place: str) -> None:
    """Remove the clone of the container whose directory this is; none is no error. Raises OSError when it is busy."""
    if found := name(place):
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                zfs.destroy(found)
                break
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise
            time.sleep(0.05)  # nobody tells when a superblock is gone
    try:
        os.unlink(f"{place}/{MARK}")
    except FileNotFoundError:
        pass  # there was none


def collect(root: str, layers: str) -> None:
    """Remove datasets of which a layer is gone, and what killed pyctrs left. Raises OSError."""
    if not os.path.isdir(root) or not zfs.is_zfs(root) or not zfs.program():
        return
    home = _home(root)
    try:
        rows = zfs.listed(home, "name", "origin", _LAYER, _PLACE)
        whole = {row[0] for row in zfs.listed(home, "name", kinds="snapshot")}
    except FileNotFoundError:
        return
    for dataset, _, _, place in rows:
        # a directory is there before its clone is
        if dataset.startswith(f"{home}/c-") and not os.path.isdir(place):
            _try(dataset)
    origins = {row[0]: row[1].partition("@")[0] for row in rows if row[0].startswith(f"{home}/l-")}
    doomed: set[str] = set()
    for dataset, _, layer, _ in sorted(rows, key=lambda row: _depth(row[0], origins)):
        if dataset not in origins:
            continue
        lasting = origins[dataset] != "-" if layer == _POINTS else os.path.isdir(f"{layers}/{layer}/diff")
        if not lasting or origins[dataset] in doomed or f"{dataset}@{WHOLE}" not in whole:
            doomed.add(dataset)
    for dataset in sorted(doomed, key=lambda name: _depth(name, origins), reverse=True):
        lock = Lock(f"{root}/{dataset.rpartition('-')[2]}.lock")
        if lock.try_acquire():  # nobody fills it right now
            try:
                _try(dataset)
                os.unlink(lock.path)
            finally:
                lock.release()
    _try(home, alone=True)


def _try(dataset: str, alone: bool = False) -> None:
    """Remove what nobody needs. With clones or a view of it left it stays, for the next time."""
    try:
        if alone and len(zfs.listed(dataset, "name")) > 1:
            return
        zfs.destroy(dataset)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise


def _fill(root: str, home: str, names: list[str], lower: list[str]) -> None:
    """From the bottom: each dataset whole or not at all."""
    make_private_directory(root)
    try:
        zfs.create(home, {**_PROPERTIES, _ROOT: root})
    except FileExistsError:
        pass  # an image was here before
    whole = {row[0] for row in zfs.listed(home, "name", kinds="snapshot")}
    below = ""
    for at in reversed(range(len(names))):
        key = _key(names[at:])
        dataset = f"{home}/l-{key}"
        if f"{dataset}@{WHOLE}" not in whole:
            with Lock(f"{root}/{key}.lock") as lock:
                _add(dataset, below, names[at], lower if names[at] == _POINTS else [_link(names[at], lower)])
                os.unlink(lock.path)
        below = dataset


def _add(dataset: str, below: str, layer: str, lower: list[str]) -> None:
    """`lower` is the layer, or for the mount points all, for they are below all others."""
    from pyctr.core.images.applied import apply, underlay
    from pyctr.core.images.merged import Directory

    try:
        zfs.used(f"{dataset}@{WHOLE}")
        return  # another pyctr was faster
    except FileNotFoundError:
        zfs.destroy(dataset)  # a killed pyctr's
    try:
        if below:
            zfs.clone(f"{below}@{WHOLE}", dataset, {_LAYER: layer})
        else:
            zfs.create(dataset, {_LAYER: layer})
        fds: list[int] = []
        try:
            tree = zfs.tree(dataset)
            fds.append(tree)
            fds.append(os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree))
            with Directory.root(lower) as source:
                if layer == _POINTS:
                    underlay(source, fds[1])
                else:
                    apply(source.fd, fds[1])
        finally:
            for fd in fds:
                os.close(fd)
        zfs.snapshot(f"{dataset}@{WHOLE}")
    except BaseException:
        try:
            zfs.destroy(dataset)
        except OSError:
            pass  # without its snapshot it counts as nothing, and is collected
        raise


def _home(root: str) -> str:
    """Raises OSError where no dataset is mounted."""
    parent = zfs.dataset_of(root if os.path.isdir(root) else os.path.dirname(root))
    if not parent:
        raise OSError(errno.ENODEV, "no dataset of zfs is mounted here", root)
    return f"{parent}/pyctr-{_key([os.path.realpath(root)])[:12]}"


def _layer(link: str) -> str:
    """What the layer of a short link is called: <layers>/l/XY -> ../NAME/diff."""
    return os.readlink(link).removeprefix("../").partition("/")[0]


def _link(name: str, lower: list[str]) -> str:
    return next(link for link in lower if _layer(link) == name)


def _depth(dataset: str, origins: dict[str, str]) -> int:
    depth = 0
    while dataset := origins.get(dataset, ""):
        depth += 1
    return depth


def _key(names: list[str]) -> str:
    from hashlib import sha256

    return sha256("\n".join(names).encode()).hexdigest()[:32]
