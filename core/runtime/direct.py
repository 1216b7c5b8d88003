"""Containers without a shim: the caller's own process makes init its child, records it and ends.

    create   plan, host operations, clone; init makes everything and waits at its gate; the record; end
    start    opens the gate and hears what becomes of it

`direct_delete` has the end of it, `direct_exec` further processes.
Whoever is the nearest subreaper above (conmon, containerd's shim) gets init as its child. See `gate` for the waiting.
"""

from __future__ import annotations

import os
import time

from pyctr.core import errors, fsutil
from pyctr.core.runtime import gate, ocistate
from pyctr.core.runtime.ocistate import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from pyctr.core.paths import Paths
    from pyctr.core.runtime.context import Context
    from pyctr.core.runtime.plan import Plan

    Warn = Callable[[str], None]


class Order:
    """What the command line says about a create."""

    bundle = "."
    pid_file = ""
    console_socket = ""
    kept = 0
    pivot = True
    keyring = True
    winsize: tuple[int, int] | None = None
    """Rows and columns of the caller's own terminal."""
    environment: list[str] = []
    """On top of the configuration's."""
    held = True
    """Wait for `start`; else the command runs at once."""
    began: Callable[[int], None] | None = None
    """Told the pid of the process as soon as there is one."""
    detached = True
    """The caller ends, so a terminal needs somebody else who serves it."""
    config: dict[str, Any] = {}
    """Of the bundle, see `read`."""
    seccomp: bytes | None = None
    systemd = False
    """Its cgroup is a scope that systemd makes."""
    rootless = True
    """An ordinary user's may do without a cgroup."""
    departs = False
    """Its init ends without an interpreter, see `ops_depart`; else ours has to be read-only."""


def read(order: Order, paths: Paths, warn: Warn) -> None:
    """The bundle's configuration into `order`. Raises UsageError and others for what cannot be carried out."""
    from pyctr.core.runtime import check, ops_depart

    order.bundle = os.path.abspath(order.bundle)
    order.config = config = check.load(f"{order.bundle}/config.json")
    for warning in check.config(config):
        warn(warning)
    check_terminal(bool((config.get("process") or {}).get("terminal")), order.detached, order.console_socket)
    if order.environment:
        config["process"]["env"] = [*(config["process"].get("env") or []), *order.environment]
    order.seccomp = _seccomp(config, paths)
    order.departs = ops_depart.possible(config, order.seccomp)


def create(container: Container, order: Order, paths: Paths, warn: Warn) -> Context:
    """Make the container of a bundle that was `read`, as far as `order` says. After an error nothing of it is left.

    Its process is our child; its terminal's master, if nobody else got it, is `streams[0]` of the result.
    """
    lock = container.make()
    try:
        context = _create(container, order, paths)
        for warning in context.warnings:
            warn(warning)
    except BaseException:
        fsutil.remove_tree(container.directory)
        raise
    finally:
        lock.release()
    return context


def check_terminal(terminal: bool, detached: bool, console_socket: str) -> None:
    if terminal and detached and not console_socket:
        raise errors.UsageError("cannot allocate a terminal without --console-socket: nobody would serve it")
    if console_socket and not (terminal and detached):
        raise errors.UsageError("--console-socket is for a detached container with a terminal")


def _create(container: Container, order: Order, paths: Paths) -> Context:
    from pyctr.core.linux import procfs
    from pyctr.core.runtime import init, plan, start

    made = plan.build(order.config, wishes(container, order, paths))
    record = new_record(container, order, paths, made)

    def meanwhile(context: Context) -> None:
        """On record before it is ready: whatever happens to us, `delete` finds it."""
        if order.began is not None:
            order.began(context.pid)
        record.update(pid=context.pid, start_time=procfs.start_time(context.pid) or 0)
        container.write(record)
        container.keep_process(process_document(order.config, order.seccomp), record)

    init.load(terminal=made.terminal, seccomp=order.seccomp is not None)
    container.write(record)  # killed from here on, `delete` knows which group to look for
    try:
        context, _ = start.start(made, stdio=None if made.terminal else stdio(), meanwhile=meanwhile)
    except start.Failed as failed:
        start.raise_failure(failed.report)
        raise
    try:
        if order.console_socket:
            hand_over(order.console_socket, context)
        del record["creating"]
        container.write(record)
        if order.pid_file:
            write_pid(order.pid_file, context.pid)
        if not order.held:
            poststart(container, record)
        elif order.departs and context.manager is not None:
            from pyctr.core.runtime import plain

            if line := plain.line(record, order.config, context.manager):
                plain.write(container.directory, line)
    except BaseException:
        start.undo(context, made.host)
        raise
    return context


def wishes(container: Container, order: Order, paths: Paths) -> dict[str, Any]:
    """Of `plan.build`."""
    linux = order.config.get("linux") or {}
    scope: dict[str, Any] | None = None
    group = group_of(linux, container.id, paths)
    if order.systemd:
        from pyctr.core.cgroups import scope as systemd

        slice, unit = systemd.parse(linux.get("cgroupsPath") or "", container.id)
        group = systemd.group(slice, unit)
        properties = systemd.annotated(order.config.get("annotations") or {})
        scope = {"unit": unit, "slice": slice, "properties": properties}
    ordinary = order.rootless and _ordinary()
    if ordinary and not order.systemd:
        from pyctr.core.cgroups import absent

        if absent.needed(paths.cgroup_root, group):
            absent.check(order.config)
            scope = {"absent": 0}
    wanted: dict[str, Any] = {
        "id": container.id,
        "bundle": order.bundle,
        "group": group,
        "scope": scope,
        "cgroup_root": paths.cgroup_root,
        "gate": container.directory if order.held else "",
        "depart": order.departs,
        "keep_fds": order.kept,
        "no_pivot": not order.pivot,
        "keep_keyring": not order.keyring,
        "counted": True,
        "untimed": True,
        "seccomp": order.seccomp,
    }
    if ordinary:
        from pyctr.core.linux import caps

        wanted["weak"] = not caps.get()[0] & caps.mask(["CAP_SYS_ADMIN"])
    if order.winsize is not None:
        wanted["winsize"] = order.winsize
    return wanted


def _ordinary() -> bool:
    """Whether the caller is not the host's root, though perhaps that of a user namespace (podman's without root)."""
    if os.geteuid() != 0:
        return True
    with open("/proc/self/uid_map", "rb", buffering=0) as file:
        return file.read().split() != [b"0", b"0", b"4294967295"]


def new_record(container: Container, order: Order, paths: Paths, made: Plan) -> dict[str, Any]:
    """What is kept of a container, but for its process."""
    from pyctr.core.linux import procfs

    config, bundle = order.config, order.bundle
    return {
        "id": container.id,
        "bundle": bundle,
        "rootfs": os.path.normpath(os.path.join(bundle, (config.get("root") or {}).get("path") or "rootfs")),
        "created": _now(),
        "owner": _owner(),
        "version": config.get("ociVersion") or "1.0.0",
        "annotations": config.get("annotations") or {},
        "group": made.wishes["group"],
        "scope": made.wishes["scope"],
        "cgroup_root": paths.cgroup_root,
        "boot_id": procfs.boot_id(),
        "hooks": {name: listed for name, listed in (config.get("hooks") or {}).items() if name.startswith("post")},
        "own": made.own,
        "creating": True,
    }


def process_document(config: dict[str, Any], seccomp: bytes | None) -> dict[str, Any]:
    """What an exec begins with."""
    return {"process": config["process"], "linux": _process_part(config.get("linux") or {}), "seccomp": seccomp}


def _process_part(linux: dict[str, Any]) -> dict[str, Any]:
    part: dict[str, Any] = {
        key: linux[key] for key in ("personality", "memoryPolicy", "mountLabel", "uidMappings") if key in linux
    }
    if profile := linux.get("seccomp"):
        # the program is kept compiled; this is who listens, and how
        notified = any(rule["action"] == "SCMP_ACT_NOTIFY" for rule in profile.get("syscalls") or [])
        part["seccomp"] = {key: profile.get(key) for key in ("flags", "listenerPath", "listenerMetadata")}
        part["seccomp"]["syscalls"] = [{"action": "SCMP_ACT_NOTIFY"}] if notified else []
    return part


def group_of(linux: dict[str, Any], id: str, paths: Paths) -> str:
    """The path below every hierarchy's root (config-linux.md, "Control groups")."""
    group: str = linux.get("cgroupsPath") or f"/{paths.cgroup_parent}/{id}"
    if ":" in group:
        # systemd's "slice:prefix:name"
        group = f"/{paths.cgroup_parent}/{group.rpartition(':')[2]}"
    return "/" + group.strip("/")


def _seccomp(config: dict[str, Any], paths: Paths) -> bytes | None:
    profile = (config.get("linux") or {}).get("seccomp")
    if not profile:
        return None
    from pyctr.core.linux import seccomp

    kept = ((config.get("process") or {}).get("capabilities") or {}).get("bounding") or []
    try:
        return seccomp.compiled(profile, frozenset(kept), paths.cache)
    except ValueError as error:
        raise errors.UsageError(f"linux.seccomp: {error}") from error


def stdio() -> list[int]:
    """0, 1 and 2, each opened to nothing if the caller has closed it."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open("/dev/null", os.O_RDWR)
    return [0, 1, 2]


def _now() -> str:
    """RFC 3339 with nanoseconds."""
    now = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9)) + f".{now % 10**9:09d}Z"


def _owner() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def hand_over(path: str, context: Context) -> None:
    """The terminal's master to whoever serves it (runc's --console-socket)."""
    master, context.streams[0] = context.streams[0], -1
    send_master(path, master)


def send_master(path: str, master: int) -> None:
    import _socket

    from pyctr.core.runtime import sync

    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        os.set_blocking(master, True)
        socket.connect(path)
        sync.Channel(socket).send(b"/dev/ptmx", (master,))
    except OSError as error:
        raise errors.RuntimeFailure(
            f"--console-socket: '{path}': {(error.strerror or str(error)).lower()}", hint="is somebody listening there?"
        ) from error
    finally:
        socket.close()
        os.close(master)


def write_pid(path: str, pid: int) -> None:
    try:
        # over an old one: see `write_atomic` for what that would cost
        fsutil.write_atomic(path, str(pid).encode(), mode=0o644, durable=False, throwaway=True)
    except OSError as error:
        raise errors.from_oserror(error, f"--pid-file: writing '{path}'") from error


def release(container: Container, warn: Warn) -> None:
    """Let a created container run. Raises IllegalTransition, or what its init said."""
    from pyctr.core.runtime import plain

    if told := plain.told():
        _refused(container, told)
    lock = container.lock()
    try:
        record = container.record()
        status = container.status(record, frozen=False)
        if status != ocistate.CREATED:
            raise errors.IllegalTransition(f"cannot start a container that is {status}: '{container.id}'")
        try:
            for kind, payload in gate.release(container.directory):
                if kind == gate.WARNING:
                    warn(payload.decode(errors="replace"))
                elif kind == gate.LISTENER:
                    _listener(container, record, payload)
                elif kind == gate.FAILED:
                    _refuse(payload)
                elif kind == gate.REFUSED:
                    _refused(container, payload)
        except OSError as error:
            raise errors.IllegalTransition(f"cannot start a container that is stopped: '{container.id}'") from error
        _check_executed(record)
        gate.remove(container.directory)
        poststart(container, record)
    finally:
        lock.release()


def _listener(container: Container, record: dict[str, Any], payload: bytes) -> None:
    """Raises RuntimeFailure after the container was killed."""
    from pyctr.core.runtime import ops_seccomp

    fd = container.open(record)
    try:
        ops_seccomp.hand_over(fd, record["pid"], payload)
    except errors.PyctrError:
        container.manager(record).kill()
        raise
    finally:
        os.close(fd)


def _refused(container: Container, payload: bytes) -> NoReturn:
    from pyctr.core.runtime import ops_depart

    raise ops_depart.refused(payload, container.process()["process"]["args"][0])


def _refuse(payload: bytes) -> None:
    from pyctr.core.runtime import start

    start.raise_failure(start.failed(payload).report)


def _check_executed(record: dict[str, Any]) -> None:
    from pyctr.core.linux import procfs

    try:
        found = procfs.stat(record["pid"])
    except (FileNotFoundError, ProcessLookupError):
        return  # it has run, ended, and been waited for by its parent
    if found.start_time == record["start_time"] and found.flags & 0x40:  # PF_FORKNOEXEC
        raise errors.RuntimeFailure("init died before exec", hint="killed, or is memory limited too tightly?")


def poststart(container: Container, record: dict[str, Any]) -> None:
    """Raises RuntimeFailure after the container was killed (config.md, "Poststart")."""
    listed = (record.get("hooks") or {}).get("poststart")
    if not listed:
        return
    from pyctr.core.runtime import hooks

    try:
        hooks.run(
            listed,
            ocistate.for_hooks(container, record, ocistate.RUNNING),
            name="poststart",
            directory=record["bundle"],
        )
    except errors.PyctrError:
        container.manager(record).kill()
        raise
