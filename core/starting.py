"""Starting a container: from its record to a running process, and back if a step fails.

The caller holds the container's lock. It travels to the shim with the plan, so that a client killed at any point leaves
either nothing started or a recorded running container.
"""

from __future__ import annotations

import os
import sys

from pyctr.core import birth, containers, errors, fsutil, pending, signals
from pyctr.core.runtime import defaults, oci
from pyctr.core.state import CREATED, CREATING, PAUSED, RUNNING
from pyctr.core.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.core.fsutil import Lock
    from pyctr.core.runtime.launch import Launched, Spawn


def start(
    container: Container,
    lock: Lock,
    recorder: birth.Recorder,
    *,
    attach: bool = False,
    spawn: Spawn | None = None,
    size: tuple[int, int] | None = None,
    meanwhile: Callable[[], None] | None = None,
    bound_to: dict[str, Any] | None = None,
) -> Launched:
    """Start an idle container and let its lock go. Raises RuntimeFailure, CommandNotFound, Conflict (a port), ...

    `bound_to` makes it a step of something bigger, in no image but with this image configuration: it is killed when the
    client goes.
    """
    from pyctr.core.runtime import launch

    engine, state = container.engine, container.state
    paths = engine.paths
    with pending.Mark(paths, container.id) as mark, Undo(mark.keep) as undo:
        if state.process is not None:
            from pyctr.core import repair

            # a shim that was killed cleans nothing up
            repair.remains(engine, state)
        fresh = state.desired == CREATING
        undo(_restore, container, CREATED if fresh else state.desired, state.network)
        recorder.skip()
        state.network = _attach(container)
        undo(_detach, container)
        if state.network.get("ports"):
            engine.networks.publish(state.network)
            recorder.step("ports", describe_ports(state.network["ports"]))
        state.desired = "running"
        config, wishes = document(container, image_config=bound_to)
        wishes["attach"] = attach
        wishes["bound"] = bound_to is not None
        if attach and container.spec.tty and (rows_and_columns := size or winsize()):
            wishes["winsize"] = rows_and_columns
        fsutil.write_json(container.path("config.json"), config, durable=False, throwaway=container.spec.auto_remove)
        containers.save_state(paths, state, durable=fresh)
        offset = recorder.now_us()
        launched = launch.start(config, wishes, lock_fd=lock.fd, spawn=spawn, meanwhile=meanwhile)
        recorder.add(launched.trace, offset)
        lock.release()
    try:
        birth.save(paths, recorder.certificate(container.id, container.name))
    except OSError:
        pass  # the disk is full, or it has ended and was removed already
    return launched


def document(
    container: Container, *, dry: bool = False, image_config: dict[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(config.json, wishes) of a container as it would start now. `dry` makes no files for it."""
    engine, state, spec = container.engine, container.state, container.spec
    paths = engine.paths
    if spec.network.startswith("container:") and not spec.uts and not dry:
        owner = _network_owner(container)
        # one address has one name
        spec = spec.replace(hostname=oci.hostname(owner.spec, owner.id) or os.uname().nodename)
    image_config = _image_config(container) if image_config is None else image_config
    join = {} if dry else joins(engine, container)
    rootfs = state.rootfs
    config = oci.config(
        spec,
        image_config,
        id=container.id,
        group=state.group,
        rootfs=container.path("rootfs"),
        volumes=state.volumes,
        files=_files(container, dry=dry),
        join={**join, "network": state.network["netns"]} if state.network.get("mode") == "cni" else join,
    )
    secrets: list[dict[str, Any]] = []
    if spec.secrets:
        from pyctr.core import secrets as store

        secrets = store.wishes(container.path(), spec.secrets)
    kept = frozenset(config["process"]["capabilities"]["bounding"])
    wishes = {
        "id": container.id,
        "name": container.name,
        "image": state.image_name,
        "labels": spec.labels,
        "bundle": container.path(),
        "state": container.path("state.json"),
        "run": paths.runtime(container.id),
        "paths": paths.to_dict(),
        "rootfs": rootfs,
        "secrets": secrets,
        "group": state.group,
        "network": state.network or None,
        "names": _names() if "resolver" in state.network else None,
        "join": join,
        "log": {"path": container.log_path, "max_size": spec.log_max_size, "max_files": spec.log_max_files},
        "init": spec.init,
        "open_stdin": spec.stdin_open,
        "attach": False,
        "restart": spec.restart or "no",
        "stop_signal": signals.number(spec.stop_signal or defaults.STOP_SIGNAL),
        "auto_remove": spec.auto_remove,
        "health": _health(container, image_config),
        "cleanup": _cleanup(container) if spec.auto_remove or state.network.get("ports") else [],
        "seccomp": None if dry else _seccomp(container, kept),
    }
    return config, wishes


def joins(engine: Engine, container: Container) -> dict[str, int]:
    """Namespace type -> pid of the container whose namespace is shared. Raises NotFound, IllegalTransition."""
    spec = container.spec
    found: dict[str, int] = {}
    for kind, text in (("network", spec.network), ("pid", spec.pid), ("ipc", spec.ipc), ("uts", spec.uts)):
        mark, _, ref = text.partition(":")
        if mark != "container":
            continue
        other = containers.find(engine, ref)
        if other.status not in (RUNNING, PAUSED):
            raise errors.IllegalTransition(
                f"cannot share the {kind} namespace of container '{other.name}': it is {other.status}",
                hint=f"'pyctr start {other.name}' first",
            )
        found[kind] = other.pid
    return found


def winsize() -> tuple[int, int] | None:
    """(rows, columns) of this process's terminal; None without one."""
    for fd in (0, 1, 2):
        try:
            columns, rows = os.get_terminal_size(fd)
        except OSError:
            continue  # no terminal
        if rows and columns:
            return rows, columns
    return None


def describe_ports(ports: list[dict[str, Any]]) -> str:
    return ", ".join(
        f"{port['host_ip'] or '0.0.0.0'}:{port['host_port']} → {port['container_port']}/{port['protocol']}"
        for port in ports
    )


def _detach(container: Container) -> None:
    """After a failed start: ports go back; the address stays with the container until it is removed."""
    if container.state.network.get("ports"):
        container.engine.networks.unpublish(container.state.network)


def _restore(container: Container, desired: str, network: dict[str, Any]) -> None:
    container.state.desired, container.state.network = desired, network
    containers.save_state(container.engine.paths, container.state)


def _image_config(container: Container) -> dict[str, Any]:
    """The image's configuration by digest: the name may mean another image by now."""
    engine = container.engine
    try:
        return engine.images.resolve(container.state.image_id).config
    except errors.ImageNotFound:
        # the image was removed by force: what the record and the last config.json say still starts it
        process = fsutil.read_json(container.path("config.json")).get("process") or {}
        return {"Cmd": container.state.command, "Env": process.get("env"), "WorkingDir": process.get("cwd")}


def _attach(container: Container) -> dict[str, Any]:
    """What the networks lease; nothing of them is imported where nothing is leased."""
    if container.spec.network in ("none", "host"):
        return {"mode": container.spec.network}
    return container.engine.networks.attach(container.id, container.name, container.spec)


def _network_owner(container: Container) -> Container:
    """The one whose network it has, if need be through others that share it, too."""
    passed = set()
    while container.spec.network.startswith("container:") and container.id not in passed:
        passed.add(container.id)
        container = containers.find(container.engine, container.spec.network.partition(":")[2])
    return container


def _files(container: Container, *, dry: bool) -> list[tuple[str, str]]:
    """hosts, hostname and resolv.conf, written now and mounted over the image's."""
    spec, attachment = container.spec, container.state.network
    mounted = {os.path.normpath(mount.target) for mount in spec.mounts}
    wanted = [name for name in ("hosts", "hostname", "resolv.conf") if f"/etc/{name}" not in mounted]
    mode = spec.network.partition(":")[0]
    owner = container
    if dry:
        pass
    elif mode == "container":
        # whoever shares a network shares its names
        owner = _network_owner(container)
    else:
        hostname = oci.hostname(spec, container.id) or os.uname().nodename
        if mode in ("none", "host"):
            _write_etc(container, attachment, hostname, wanted)
        else:
            container.engine.networks.write_etc(container.id, attachment, spec, hostname, wanted)
    return [(owner.path(name), f"/etc/{name}") for name in wanted]


def _write_etc(container: Container, attachment: dict[str, Any], hostname: str, wanted: list[str]) -> None:
    """The files of a container without neighbours: no lock, no book of leases."""
    from pyctr.core import etcfiles

    spec = container.spec
    for name in wanted:
        if name == "hosts":
            text = etcfiles.hosts(attachment, hostname, spec.add_hosts)
        elif name == "hostname":
            text = f"{hostname}\n"
        else:
            text = etcfiles.resolv_conf(attachment, spec.dns, spec.dns_search, spec.dns_options)
        path = container.path(name)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass  # the first start
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            os.fchmod(fd, 0o644)  # whatever the umask: the container's users read it
            os.write(fd, text.encode("utf-8", "surrogateescape"))
        finally:
            os.close(fd)


def _seccomp(container: Container, kept: frozenset[str]) -> bytes | None:
    from pyctr.core.linux import seccomp

    spec = container.spec
    choice = oci.security_options(spec.security_opt)["seccomp"]
    if choice == "unconfined" or (spec.privileged and not choice):
        return None
    try:
        return seccomp.compiled(choice or seccomp.DEFAULT, kept, container.engine.paths.cache)
    except FileNotFoundError:
        raise errors.UsageError(f"no seccomp profile '{choice}'", hint="a JSON file, or 'unconfined'") from None
    except ValueError as error:
        raise errors.UsageError(f"seccomp profile '{choice}': {error}") from error


def _names() -> dict[str, Any]:
    from pyctr.core import namerules

    return namerules.order(namerules.port())


def _health(container: Container, image_config: dict[str, Any]) -> dict[str, Any] | None:
    if container.spec.health is None:
        return None
    from pyctr.core import health

    return health.settings(container.spec.health, image_config.get("Shell"))


def _cleanup(container: Container) -> list[str]:
    """What the shim runs after the end: a fresh interpreter, without site and without the caller's environment."""
    import pyctr

    root = os.path.dirname(os.path.dirname(os.path.abspath(pyctr.__file__)))
    code = f"import sys; sys.path.insert(0, {root!r}); from pyctr.core.ending import main; main(sys.argv[1:])"
    words = [sys.executable, "-I", "-S", "-c", code, container.id]
    return [*words, *(f"{key}={value}" for key, value in container.engine.paths.to_dict().items())]
