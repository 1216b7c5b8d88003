"""Datasets of zfs: made, cloned and destroyed by the program of that name, mounted by ourselves.

zfs(8), zfs-create(8), zfs-clone(8), zfs-destroy(8), zfsprops(7). The ioctls behind the program change from release to
release; its words, with -H and -p, do not. All datasets here are `mountpoint=legacy`: nobody else mounts them.
"""

from __future__ import annotations

import errno
import os

from pyctr.core.linux import const, mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = "zfs"
DEVICE = "/dev/zfs"
_PLACES = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin")
_PATIENCE = 120.0
"""Seconds for one command: a pool that is written out meanwhile takes a few, one that lost its disks takes for ever."""
_MEANT = (
    ("does not exist", errno.ENOENT),
    ("could not find any snapshots", errno.ENOENT),
    ("already exists", errno.EEXIST),
    ("busy", errno.EBUSY),
    ("dependent clones", errno.ENOTEMPTY),
    ("has children", errno.ENOTEMPTY),
    ("out of space", errno.ENOSPC),
    ("permission denied", errno.EPERM),
)
"""What the program says in English, and the error that the kernel gave it."""


def program() -> str:
    """Where it is installed, "" for nowhere. Not PATH, which a user may have set to anything."""
    return next((path for place in _PLACES if os.access(path := f"{place}/{PROGRAM}", os.X_OK)), "")


def is_zfs(path: str) -> bool:
    return mount.fs_type(path) == const.ZFS_SUPER_MAGIC


def dataset_of(path: str) -> str:
    """The dataset that is mounted where this is, "" for none."""
    from pyctr.core.linux import mountinfo

    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    return next((one.source for one in mountinfo.read() if one.fstype == PROGRAM and one.device == wanted), "")


def create(name: str, properties: Mapping[str, str]) -> None:
    """An empty dataset. Raises FileExistsError, OSError."""
    _run("create", *_options(properties), name)


def snapshot(name: str) -> None:
    """NAME@SNAPSHOT of what the dataset has now. Raises OSError."""
    _run("snapshot", name)


def clone(snapshot: str, name: str, properties: Mapping[str, str]) -> None:
    """A writable dataset that shares all blocks of a snapshot. Raises FileNotFoundError, FileExistsError, OSError."""
    _run("clone", *_options(properties), snapshot, name)


def destroy(name: str) -> None:
    """Remove a dataset with its own snapshots. Nothing there is no error.

    Raises OSError: EBUSY while it is seen anywhere, ENOTEMPTY while it has clones.
    """
    try:
        _run("destroy", "-r", name)
    except FileNotFoundError:
        pass  # somebody else was faster


def listed(parent: str, *columns: str, kinds: str = "filesystem") -> list[list[str]]:
    """One row for each dataset right below `parent` and for itself; numbers are bytes, "-" stands for nothing.

    Raises FileNotFoundError when there is no such dataset, OSError.
    """
    depth = "2" if "snapshot" in kinds else "1"
    text = _run("list", "-H", "-p", "-r", "-d", depth, "-t", kinds, "-o", ",".join(columns), parent)
    return [line.split("\t") for line in text.splitlines()]


def used(name: str) -> int:
    """Bytes that only this dataset has; as of the last transaction group, which is a few seconds old at most.

    Raises FileNotFoundError, OSError.
    """
    return int(_run("list", "-H", "-p", "-o", "used", name))


def tree(name: str) -> int:
    """A detached mount of a dataset: nobody sees it, and it goes with its descriptor. Raises OSError."""
    filesystem = mount.fsopen("zfs")
    try:
        mount.fsconfig(filesystem, const.FSCONFIG_SET_STRING, "source", name)
        mount.fsconfig(filesystem, const.FSCONFIG_CMD_CREATE)
        return mount.fsmount(filesystem)
    finally:
        os.close(filesystem)


def _options(properties: Mapping[str, str]) -> list[str]:
    return [word for name, value in properties.items() for word in ("-o", f"{name}={value}")]


def _run(*words: str) -> str:
    """What the program prints. Raises OSError with what it says."""
    import subprocess

    path = program()
    if not path:
        raise OSError(errno.ENOPKG, f"the program '{PROGRAM}' is not installed")
    try:
        done = subprocess.run(
            [path, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=_PATIENCE,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        raise OSError(errno.ETIMEDOUT, f"zfs {words[0]}: no answer in {_PATIENCE:.0f} seconds", words[-1]) from None
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        number = next((number for text, number in _MEANT if text in said), errno.EIO)
        raise OSError(number, f"zfs {words[0]}: {said}", words[-1])
    return done.stdout
