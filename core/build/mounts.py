"""RUN --mount: what is there for one RUN and in no layer.

    bind    a snapshot of files of the context, a stage or an image; what RUN writes to it is gone afterwards
    cache   a directory of ours that stays, by id; shared, private (one builder each) or locked (one at a time)
    tmpfs   memory
    secret  a file in a tmpfs that has no name any more when RUN begins
    ssh     a socket that leads to the user's agent

Every source is a descriptor that the runtime opens as /proc/<pid>/fd/<n>: no path of it can be exchanged for a link by
somebody at work in the same files (the class of CVE-2024-23651). Mount points that RUN found made for it are taken away
by descriptor, too, without following a link (CVE-2024-23652).
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import re
import stat
from posixpath import normpath

from pyctr.core.build import mountpoints, prune
from pyctr.core.build.source import Place, failure
from pyctr.core.fsutil import Lock, make_private_directory, remove_tree
from pyctr.core.spec import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

KINDS = {
    "bind": ("target", "source", "from", "rw"),
    "cache": ("id", "target", "rw", "sharing", "from", "source", "mode", "uid", "gid"),
    "tmpfs": ("target", "size"),
    "secret": ("id", "target", "required", "mode", "uid", "gid", "env"),
    "ssh": ("id", "target", "required", "mode", "uid", "gid"),
}
_NAMES = {"dst": "target", "destination": "target", "src": "source", "readwrite": "rw", "readonly": "ro"}
_SHARING = ("shared", "private", "locked")
_SIZE = re.compile(r"(\d+)([bkmg]?)b?$", re.IGNORECASE)
_SECRET_LIMIT = 500 << 10
"""Bytes of the largest secret, as BuildKit has it."""


@dataclasses.dataclass(frozen=True)
class Wish:
    """One --mount, checked; its values are expanded."""

    kind: str
    target: str
    source: str = ""
    stage: str = ""
    """`from`"""
    id: str = ""
    writable: bool = False
    sharing: str = "shared"
    required: bool = False
    mode: int = -1
    uid: int = 0
    gid: int = 0
    size: int = 0
    env: str = ""

    @property
    def fact(self) -> list[Any]:
        """Its part of the cache key: everything but what must not matter (secrets, agents, what is in a cache)."""
        if self.kind in ("secret", "ssh"):
            return [self.kind, self.id, self.target, self.env]
        return [self.kind, self.target, self.source, self.stage, self.id, self.writable, self.size]


def parse(text: str, place: Place, workdir: Callable[[str], str]) -> Wish:
    """A --mount flag. `workdir` makes a target absolute. Raises BuildFailure."""
    fields: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        key = _NAMES.get(key.strip().lower(), key.strip().lower())
        if key in fields:
            raise failure(place, f"--mount: '{key}' is there twice in '{text}'")
        fields[key] = value if equals else "true"
    kind = fields.pop("type", "bind")
    if kind not in KINDS:
        raise failure(place, f"--mount: no type '{kind}'", hint=f"there is {', '.join(KINDS)}")
    if "ro" in fields:
        fields["rw"] = "false" if _truth(fields.pop("ro"), "ro", place) else "true"
    for key in fields:
        if key not in KINDS[kind]:
            raise failure(place, f"--mount: type={kind} takes no '{key}'", hint=f"it takes {', '.join(KINDS[kind])}")
    sharing = fields.get("sharing", "shared")
    if sharing not in _SHARING:
        raise failure(place, f"--mount: no sharing '{sharing}'", hint=f"there is {', '.join(_SHARING)}")
    target, id = fields.get("target", ""), fields.get("id", "")
    if kind == "secret":
        if not id and not target:
            raise failure(place, "--mount: a secret needs an id", hint="--mount=type=secret,id=NAME")
        id = id or os.path.basename(target)
        target = target or ("" if fields.get("env") else f"/run/secrets/{id}")
    elif kind == "ssh":
        id, target = id or "default", target or "/run/buildkit/ssh_agent.0"
    elif not target:
        raise failure(place, f"--mount: type={kind} needs a target", hint="target=/PATH")
    if target:
        target = workdir(target)
        if target == "/":
            raise failure(place, "--mount: nothing can be mounted over '/'")
    default = {"cache": 0o755, "secret": 0o400, "ssh": 0o600}.get(kind, -1)
    return Wish(
        kind=kind,
        target=target,
        source=fields.get("source", ""),
        stage=fields.get("from", ""),
        id=id or (target if kind == "cache" else ""),
        writable=_truth(fields.get("rw", "true" if kind == "cache" else "false"), "rw", place),
        sharing=sharing,
        required=_truth(fields.get("required", "false"), "required", place),
        mode=_number(fields["mode"], "mode", place, 8) if "mode" in fields else default,
        uid=_number(fields.get("uid", "0"), "uid", place),
        gid=_number(fields.get("gid", "0"), "gid", place),
        size=_bytes(fields.get("size", ""), place),
        env=fields.get("env", ""),
    )


class Mounts:
    """The mounts of one RUN, made and held as long as it runs. A context manager."""

    def __init__(self, directory: str, caches: str, run: str) -> None:
        """`directory` is the build's own for this step (made when needed), `caches` that of all cache mounts,
        `run` one in a tmpfs."""
        self.specs: list[Mount] = []
        self.env: list[str] = []
        self._directory = directory
        self._caches = caches
        self._run = run
        self._fds: list[int] = []
        self._locks: list[Lock] = []
        self._agents: list[Any] = []
        self._names: list[str] = []
        self._points: list[mountpoints.Point] = []
        self._lower: list[str] = []

    def __enter__(self) -> Mounts:
        return self

    def __exit__(self, *_: object) -> None:
        self.started()
        for agent in self._agents:
            agent.close()
        for fd in self._fds:
            os.close(fd)
        for lock in self._locks:
            lock.release()
        self._agents, self._fds, self._locks = [], [], []

    def started(self) -> None:
        """Everything is mounted: what lay about for that under a name loses it."""
        for path in self._names:
            os.unlink(path)
        self._names = []

    def bind(self, wish: Wish, fd: int) -> None:
        """`fd` is what the target shall be, and ours from now on."""
        self._add(wish.target, fd, readonly=not wish.writable)

    def file(self, target: str, content: bytes, mode: int) -> None:
        """A file of the builder's own: the script of a heredoc."""
        self._add(target, self._file(content, mode, 0, 0), readonly=True)

    def tmpfs(self, wish: Wish) -> None:
        options = ["exec", "suid", "dev", *([f"size={wish.size}"] if wish.size else [])]
        self.specs.append(Mount(kind="tmpfs", target=wish.target, options=options))

    def cache(self, wish: Wish, fill: Callable[[str], None] | None) -> None:
        """`fill` puts the first content into a new directory, whose path it is given."""
        from hashlib import sha256

        name = sha256(wish.id.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        make_private_directory(f"{self._caches}/{name}")
        number = 0
        while True:
            path = f"{self._caches}/{name}/{number}"
            lock = Lock(f"{path}.lock", shared=wish.sharing == "shared")
            if wish.sharing != "private":
                lock.__enter__()
            elif not lock.try_acquire():
                number += 1
                continue
            self._locks.append(lock)
            os.utime(lock.path)
            break
        _make_cache(path, wish, fill)
        self._add(
            wish.target, os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC), not wish.writable
        )

    def secret(self, wish: Wish, content: bytes) -> None:
        if wish.env:
            self.env.append(f"{wish.env}={content.decode('utf-8', 'surrogateescape')}")
        if wish.target:
            self._add(wish.target, self._file(content, wish.mode, wish.uid, wish.gid), readonly=True)

    def ssh(self, wish: Wish, socket: str) -> None:
        from pyctr.core.build.agent import Relay

        make_private_directory(self._run)
        relay = Relay(socket, self._run, wish.mode, wish.uid, wish.gid)
        self._agents.append(relay)
        self._names.append(relay.path)
        self._add(wish.target, relay.take(), readonly=False)
        self.env.append(f"SSH_AUTH_SOCK={wish.target}")

    def remember(self, made: dict[str, Any]) -> None:
        """Which mount points are not there yet in a rootfs (what `Storage.prepare` returned)."""
        self._lower = made.get("lower") or []
        self._points = [mountpoints.find(self._lower, spec.target) for spec in self.specs]

    def clean(self, top: str) -> None:
        """Take away the mount points that were made for this step alone; `top` is where it wrote."""
        if self._points:
            mountpoints.clean(top, self._lower, self._points)

    # inside

    def _add(self, target: str, fd: int, readonly: bool) -> None:
        self._fds.append(fd)
        source = f"/proc/{os.getpid()}/fd/{fd}"
        # "slave" has the shim open it: in the container's mount namespace a descriptor of ours cannot be mounted
        self.specs.append(Mount(kind="bind", target=target, source=source, readonly=readonly, options=["rslave"]))

    def _file(self, content: bytes, mode: int, uid: int, gid: int) -> int:
        """A descriptor of a file that loses its name when RUN begins (a file without one cannot be mounted)."""
        make_private_directory(self._run)
        path = f"{self._run}/{os.urandom(8).hex()}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._names.append(path)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
            os.fchown(fd, uid, gid)
            os.fchmod(fd, mode)
            return os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        finally:
            os.close(fd)


def secret(id: str, sources: Mapping[str, tuple[str, str]]) -> bytes | None:
    """The content of a --secret: ("file", path) or ("env", name); None for one that was not given.

    Raises OSError, ValueError.
    """
    kind, value = sources.get(id, ("", ""))
    if kind == "env":
        return os.environb.get(os.fsencode(value), None)
    if kind != "file":
        return None
    fd = os.open(value, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise ValueError(f"'{value}' is a directory")
        content = file.read(_SECRET_LIMIT + 1)
    if len(content) > _SECRET_LIMIT:
        raise ValueError(f"'{value}' is larger than {_SECRET_LIMIT >> 10} KiB")
    return content


def _make_cache(path: str, wish: Wish, fill: Callable[[str], None] | None) -> None:
    """There at once and filled, or not at all."""
    place = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # who shares it waits: rename(2) would replace a directory that somebody has open and not yet written to
        fcntl.flock(place, fcntl.LOCK_EX)
        if os.path.isdir(path):
            return
        prune.sweep(path)
        fresh = f"{path}.{os.getpid()}.{os.urandom(4).hex()}.tmp"
        os.mkdir(fresh, 0o700)
        try:
            if fill is not None:
                fill(fresh)
            else:
                os.chown(fresh, wish.uid, wish.gid)
                os.chmod(fresh, wish.mode)
            os.rename(fresh, path)
        except BaseException:
            remove_tree(fresh)
            raise
    finally:
        os.close(place)


def _truth(text: str, name: str, place: Place) -> bool:
    if text.lower() in ("true", "1", "t", ""):
        return True
    if text.lower() in ("false", "0", "f"):
        return False
    raise failure(place, f"--mount: {name}={text} is neither true nor false")


def _number(text: str, name: str, place: Place, base: int = 10) -> int:
    try:
        number = int(text, base)
    except ValueError:
        number = -1
    if not 0 <= number <= (0o7777 if base == 8 else 2**32 - 2):
        raise failure(place, f"--mount: {name}={text} is no number it can have")
    return number


def _bytes(text: str, place: Place) -> int:
    if not text:
        return 0
    match = _SIZE.match(text)
    if match is None:
        raise failure(place, f"--mount: size={text} is no size", hint="like 64m")
    return int(match[1]) << {"": 0, "b": 0, "k": 10, "m": 20, "g": 30}[match[2].lower()]


def absolute(workdir: str, target: str) -> str:
    """A target below the working directory, normal."""
    return "/" + normpath(f"/{target}" if target.startswith("/") else f"/{workdir}/{target}").lstrip("/")
