"""`pyctr-runtime`: the OCI runtime command line over the same core (runtime-spec, runtime.md; flags as runc has them).

Containers of this command live below --root (<run>/runtime), apart from the engine's. One directory each:
state.json, lock, run/shim.sock.
"""

from __future__ import annotations

import os
import sys

from pyctr import __version__
from pyctr.core import errors, fsutil
from pyctr.core.fsutil import Lock
from pyctr.core.paths import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import Any

VERSION = "1.2.0"
"""Of the runtime-spec."""


class Runtime:
    """The containers below one root."""

    def __init__(self, root: str, paths: Paths) -> None:
        self.root = root
        self.paths = paths

    def directory(self, id: str) -> str:
        if not id or not all(sign.isalnum() or sign in "_+-." for sign in id) or id in (".", ".."):
            raise errors.UsageError(f"bad container id '{id}'", hint="letters, digits, '_', '+', '-', '.'")
        return f"{self.root}/{id}"

    def record(self, id: str) -> dict[str, Any]:
        try:
            document: dict[str, Any] = fsutil.read_json(f"{self.directory(id)}/state.json")
        except FileNotFoundError:
            raise errors.NotFound(f"container '{id}' does not exist", hint="'pyctr-runtime list' has all") from None
        return document

    def state(self, id: str) -> dict[str, Any]:
        """The document of `state` (runtime.md, "State")."""
        from pyctr.core.linux import procfs

        record = self.record(id)
        process = record.get("process")
        alive = process is not None and procfs.alive(process["pid"], process["start_time"], self.paths.proc)
        status = "stopped" if process is None or not alive else "created" if record.get("held") else "running"
        if status == "running" and self.group(record).frozen():
            status = "paused"
        return {
            "ociVersion": VERSION,
            "id": id,
            "status": status,
            "pid": process["pid"] if process is not None and alive else 0,
            "bundle": record["bundle"],
            "annotations": record.get("annotations") or {},
        }

    def group(self, record: dict[str, Any]) -> Any:
        from pyctr.core.runtime.ops_cgroup import manager

        return manager(record["group"], self.paths.cgroup_root)

    def launch(self, words: argparse.Namespace, *, created: bool) -> Any:
        """Make the container of a bundle; with `created` up to just before its command."""
        from pyctr.core.runtime import check, launch

        directory = self.directory(words.id)
        bundle = os.path.abspath(words.bundle)
        config = check.load(f"{bundle}/config.json")
        for warning in check.config(config):
            print(f"pyctr-runtime: warning: {warning}", file=sys.stderr)
        fsutil.make_private_directory(self.root)
        try:
            os.mkdir(directory, 0o700)
        except FileExistsError:
            raise errors.Conflict(
                f"container '{words.id}' exists", hint=f"'pyctr-runtime delete {words.id}' removes it"
            ) from None
        lock = Lock(f"{directory}/lock")
        try:
            lock.__enter__()
            linux = config.get("linux") or {}
            group = linux.get("cgroupsPath") or f"/{self.paths.cgroup_parent}/{words.id}"
            if ":" in group:
                # systemd's "slice:prefix:name"
                group = f"/{self.paths.cgroup_parent}/{group.rpartition(':')[2]}"
            group = "/" + group.strip("/")
            record = {"id": words.id, "bundle": bundle, "group": group, "annotations": config.get("annotations") or {}}
            fsutil.write_json(f"{directory}/state.json", record, durable=False)
            terminal = bool((config.get("process") or {}).get("terminal"))
            wishes = {
                "id": words.id,
                "name": words.id,
                "bundle": bundle,
                "state": f"{directory}/state.json",
                "run": f"{directory}/run",
                "group": group,
                "cgroup_root": self.paths.cgroup_root,
                "created": created,
                "attach": not created and terminal,
                "open_stdin": terminal,
                "console_socket": getattr(words, "console_socket", ""),
                "seccomp": self._seccomp(config),
            }
            launched = launch.start(config, wishes, lock_fd=lock.fd, stdio=() if terminal else (0, 1, 2))
        except BaseException:
            fsutil.remove_tree(directory)
            raise
        finally:
            lock.release()
        if words.pid_file:
            fsutil.write_atomic(words.pid_file, str(launched.pid).encode(), mode=0o644, durable=False)
        return launched

    def _seccomp(self, config: dict[str, Any]) -> bytes | None:
        profile = (config.get("linux") or {}).get("seccomp")
        if not profile:
            return None
        from pyctr.core.linux import seccomp

        kept = ((config.get("process") or {}).get("capabilities") or {}).get("bounding") or []
        return seccomp.compiled(profile, frozenset(kept), self.paths.cache)

    def delete(self, id: str, force: bool) -> None:
        try:
            status = self.state(id)["status"]
        except errors.NotFound:
            if force:
                return
            raise
        record = self.record(id)
        group = self.group(record)
        if status not in ("stopped", "created") and not force:
            raise errors.IllegalTransition(
                f"cannot delete container '{id}': it is {status}", hint="kill it, or --force"
            )
        if group.exists():
            group.kill()
        self._shim_gone(record)
        if group.exists():
            group.remove()
        fsutil.remove_tree(self.directory(id))

    def _shim_gone(self, record: dict[str, Any]) -> None:
        from pyctr.core.linux import namespaces, procfs

        process = record.get("process")
        if process is None or not procfs.alive(process["shim_pid"], process["shim_start_time"], self.paths.proc):
            return
        import select

        try:
            fd = namespaces.pidfd_open(process["shim_pid"])
        except ProcessLookupError:
            return
        try:
            select.select([fd], [], [], 10)
        finally:
            os.close(fd)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: of the container for `run`, of the process for `exec`."""
    words = _parser().parse_args(argv)
    paths = Paths.from_environment()
    runtime = Runtime(words.root or f"{paths.run}/runtime", paths)
    try:
        code: int = words.act(runtime, words)
        return code
    except errors.PyctrError as error:
        print(f"pyctr-runtime: {error}", file=sys.stderr)
        if error.hint:
            print(f"  hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"pyctr-runtime: {errors.from_oserror(error, words.verb)}", file=sys.stderr)
        return 1


def _create(runtime: Runtime, words: argparse.Namespace) -> int:
    runtime.launch(words, created=True).close()
    return 0


def _start(runtime: Runtime, words: argparse.Namespace) -> int:
    status = runtime.state(words.id)["status"]
    if status != "created":
        raise errors.IllegalTransition(f"cannot start container '{words.id}': it is {status}")
    connection = _connect(runtime, words.id)
    try:
        connection.start()
    finally:
        connection.close()
    return 0


def _run(runtime: Runtime, words: argparse.Namespace) -> int:
    launched = runtime.launch(words, created=False)
    if words.detach:
        launched.close()
        return 0
    from pyctr.core import execution

    terminal = bool((fsutil.read_json(f"{runtime.record(words.id)['bundle']}/config.json")["process"]).get("terminal"))
    session = execution.Session(launched.channel, tty=terminal, stdin=terminal, sig_proxy=True, detach_keys=b"")
    end = session.run()
    if not words.keep:
        runtime.delete(words.id, True)
    return 0 if end is None else int(end["code"])


def _state(runtime: Runtime, words: argparse.Namespace) -> int:
    import json

    print(json.dumps(runtime.state(words.id), indent=2))
    return 0


def _kill(runtime: Runtime, words: argparse.Namespace) -> int:
    from pyctr.core import signals
    from pyctr.core.linux import namespaces

    number = signals.number(words.signal)
    state = runtime.state(words.id)
    if state["status"] == "stopped":
        raise errors.IllegalTransition(f"cannot kill container '{words.id}': it is stopped")
    if words.all:
        runtime.group(runtime.record(words.id)).kill(number)
        return 0
    fd = namespaces.pidfd_open(state["pid"])
    try:
        namespaces.pidfd_send_signal(fd, number)
    finally:
        os.close(fd)
    return 0


def _delete(runtime: Runtime, words: argparse.Namespace) -> int:
    runtime.delete(words.id, words.force)
    return 0


def _exec(runtime: Runtime, words: argparse.Namespace) -> int:
    from pyctr.core import execution, starting

    connection = _connect(runtime, words.id)
    size = starting.winsize() if words.tty else None
    facts = connection.execute(
        words.command,
        env=words.env,
        cwd=words.cwd,
        user=words.user,
        tty=words.tty,
        stdin=not words.detach,
        detach=words.detach,
        winsize=size,
    )
    if words.pid_file:
        fsutil.write_atomic(words.pid_file, str(facts["pid"]).encode(), mode=0o644, durable=False)
    if words.detach:
        connection.close()
        return 0
    end = execution.Session(connection, tty=words.tty, stdin=True, sig_proxy=True, detach_keys=b"").run()
    return 0 if end is None else int(end["code"])


def _list(runtime: Runtime, words: argparse.Namespace) -> int:
    try:
        ids = sorted(os.listdir(runtime.root))
    except FileNotFoundError:
        ids = []
    states = []
    for id in ids:
        try:
            states.append(runtime.state(id))
        except errors.NotFound:
            continue  # being made or removed right now
    if words.format == "json":
        import json

        print(json.dumps(states))
        return 0
    if not words.quiet:
        print(f"{'ID':<24} {'PID':>8} {'STATUS':<8} BUNDLE")
    for state in states:
        print(
            state["id"]
            if words.quiet
            else f"{state['id']:<24} {state['pid']:>8} {state['status']:<8} {state['bundle']}"
        )
    return 0


def _connect(runtime: Runtime, id: str) -> Any:
    from pyctr.core.runtime import attach

    runtime.record(id)
    return attach.connect_directory(f"{runtime.directory(id)}/run")


def _parser() -> argparse.ArgumentParser:
    import argparse

    parser = argparse.ArgumentParser(prog="pyctr-runtime", description="OCI runtime on pyctr's core")
    parser.add_argument("--root", default="", help="where the containers of this command are recorded")
    parser.add_argument("--log", default="", help=argparse.SUPPRESS)
    parser.add_argument("--log-format", default="", help=argparse.SUPPRESS)
    parser.add_argument("--systemd-cgroup", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(
        "--version", "-v", action="version", version=f"pyctr-runtime version {__version__}, spec {VERSION}"
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, act: Any, help: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=help)
        added.set_defaults(act=act)
        return added

    for name, act, help in (
        ("create", _create, "make a container, up to just before its command"),
        ("run", _run, "create, start, wait, delete"),
    ):
        making = verb(name, act, help)
        making.add_argument("-b", "--bundle", default=".", help="directory of config.json")
        making.add_argument("--pid-file", default="", help="write the pid of the first process there")
        making.add_argument("--console-socket", default="", help="unix socket that gets the terminal's master")
        if name == "run":
            making.add_argument("-d", "--detach", action="store_true", help="do not wait")
            making.add_argument("--keep", action="store_true", help="do not delete it at the end")
        making.add_argument("id")
    for name, act, help in (
        ("start", _start, "run the command of a created container"),
        ("state", _state, "the state as JSON"),
    ):
        verb(name, act, help).add_argument("id")
    killing = verb("kill", _kill, "send a signal to the first process")
    killing.add_argument("-a", "--all", action="store_true", help="to every process")
    killing.add_argument("id")
    killing.add_argument("signal", nargs="?", default="TERM")
    deleting = verb("delete", _delete, "remove a stopped container")
    deleting.add_argument("-f", "--force", action="store_true", help="kill it first")
    deleting.add_argument("id")
    executing = verb("exec", _exec, "run a further process in a running container")
    executing.add_argument("-t", "--tty", action="store_true", help="with a terminal")
    executing.add_argument("-d", "--detach", action="store_true", help="do not wait")
    executing.add_argument("-e", "--env", action="append", default=[], help="NAME=VALUE")
    executing.add_argument("-u", "--user", default="", help="UID[:GID] or a name")
    executing.add_argument("--cwd", default="", help="working directory")
    executing.add_argument("--pid-file", default="", help="write the pid there")
    executing.add_argument("id")
    executing.add_argument("command", nargs=argparse.REMAINDER)
    listing = verb("list", _list, "all containers of this root")
    listing.add_argument("-q", "--quiet", action="store_true", help="ids only")
    listing.add_argument("-f", "--format", choices=("table", "json"), default="table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
