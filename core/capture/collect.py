"""The files of a host that a screen may ask for, read now: {name in the recording: content}.

Only what is named here is ever packed; a container's own files, secrets, credentials and environments of processes are
not. What vanishes while it is read is left out, as if the look had come a moment later.
"""

from __future__ import annotations

import json
import os

from pyctr.core import containers, deaths, heaviest, hosthistory, redo, ring
from pyctr.core.capture import strangers
from pyctr.core.capture.moments import LINK
from pyctr.core.cgroups import read
from pyctr.core.engines import output
from pyctr.core.errors import PyctrError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyctr.core.capture.redact import Redactor
    from pyctr.core.engine import Engine
    from pyctr.core.engines.model import Foreign, Log

    Files = dict[str, bytes]

MOST = 4 << 20
"""Bytes of one file; longer ones end there."""
DOCUMENT = 1 << 20
"""Bytes of a blob that may be a manifest or a configuration."""
GROUPS = 4096
"""Below one container: somebody may make them without end."""
PIDS = 2000
_HOST = (
    *("stat", "meminfo", "loadavg", "uptime", "pressure/cpu", "pressure/memory", "pressure/io", "filesystems"),
    *("net/dev", "net/route", "net/fib_trie", "net/tcp", "net/tcp6", "net/udp", "net/udp6", "net/if_inet6"),
    *("sys/kernel/hostname", "sys/kernel/osrelease", "sys/kernel/random/boot_id", "sys/net/ipv4/ip_forward"),
)
_PROCESS = ("stat", "status", "comm", "cgroup")
_FIRST = ("mountinfo", "net/dev", "net/tcp", "net/tcp6", "net/udp", "net/udp6", "net/route", "net/fib_trie")
"""Of a container's first process: the others share them, or nearly."""
_GROUP = frozenset((
    "cgroup.controllers", "cgroup.subtree_control", "cgroup.events", "cgroup.freeze", "cgroup.procs", "cgroup.stat",
    "freezer.state", "tasks", "cpu.shares", "cpu.weight", "cpuset.cpus", "cpuset.mems", "memory.high", "memory.low",
    "memory.swap.max", "memory.soft_limit_in_bytes", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes",
    "memory.memsw.failcnt", "pids.events", "io.max",
))  # fmt: skip
"""What the manager reads; `cgroups.read` adds what the sampler does."""


class Collector:
    """Reads one engine's host again and again."""

    def __init__(self, engine: Engine, redactor: Redactor) -> None:
        self._engine = engine
        self._redactor = redactor
        layout = engine.layout
        readers = [*read.readers(layout, twin=True), *read.readers(layout, twin=False)]
        self._wanted = _GROUP | {file for _, _, file, _ in readers}
        self._mounts = sorted({mount for mount in (layout.unified, *layout.controllers.values()) if mount})
        self.containers: list[containers.Container] = []
        self.strangers: tuple[Foreign, ...] = ()
        """Of other engines; found anew by `look_around`."""

    def look_around(self) -> None:
        """Who else has containers here. Never raises: an engine whose records cannot be read is left out."""
        try:
            self.strangers = strangers.find(self._engine)
        except (OSError, PyctrError):
            self.strangers = ()

    def learn(self) -> None:
        """What must not be packed, before anything is."""
        engine, redactor = self._engine, self._redactor
        for document in self._documents():
            redactor.learn_document(document)
        groups = [container.state.group for container in self._alive()]
        groups += [one.group for one in self.strangers if one.running and one.group]
        for group in groups:
            for pid in self._pids(group):
                text = _read(f"{engine.paths.proc}/{pid}/environ") or b""
                redactor.learn_environment(one.decode("utf-8", "replace") for one in text.split(b"\0"))
        for directory in (f"{engine.paths.root}/secrets", *(one.path("secrets") for one in self.containers)):
            for path in _walk(directory):
                if not path.endswith(".json"):
                    redactor.learn((_read(path) or b"").decode("utf-8", "replace").splitlines())

    def moment(self) -> Files:
        """What changes all the time: the kernel's numbers, and how the containers are."""
        paths, files = self._engine.paths, self._files()
        for name in _HOST:
            files.take(f"proc/{name}", f"{paths.proc}/{name}")
        for link in _names(f"{paths.sys}/class/net"):
            # that there is such a file is what tells a bridge
            files.take(f"sys/class/net/{link}/bridge/bridge_id", f"{paths.sys}/class/net/{link}/bridge/bridge_id")
        for mount in self._mounts:
            top = self._top(mount)
            for name in ("cgroup.controllers", "cgroup.subtree_control"):
                files.take(f"{top}/{name}", f"{mount}/{name}")
            if f"{top}/cgroup.controllers" not in files:
                files[f"{top}/tasks"] = b""  # marks a v1 hierarchy; who is in its root is nobody's business
        self.containers = containers.all(self._engine)
        for container in self.containers:
            files.document(self._name(container, "state.json"), container.path("state.json"))
            process = container.state.process
            if process is not None:
                files.take(f"proc/{process.shim_pid}/stat", f"{paths.proc}/{process.shim_pid}/stat")
            health = f"containers/{container.id}/health.json"
            files.document(f"run/{health}", f"{paths.run}/{health}")
        for container in self._alive():
            self._running(files, container.state.group, container.pid)
        for one in self.strangers:
            if one.running and one.group:
                self._running(files, one.group, one.pid)
        return files

    def _running(self, files: _Files, group: str, first: int) -> None:
        """The cgroup and processes of one container."""
        proc = self._engine.paths.proc
        self._group(files, group)
        for pid in sorted({*self._pids(group), first} - {0}):
            for name in _PROCESS + (_FIRST if pid == first else ()):
                files.take(f"proc/{pid}/{name}", f"{proc}/{pid}/{name}")
            files.command(f"proc/{pid}/cmdline", f"{proc}/{pid}/cmdline")

    def rest(self) -> Files:
        """What hardly changes: containers' other records and history, images, volumes, networks."""
        redo.mend(self._engine.paths)
        paths, files = self._engine.paths, self._files()
        for container in self.containers:
            for name in ("config.json", "birth.json", "health.json"):
                files.document(self._name(container, name), container.path(name))
            for name in ("hosts", "hostname", "resolv.conf"):
                files.text(self._name(container, name), container.path(name))
            for name in (ring.FILE, heaviest.FILE):
                files.take(self._name(container, name), container.path(name))
            files.documents(self._name(container, deaths.DIRECTORY), container.path(deaths.DIRECTORY))
        files.documents(f"root/{deaths.DIRECTORY}", f"{paths.root}/{deaths.DIRECTORY}")
        files.take(f"root/{hosthistory.FILE}", hosthistory.place(paths))
        for directory in ("names", "layers/l"):
            files.links(f"root/{directory}", f"{paths.root}/{directory}")
        files.take("root/images/oci-layout", f"{paths.images}/oci-layout")
        files.document("root/images/index.json", f"{paths.images}/index.json")
        for path in _walk(f"{paths.images}/blobs"):
            if _size(path) <= DOCUMENT and (_read(path, 1) or b"") == b"{":
                files.document(f"root/images/{os.path.relpath(path, paths.images)}", path)
        for top, name in (("layers", "layer.json"), ("volumes", "volume.json")):
            for entry in _names(f"{paths.root}/{top}"):
                files.document(f"root/{top}/{entry}/{name}", f"{paths.root}/{top}/{entry}/{name}")
        files.documents("root/networks", paths.networks)
        return files

    def tails(self, size: int) -> Files:
        """The last `size` bytes of every log and of the journal, in whole lines."""
        files = self._files()
        for container in self.containers:
            files.tail(self._name(container, "log/ctr.log"), container.log_path, size)
        for one in self.strangers:
            if one.log.form and not one.log.why:
                files.printed(strangers.log_name(one), one.log, size)
        files.journal("root/events.jsonl", self._engine.paths.events, max(size, 1 << 16))
        return files

    # inside

    def _files(self) -> _Files:
        return _Files(self._redactor)

    def _name(self, container: containers.Container, name: str) -> str:
        return f"root/containers/{container.id}/{name}"

    def _top(self, mount: str) -> str:
        return os.path.normpath(f"cgroup/{os.path.relpath(mount, self._engine.paths.cgroup_root)}")

    def _alive(self) -> Iterator[containers.Container]:
        return (container for container in self.containers if container.pid)

    def _pids(self, group: str) -> list[int]:
        try:
            return sorted(self._engine.group(group).pids())[:PIDS]
        except OSError:
            return []  # it ended just now

    def _group(self, files: _Files, group: str) -> None:
        for mount in self._mounts:
            for seen, (directory, below, names) in enumerate(os.walk(mount + group)):
                if seen >= GROUPS:
                    below.clear()
                for name in sorted(self._wanted.intersection(names)):
                    files.take(f"{self._top(mount)}/{os.path.relpath(directory, mount)}/{name}", f"{directory}/{name}")

    def _documents(self) -> Iterator[Any]:
        """Every record that may have an environment."""
        self.containers = containers.all(self._engine)
        wanted = [one.path(name) for one in self.containers for name in ("state.json", "config.json")]
        blobs = _walk(f"{self._engine.paths.images}/blobs")
        wanted += [path for path in blobs if _size(path) <= DOCUMENT and (_read(path, 1) or b"") == b"{"]
        for path in wanted:
            try:
                yield json.loads(_read(path) or b"null")
            except (ValueError, RecursionError):
                continue  # no record: it is not packed either


class _Files(dict[str, bytes]):
    """What was read, redacted by what kind of file it is."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def take(self, name: str, path: str) -> None:
        """As it is: numbers."""
        if (content := _read(path)) is not None:
            self[name] = content

    def text(self, name: str, path: str) -> None:
        if (content := _read(path)) is not None:
            self[name] = self._redactor.raw(content)

    def command(self, name: str, path: str) -> None:
        """Words that end with NUL, proc_pid_cmdline(5)."""
        if (content := _read(path)) is not None:
            words = content.decode("utf-8", "surrogateescape").split("\0")
            self[name] = "\0".join(self._redactor.words(words)).encode("utf-8", "surrogateescape")

    def document(self, name: str, path: str) -> None:
        """JSON; what is none is left out."""
        content = _read(path)
        if content is None:
            return
        if not self._redactor.off:
            try:
                content = json.dumps(self._redactor.document(json.loads(content)), separators=(",", ":")).encode()
            except (ValueError, RecursionError):
                return  # half written, or broken: nobody could say what is in it
        self[name] = content

    def documents(self, name: str, directory: str) -> None:
        """Every one in a directory."""
        for entry in _names(directory):
            if entry.endswith(".json"):
                self.document(f"{name}/{entry}", f"{directory}/{entry}")

    def links(self, name: str, directory: str) -> None:
        """Every link in a directory that leads to a place beside it."""
        for entry in _names(directory):
            try:
                target = os.readlink(f"{directory}/{entry}")
            except OSError:
                continue  # no link
            if not target.startswith("/"):
                self[f"{name}/{entry}{LINK}"] = os.fsencode(target)

    def tail(self, name: str, path: str, size: int) -> None:
        """The last whole lines within so many bytes."""
        content = _end(path, size)
        if content is not None:
            self[name] = self._redactor.raw(content)

    def printed(self, name: str, where: Log, size: int) -> None:
        """The same of another engine's log, in our form: what is hidden of a line must not spoil its entry."""
        try:
            self[name] = self._redactor.raw(output.tail(where, size))
        except (OSError, PyctrError):
            pass  # not there, or nobody here can read it: then it was not recorded

    def journal(self, name: str, path: str, size: int) -> None:
        """The same of a file with a document on every line."""
        content = _end(path, size)
        if content is None:
            return
        if self._redactor.off:
            self[name] = content
            return
        out = []
        for line in content.splitlines():
            try:
                out.append(json.dumps(self._redactor.document(json.loads(line)), separators=(",", ":")).encode())
            except (ValueError, RecursionError):
                continue  # torn by a crash: readers leave it out, too
        self[name] = b"".join(line + b"\n" for line in out)


def _read(path: str, limit: int = MOST) -> bytes | None:
    """None for what is not there, not ours to read, or no regular file: a fifo must not keep us waiting."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if os.fstat(fd).st_mode & 0o170000 != 0o100000:
            return None
        out = b""
        while len(out) < limit and (piece := os.read(fd, min(1 << 18, limit - len(out)))):
            out += piece
        return out
    except OSError:
        return None  # it ended between the two calls, or the kernel has that switched off
    finally:
        os.close(fd)


def _end(path: str, size: int) -> bytes | None:
    try:
        with open(path, "rb") as file:
            whole = os.fstat(file.fileno()).st_size
            if whole > size:
                file.seek(whole - size)
                file.readline()
            return file.read(size)
    except OSError:
        return None


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return MOST + 1


def _names(directory: str) -> list[str]:
    """In order, without what is being made."""
    try:
        return sorted(name for name in os.listdir(directory) if not name.startswith("."))
    except OSError:
        return []


def _walk(directory: str) -> list[str]:
    """Regular files below, in order."""
    found: list[str] = []
    for top, _, names in os.walk(directory):
        found += [f"{top}/{name}" for name in names if not os.path.islink(f"{top}/{name}")]
    return sorted(found)
