"""Secrets: kept by name in a store, given to containers as files in memory or as variables.

<root>/secrets/<id>/secret.json   the record, 0600
<root>/secrets/<id>/data          the value, 0600
<root>/secrets/lock               held while a name is taken or given up
<root>/secrets/.<id>.<pid>        being made or removed; swept when its process is gone

A container takes a copy when it is made (<container>/secrets/<number>), as with podman: what becomes of the store
afterwards changes no container that is there. Nothing else on disk has a value: not its record, not its config.json.
"""

from __future__ import annotations

import os
import stat
import time

from pyctr.core.errors import Ambiguous, Conflict, NotFound, UsageError, from_oserror
from pyctr.core.fsutil import Lock, make_private_directory, read_json, remove_tree, write_atomic, write_json
from pyctr.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.paths import Paths
    from pyctr.core.spec import Secret

    Stored = list["Kept"]

LARGEST = 512_000
"""Bytes of a value, as podman and Docker have it."""
_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_REST = _FIRST | frozenset("_.-")


class Kept(Record):
    """One secret of the store, without its value."""

    id: str
    name: str
    created_at: float
    """Seconds since the epoch."""
    labels: dict[str, str] = {}


class Secrets:
    """All secrets of one pyctr."""

    def __init__(self, paths: Paths) -> None:
        self.root = f"{paths.root}/secrets"

    def create(self, name: str, value: bytes, labels: dict[str, str] | None = None, *, replace: bool = False) -> Kept:
        """Keep a value. Raises UsageError (the name, the size) and, without `replace`, Conflict when there is one."""
        _check_name(name)
        if not 0 < len(value) <= LARGEST:
            raise UsageError(f"secret '{name}' has {len(value)} bytes", hint=f"1 to {LARGEST}")
        kept = Kept(id=os.urandom(12).hex(), name=name, created_at=time.time(), labels=dict(labels or {}))
        make_private_directory(self.root)
        self.sweep()
        fresh = f"{self.root}/.{kept.id}.{os.getpid()}"
        try:
            with Lock(f"{self.root}/lock"):
                old = [one for one in self.list() if one.name == name]
                if old and not replace:
                    raise Conflict(f"secret '{name}' exists", hint="--replace, or another name")
                os.mkdir(fresh, 0o700)
                try:
                    write_atomic(f"{fresh}/data", value)
                    write_json(f"{fresh}/secret.json", kept.to_dict())
                    os.rename(fresh, f"{self.root}/{kept.id}")
                except BaseException:
                    remove_tree(fresh)
                    raise
                for one in old:
                    self._remove(one.id)
        except OSError as error:
            raise from_oserror(error, f"keeping secret '{name}'") from error
        return kept

    def list(self) -> Stored:
        """All, by name."""
        try:
            ids = [id for id in os.listdir(self.root) if id[0] != "." and id != "lock"]
        except FileNotFoundError:
            return []
        found = []
        for id in ids:
            try:
                found.append(Kept.from_dict(read_json(f"{self.root}/{id}/secret.json")))
            except (FileNotFoundError, NotADirectoryError):
                continue  # removed meanwhile
        return sorted(found, key=lambda one: one.name)

    def get(self, ref: str) -> Kept:
        """By name, id, or the beginning of an id. Raises NotFound with near names as its hint, Ambiguous."""
        everyone = self.list()
        found = [one for one in everyone if ref in (one.name, one.id)]
        found = found or [one for one in everyone if ref and one.id.startswith(ref)]
        if len(found) > 1:
            raise Ambiguous(f"'{ref}' may be {' or '.join(one.id for one in found)}", hint="give more of the id")
        if not found:
            from pyctr.core.near import near

            meant = near(ref, [one.name for one in everyone])
            hint = f"did you mean {' or '.join(meant)}?" if meant else "'pyctr secret ls' lists them"
            raise NotFound(f"no secret '{ref}'", hint=hint)
        return found[0]

    def value(self, kept: Kept) -> bytes:
        """Raises NotFound when it was removed meanwhile."""
        try:
            with open(f"{self.root}/{kept.id}/data", "rb") as file:
                return file.read()
        except FileNotFoundError:
            raise NotFound(f"no secret '{kept.name}'", hint="it was removed just now") from None

    def remove(self, ref: str) -> str:
        """Its id. Containers that were made with it keep their copies. Raises NotFound."""
        kept = self.get(ref)
        try:
            with Lock(f"{self.root}/lock"):
                self._remove(kept.id)
        except OSError as error:
            raise from_oserror(error, f"removing secret '{kept.name}'") from error
        return kept.id

    def sweep(self) -> None:
        """Remove what killed pyctrs left half made or half removed."""
        for name in os.listdir(self.root):
            if name.startswith(".") and not os.path.exists(f"/proc/{name.rpartition('.')[2]}"):
                remove_tree(f"{self.root}/{name}")

    def _remove(self, id: str) -> None:
        doomed = f"{self.root}/.{id}.{os.getpid()}"
        try:
            os.rename(f"{self.root}/{id}", doomed)
        except FileNotFoundError:
            return  # another pyctr was faster
        remove_tree(doomed)


def values(paths: Paths, wanted: list[Secret]) -> list[bytes]:
    """What the secrets of a spec are at this moment. Raises NotFound, UsageError."""
    return [_value(paths, secret) for secret in wanted]


def _value(paths: Paths, secret: Secret) -> bytes:
    if secret.source == "env":
        value = os.environb.get(os.fsencode(secret.origin))
        if value is None:
            raise NotFound(f"secret '{secret.name}': there is no variable '{secret.origin}'")
    elif secret.source == "file":
        value = read(secret.origin, f"secret '{secret.name}'")
    else:
        store = Secrets(paths)
        value = store.value(store.get(secret.name))
    if secret.kind == "env" and b"\0" in value:
        raise UsageError(f"secret '{secret.name}' has a NUL character and cannot be a variable", hint="type=mount")
    return value


def read(path: str, what: str) -> bytes:
    """The value in a file, a pipe or, with "-", stdin. Raises UsageError."""
    try:
        fd = os.dup(0) if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                raise UsageError(f"{what}: '{path}' is a directory", hint="give a file")
            value = file.read(LARGEST + 1)
    except OSError as error:
        raise UsageError(
            f"{what}: cannot read '{path}': {(error.strerror or '').lower()}", hint="give a file"
        ) from None
    if len(value) > LARGEST:
        raise UsageError(f"{what}: '{path}' has more than {LARGEST} bytes", hint="mount a file as large as that")
    return value


def keep(directory: str, found: list[bytes]) -> None:
    """Values into a container's directory, by number."""
    os.mkdir(f"{directory}/secrets", 0o700)
    for number, value in enumerate(found):
        write_atomic(f"{directory}/secrets/{number}", value, durable=False)


def wishes(directory: str, wanted: list[Secret]) -> list[dict[str, Any]]:
    """For the plan of a start: where each value lies, and what becomes of it inside."""
    return [
        {
            "source": f"{directory}/secrets/{number}",
            "env": secret.target if secret.kind == "env" else "",
            "target": "" if secret.kind == "env" else secret.target,
            "uid": secret.uid,
            "gid": secret.gid,
            "mode": secret.mode,
        }
        for number, secret in enumerate(wanted)
    ]


def _check_name(name: str) -> None:
    if not name or name[0] not in _FIRST or not _REST.issuperset(name) or len(name) > 253:
        raise UsageError(
            f"'{name}' is no name of a secret", hint="letters, digits, '_', '.', '-', beginning with a letter or digit"
        )
