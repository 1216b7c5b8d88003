"""A bundle made by hand: busybox as root filesystem, a config.json like the engine's, started by the runtime itself."""

from __future__ import annotations

import json
import marshal
import os
import select
import shutil
from pathlib import Path
from typing import Any

from pyctr.core.linux.namespaces import pidfd_open
from pyctr.core.runtime import attach, defaults, launch, sync
from pyctr.core.runtime.launch import Launched

from .host import Host

BUSYBOX = "/bin/busybox"
APPLETS = (
    "sh ls cat echo true false sleep id mount ps env grep head tail kill stty tty readlink stat touch mkdir hostname dd"
)


def gone(pid: int) -> None:
    """Wait for a process's end by its pidfd."""
    try:
        fd = pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([fd], [], [], 20)[0], f"{pid} is still there"
    finally:
        os.close(fd)


class Result:
    """How a container ended and what it said."""

    def __init__(self, exit: dict[str, Any], out: str, err: str, launched: Launched) -> None:
        self.code: int = exit["code"]
        self.exit = exit
        self.out = out
        self.err = err
        self.launched = launched

    def __repr__(self) -> str:
        return f"<{self.code} {self.out!r} {self.err!r}>"


class Bundle:
    """`rootfs` may be changed before a start; `state` is a record like the engine's, without the engine."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.id = "c" + os.path.basename(host.base)
        self.path = Path(host.base) / "bundle"
        self.rootfs = self.path / "rootfs"
        for name in ("bin", "etc", "proc", "sys", "dev", "tmp"):
            (self.rootfs / name).mkdir(parents=True)
        shutil.copy(BUSYBOX, self.rootfs / "bin/busybox")
        for name in APPLETS.split():
            (self.rootfs / "bin" / name).symlink_to("busybox")
        (self.rootfs / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nsam:x:1000:1001::/home/sam:/bin/sh\n")
        (self.rootfs / "etc/group").write_text("root:x:0:\nsam:x:1001:\nstaff:x:50:sam\n")
        self.state = self.path / "state.json"
        self.group = f"/{host.paths.cgroup_parent}/{self.id}"
        self.run_directory = host.paths.runtime(self.id)
        self.heard = {sync.STDOUT: b"", sync.STDERR: b""}

    def config(self, *args: str, **changes: Any) -> dict[str, Any]:
        """`changes` go into "process" or "linux", whichever has (or may have) the key."""
        kept = list(defaults.CAPABILITIES)
        process: dict[str, Any] = {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": list(args),
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": {"bounding": kept, "effective": kept, "permitted": kept},
            "noNewPrivileges": True,
        }
        linux: dict[str, Any] = {
            "namespaces": [{"type": kind} for kind in defaults.NAMESPACES],
            "maskedPaths": list(defaults.MASKED_PATHS),
            "readonlyPaths": list(defaults.READONLY_PATHS),
            "resources": {},
        }
        document = {
            "ociVersion": "1.2.0",
            "process": process,
            "root": {"path": "rootfs", "readonly": False},
            "hostname": "inside",
            "mounts": [
                {"destination": destination, "type": kind, "source": source, "options": list(options)}
                for destination, kind, source, options in defaults.MOUNTS
            ],
            "linux": linux,
        }
        for key, value in changes.items():
            if key in ("terminal", "user", "env", "cwd", "capabilities", "noNewPrivileges", "rlimits", "oomScoreAdj"):
                process[key] = value
            elif key in document:
                document[key] = value
            else:
                linux[key] = value
        return document

    def start(self, config: dict[str, Any], *, spec: dict[str, Any] | None = None, **wishes: Any) -> Launched:
        self.state.write_text(
            json.dumps({"id": self.id, "name": "n", "created_at": 0, "desired": "running", "spec": spec or {}})
        )
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = {
            "id": self.id,
            "name": "n",
            "bundle": str(self.path),
            "state": str(self.state),
            "run": self.run_directory,
            "paths": self.host.paths.to_dict(),
            "group": self.group,
            "log": {"path": str(self.path / "log/ctr.log"), "max_size": 1 << 20, "max_files": 2},
            **wishes,
        }
        try:
            return launch.start(config, wanted, lock_fd=lock)
        finally:
            os.close(lock)

    def run(
        self, *args: str, input: bytes | None = None, wishes: dict[str, Any] | None = None, **changes: Any
    ) -> Result:
        """Start attached, wait for the end."""
        launched = self.start(
            self.config(*args, **changes), attach=True, open_stdin=input is not None, **(wishes or {})
        )
        if input is not None:
            launched.channel.send(sync.frame(sync.STDIN, input))
            launched.channel.send(sync.frame(sync.STDIN))
        return self.finish(launched)

    def hear(self, launched: Launched, words: str) -> None:
        """Read until stdout (or a terminal) has said so."""
        while words.encode() not in self.heard[sync.STDOUT]:
            kind, payload = launched.channel.receive()
            assert kind in self.heard, f"ended with {self.heard}"
            self.heard[kind] += payload

    def finish(self, launched: Launched) -> Result:
        """Read until the shim has closed, that is until it has cleaned up and ended."""
        exit = None
        while True:
            try:
                kind, payload = launched.channel.receive()
            except EOFError:
                break
            if kind in self.heard:
                self.heard[kind] += payload
            elif kind == sync.EXITED:
                exit = marshal.loads(payload)
        heard, self.heard = self.heard, {sync.STDOUT: b"", sync.STDERR: b""}
        assert exit is not None, f"the shim died; {heard}"
        launched.close()
        self.wait_for_shim(launched)
        return Result(exit, heard[sync.STDOUT].decode(), heard[sync.STDERR].decode(), launched)

    def kill(self, launched: Launched) -> Result:
        """SIGKILL for its first process."""
        os.kill(launched.pid, 9)
        return self.finish(launched)

    def wait_for_shim(self, launched: Launched) -> None:
        """A launcher's child, or our own."""
        gone(launched.shim_pid)

    def shell(self, script: str, **changes: Any) -> Result:
        return self.run("sh", "-c", script, **changes)

    def connect(self) -> attach.Connection:
        return attach.connect(self.host.paths, self.id)

    def execute(self, *args: str, **request: Any) -> tuple[int, str, str]:
        connection = self.connect()
        try:
            connection.execute(list(args), **request)
            code, out, err = connection.result()
        finally:
            connection.close()
        return code, out.decode(), err.decode()

    def record(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.state.read_text())
        return document

    def log(self) -> list[str]:
        """Lines as logged, without time stamps."""
        return [line.split(" ", 1)[1] for line in (self.path / "log/ctr.log").read_text().splitlines()]
