"""Named and anonymous volumes: directories that outlive containers.

<root>/volumes/<name>/_data         what containers see (bind-mounted)
<root>/volumes/<name>/volume.json   the record
<root>/volumes/<name>/lock          held while the volume is filled or removed
<root>/volumes/.<name>.<pid>        being made or being removed; swept when its process is gone
"""

from __future__ import annotations

import os
import time

from pyctr.core.errors import Conflict, NotFound, UsageError, from_oserror
from pyctr.core.fsutil import Lock, make_private_directory, read_json, write_json
from pyctr.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.images.merged import Directory
    from pyctr.core.paths import Paths

    Names = list[str]
    States = list[dict[str, Any]]

_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_REST = _FIRST | frozenset("_.-")


class Volume(Record):
    """One volume. `path` is the directory that containers see."""

    name: str
    path: str
    created_at: float
    """Seconds since the epoch."""
    labels: dict[str, str] = {}
    driver_opts: dict[str, str] = {}
    anonymous: bool = False
    """Made because a container wanted one; goes with `rm -v` and `volume prune`."""


class Volumes:
    """All volumes of one pyctr."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.root = paths.volumes

    def create(
        self, name: str = "", labels: dict[str, str] | None = None, driver_opts: dict[str, str] | None = None
    ) -> Volume:
        """A new volume, anonymous without a name. One that exists already is returned as it is, as with Docker.

        `driver_opts` may say o=bind and device=DIRECTORY to use a directory elsewhere. Raises UsageError, and Conflict
        when the volume exists with other options.
        """
        anonymous = not name
        if anonymous:
            name = os.urandom(32).hex()
        _check_name(name)
        options = dict(driver_opts or {})
        existing = self._read(name)
        if existing is None:
            volume = Volume(
                name=name,
                path=_device(options) or f"{self.root}/{name}/_data",
                created_at=time.time(),
                labels=dict(labels or {}),
                driver_opts=options,
                anonymous=anonymous,
            )
            try:
                if self._make(volume):
                    return volume
            except OSError as error:
                raise from_oserror(error, f"making volume '{name}'") from error
            existing = self.get(name)  # another pyctr was faster
        if options and options != existing.driver_opts:
            raise Conflict(f"volume '{name}' exists with other options", hint="choose another name")
        return existing

    def ensure(
        self, name: str = "", labels: dict[str, str] | None = None, driver_opts: dict[str, str] | None = None
    ) -> Volume:
        """The volume of a name, made if it is not there; a new anonymous one without a name."""
        return (name and self._read(name)) or self.create(name, labels, driver_opts)

    def get(self, name: str) -> Volume:
        """Raises NotFound, with near names as its hint."""
        volume = self._read(name)
        if volume is None:
            from pyctr.core.near import near

            meant = near(name, self._names())
            hint = f"did you mean {' or '.join(meant)}?" if meant else "'pyctr volume ls' lists them"
            raise NotFound(f"no volume '{name}'", hint=hint)
        return volume

    def list(self) -> list[Volume]:
        """All volumes by name, anonymous ones last."""
        found = [volume for name in self._names() if (volume := self._read(name))]
        return sorted(found, key=lambda volume: (volume.anonymous, volume.name))

    def users(self, name: str) -> Names:
        """Names of the containers that have this volume; those being removed do not count."""
        path = self.get(name).path
        return sorted(state["name"] or state["id"] for state in self._states() if _uses(state, name, path))

    def remove(self, name: str, force: bool = False) -> None:
        """Remove a volume and all its files. Raises NotFound (not with `force`), Conflict when a container has it."""
        volume = self._read(name) if force else self.get(name)
        if volume is None:
            return
        if users := self.users(name):
            raise Conflict(
                f"volume '{name}' is used by {'container' if len(users) == 1 else 'containers'} {', '.join(users)}",
                hint=f"pyctr rm {' '.join(users)}",
            )
        from shutil import rmtree

        doomed = f"{self.root}/.{name}.{os.getpid()}"
        try:
            with Lock(f"{self.root}/{name}/lock"):
                os.rename(f"{self.root}/{name}", doomed)
            rmtree(doomed)
        except FileNotFoundError:
            return  # another pyctr was faster
        except OSError as error:
            raise from_oserror(error, f"removing volume '{name}'") from error

    def usage(self, name: str) -> int:
        """Bytes on disk."""
        from pyctr.core.storage import disk_usage

        return disk_usage(self.get(name).path)

    def populate(self, volume: Volume, lower: Names, target: str) -> bool:
        """Copy what an image has at `target` into a volume that is empty, owner and mode included; did it?

        `lower` are the image's layers, topmost first (`LayerStore.ensure`). Symlinks on the way to `target` are
        followed inside the image. Raises PyctrError when the disk is full.
        """
        marker = f"{self.root}/{volume.name}/filling"
        try:
            if os.listdir(volume.path) and not os.path.exists(marker):
                return False
        except FileNotFoundError:
            return False  # a directory elsewhere that is gone: the mount will say so
        from pyctr.core.images.merged import Directory

        try:
            with Directory.root(lower) as root, Lock(f"{self.root}/{volume.name}/lock"):
                source = root.resolve(target)
                if source is None:
                    return False
                with source:
                    return self._fill(volume, source, marker)
        except OSError as error:
            raise from_oserror(error, f"copying the image's '{target}' into volume '{volume.name}'") from error

    # inside

    @staticmethod
    def _fill(volume: Volume, source: Directory, marker: str) -> bool:
        """In place, since a container may have the directory mounted; the marker tells of a fill that was cut off."""
        from pyctr.core.images.merged import copy

        there = os.listdir(volume.path)
        if there:
            if not os.path.exists(marker) or volume.driver_opts:
                return False
            from shutil import rmtree

            for name in there:
                path = f"{volume.path}/{name}"
                if os.path.isdir(path) and not os.path.islink(path):
                    rmtree(path)
                else:
                    os.unlink(path)
        os.close(os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        fd = os.open(volume.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            copy(source, fd)
        finally:
            os.close(fd)
        os.unlink(marker)
        return True

    def _make(self, volume: Volume) -> bool:
        """False when the name was taken meanwhile."""
        from shutil import rmtree

        make_private_directory(self.root)
        temporary = f"{self.root}/.{volume.name}.{os.getpid()}"
        try:
            os.mkdir(temporary, 0o700)
            if volume.path.startswith(f"{self.root}/"):
                os.mkdir(f"{temporary}/_data", 0o755)
                os.chmod(f"{temporary}/_data", 0o755)  # whatever the umask is
            write_json(f"{temporary}/volume.json", volume.to_dict())
            os.rename(temporary, f"{self.root}/{volume.name}")
        except BaseException as error:
            rmtree(temporary, ignore_errors=True)
            if isinstance(error, OSError) and os.path.isdir(f"{self.root}/{volume.name}"):
                return False
            raise
        return True

    def _read(self, name: str) -> Volume | None:
        _check_name(name)
        try:
            document = read_json(f"{self.root}/{name}/volume.json")
        except (FileNotFoundError, NotADirectoryError):
            return None
        volume = Volume.from_dict(document)
        if not volume.driver_opts:
            volume.path = f"{self.root}/{name}/_data"  # the root may have been moved
        return volume

    def _names(self) -> Names:
        try:
            return [name for name in os.listdir(self.root) if not name.startswith(".")]
        except FileNotFoundError:
            return []

    def _states(self) -> States:
        from pyctr.core.images.store import container_states

        return [state for state in container_states(self.paths) if not state.get("removing")]

    def sweep(self) -> None:
        """Remove what killed pyctrs left half made or half removed."""
        from shutil import rmtree

        try:
            names = os.listdir(self.root)
        except FileNotFoundError:
            return
        for name in names:
            pid = name.rpartition(".")[2]
            if name.startswith(".") and pid.isdecimal() and not os.path.exists(f"/proc/{pid}"):
                rmtree(f"{self.root}/{name}", ignore_errors=True)


def _uses(state: dict[str, Any], name: str, path: str) -> bool:
    if path in (state.get("volumes") or {}).values() or name in (state.get("anonymous") or ()):
        return True
    mounts = (state.get("spec") or {}).get("mounts") or ()
    return any(mount.get("kind") == "volume" and mount.get("source") == name for mount in mounts)


def _check_name(name: str) -> None:
    if not name or name[0] not in _FIRST or not _REST.issuperset(name) or len(name) > 200:
        raise UsageError(
            f"'{name}' is no volume name", hint="letters, digits, '_', '.', '-', beginning with a letter or digit"
        )


def _device(options: dict[str, str]) -> str:
    """The directory that options of Docker's local driver name; "" for an ordinary volume."""
    if not options:
        return ""
    known = {"type", "o", "device"}
    if set(options) <= known and options.get("o") in ("bind", "rbind") and options.get("type", "none") in ("none", ""):
        device = options.get("device", "")
        if os.path.isabs(device) and os.path.isdir(device):
            return device
        raise UsageError(f"'{device}' is no directory to make a volume of", hint="device=/absolute/directory")
    raise UsageError(
        f"volume options {', '.join(f'{key}={value}' for key, value in options.items())} are not supported",
        hint="o=bind with device=/absolute/directory is",
    )
