"""Containers to files and back, by criu (criu.org), with the images that runc makes and takes.

    <image path>/   criu's images, descriptors.json: where 0, 1 and 2 of the first process went
    <work path>/    dump.log, restore.log

What is the host's in a container is told to criu, both ways, by names that do not change: bind mounts and masks by
where they are, namespaces that others made, pipes that lead out. All else it makes anew: namespaces, mounts, memory.
"""

from __future__ import annotations

import json
import os
import stat

from pyctr.core import errors, fsutil
from pyctr.core.linux import mountinfo
from pyctr.core.runtime import criu, direct, ocistate
from pyctr.core.runtime.ocistate import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.core.paths import Paths

    Warn = Callable[[str], None]

_EXTERNAL = {"network": ("net", "extRootNetNS"), "pid": ("pid", "extRootPidNS")}
_DESCRIPTORS = "descriptors.json"


class Order:
    """What the command line says, for both directions."""

    image_path = "checkpoint"
    work_path = ""
    parent_path = ""
    program = "criu"
    leave_running = False
    pre_dump = False
    tcp_established = False
    ext_unix_sk = False
    shell_job = False
    file_locks = False
    auto_dedup = False
    lazy_pages = False
    status_fd = -1
    page_server = ""
    cgroups_mode = "soft"
    empty_ns: list[str] = []
    lsm_profile = ""


def checkpoint(container: Container, order: Order, warn: Warn) -> None:
    """Into `order.image_path`. The container is deleted then, unless it is to run on.

    Raises IllegalTransition, Unsupported, and RuntimeFailure with what criu says: the container runs on then.
    """
    program = criu.find(order.program)
    lock = container.lock()
    try:
        record = container.record()
        status = container.status(record)
        if status not in (ocistate.RUNNING, ocistate.PAUSED):
            raise errors.IllegalTransition(f"cannot checkpoint a container that is {status}: '{container.id}'")
        config = _config(record["bundle"])
        manager = container.manager(record)
        values = _values(order, config)
        values |= {
            "pid": record["pid"],
            "root": record["rootfs"],
            "leave_running": order.leave_running,
            "log_file": "dump.log",
            "external": _dumped(record["pid"], config),
        }
        if manager.mode == "v2":
            # frozen as a whole: nobody is born meanwhile
            values["freeze_cgroup"] = manager.unified
        if order.page_server:
            address, _, port = order.page_server.rpartition(":")
            values["ps"] = {"address": address, "port": int(port)}
        if order.parent_path:
            values["parent_img"] = order.parent_path
        if order.pre_dump:
            values["track_mem"] = True
        with _Directories(order, values) as directories:
            if not order.pre_dump:
                _write_descriptors(directories.images, record["pid"])
            kind = criu.PRE_DUMP if order.pre_dump else criu.DUMP
            criu.talk(program, kind, values, inherited=[], log=f"{directories.work}/dump.log")
    finally:
        lock.release()
    if not (order.leave_running or order.pre_dump):
        from pyctr.core.runtime import direct_delete

        direct_delete.delete(container, force=True, warn=warn)


def restore(container: Container, order: Order, wanted: direct.Order, paths: Paths, warn: Warn) -> tuple[int, int]:
    """A new container of images and of the bundle that was `read` into `wanted`: (pid, terminal's master or -1).

    Its first process is our child. Raises Conflict, Unsupported, RuntimeFailure; nothing is left then.
    """
    program = criu.find(order.program)
    if not os.path.isdir(order.image_path):
        raise errors.NotFound(f"no such directory '{order.image_path}'", hint="--image-path names what checkpoint made")
    lock = container.make()
    try:
        return _restore(container, order, wanted, paths, warn, program)
    except BaseException:
        fsutil.remove_tree(container.directory)
        raise
    finally:
        lock.release()


def _restore(
    container: Container, order: Order, wanted: direct.Order, paths: Paths, warn: Warn, program: str
) -> tuple[int, int]:
    from pyctr.core.linux import procfs
    from pyctr.core.runtime import hooks, plan

    config, bundle = wanted.config, wanted.bundle
    linux = config.get("linux") or {}
    made = plan.build(config, direct.wishes(container, wanted, paths))
    record = direct.new_record(container, wanted, paths, made)
    manager = container.manager(record)
    held: list[int] = []
    master = -1
    pid = 0

    def notified(name: str, about: int, descriptors: list[int]) -> None:
        nonlocal master, pid
        if name == "orphan-pts-master" and descriptors:
            master = descriptors[0]
        elif name == "setup-namespaces":
            hooked = config.get("hooks") or {}
            state = hooks.state(record["version"], container.id, "creating", about, bundle, record["annotations"])
            for kind in ("prestart", "createRuntime"):
                hooks.run(hooked.get(kind) or [], state, name=kind, directory=bundle)
        elif name == "post-restore":
            # on record before it runs
            pid = about
            record.update(pid=about, start_time=procfs.start_time(about) or 0)
            container.write(record)

    # before anything is taken back: a group that is there already is somebody else's
    manager.create(plan._resources(linux.get("resources") or {}))
    try:
        values = _values(order, config)
        values |= {
            "root": _root(container, record["rootfs"]),
            "rst_sibling": True,
            "log_file": "restore.log",
            "external": _restored(config, bundle, manager),
        }
        if order.lsm_profile:
            values["lsm_profile"] = order.lsm_profile
        if order.cgroups_mode != "ignore":
            values["cg_root"] = [{"path": manager.group}]
        inherited = _pipes(order.image_path)
        for kind, (_, key) in _EXTERNAL.items():
            if path := _joined(config, kind):
                held.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
                inherited.append((key, held[-1]))

        def before(criu_pid: int) -> None:
            if order.cgroups_mode == "ignore":
                manager.join(criu_pid)

        with _Directories(order, values) as directories:
            answer = criu.talk(
                program,
                criu.RESTORE,
                values,
                inherited=inherited,
                before=before,
                notified=notified,
                log=f"{directories.work}/restore.log",
            )
        manager.occupied()
        pid = pid or answer
        del record["creating"]
        record.update(pid=pid, start_time=procfs.start_time(pid) or 0)
        container.write(record)
        container.keep_process(direct.process_document(config, wanted.seccomp), record)
        if wanted.console_socket and master >= 0:
            sent, master = master, -1
            direct.send_master(wanted.console_socket, sent)
        if wanted.pid_file:
            direct.write_pid(wanted.pid_file, pid)
        direct.poststart(container, record)
    except BaseException:
        if manager.exists():
            manager.kill()
            manager.remove()
        raise
    finally:
        for fd in held:
            os.close(fd)
        _remove_root(container)
    return pid, master


class _Directories:
    """Of images and of logs, open for criu while it works."""

    def __init__(self, order: Order, values: dict[str, Any]) -> None:
        self.images = os.path.abspath(order.image_path)
        self.work = os.path.abspath(order.work_path) if order.work_path else self.images
        self._values = values
        self._held: list[int] = []

    def __enter__(self) -> _Directories:
        for field, path in (("images_dir_fd", self.images), ("work_dir_fd", self.work)):
            try:
                os.makedirs(path, 0o700, exist_ok=True)
                self._held.append(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            except OSError as error:
                raise errors.from_oserror(error, f"opening '{path}'") from error
            self._values[field] = self._held[-1]
        return self

    def __exit__(self, *error: object) -> None:
        for fd in self._held:
            os.close(fd)


def _values(order: Order, config: dict[str, Any]) -> dict[str, Any]:
    """Options of both directions."""
    from pyctr.core.linux import namespaces

    values: dict[str, Any] = {
        "log_level": 4,
        "notify_scripts": True,
        "evasive_devices": True,
        "link_remap": True,
        "manage_cgroups": True,
        "manage_cgroups_mode": criu.CGROUP_MODES[order.cgroups_mode],
        "orphan_pts_master": bool((config.get("process") or {}).get("terminal")),
    }
    for name in ("tcp_established", "ext_unix_sk", "shell_job", "file_locks", "auto_dedup", "lazy_pages"):
        if getattr(order, name):
            values[name] = True
    if order.status_fd >= 0:
        values["status_fd"] = order.status_fd
    if order.empty_ns:
        values["empty_ns"] = sum({namespaces.FLAGS[name] for name in order.empty_ns})
    return values


def _config(bundle: str) -> dict[str, Any]:
    from pyctr.core.runtime import check

    return check.load(f"{bundle}/config.json")


def _joined(config: dict[str, Any], kind: str) -> str:
    """The path of a namespace that is somebody else's."""
    for entry in (config.get("linux") or {}).get("namespaces") or []:
        if entry.get("type") == kind:
            return str(entry.get("path") or "")
    return ""


def _binds(config: dict[str, Any], bundle: str) -> list[tuple[str, str]]:
    """(place inside, source on the host) of mounts that are files and directories of the host."""
    found = []
    for entry in config.get("mounts") or []:
        if entry.get("type") == "bind" or {"bind", "rbind"}.intersection(entry.get("options") or []):
            place = os.path.normpath("/" + entry["destination"].strip("/"))
            found.append((place, os.path.join(bundle, entry.get("source") or "")))
    return found


def _mounted(pid: int) -> dict[str, tuple[str, str]]:
    """Place inside -> (file system, root of the mount in it), of a process."""
    return {mount.target: (mount.fstype, mount.root) for mount in mountinfo.read(pid)}


def _dumped(pid: int, config: dict[str, Any]) -> list[str]:
    """What criu must not try to save: NAME[what it is now]:name of it on restore."""
    mounted = _mounted(pid)
    places = [place for place, _ in _binds(config, "/") if place in mounted]
    masked = (config.get("linux") or {}).get("maskedPaths") or []
    places += [place for place in masked if mounted.get(place, ("", ""))[1] == "/null"]
    places += [place for place, (kind, _) in mounted.items() if kind == "cgroup"]
    external = [f"mnt[{place}]:{place}" for place in dict.fromkeys(places)]
    for kind, (name, key) in _EXTERNAL.items():
        if path := _joined(config, kind):
            external.append(f"{name}[{os.stat(path).st_ino}]:{key}")
    return external


def _restored(config: dict[str, Any], bundle: str, manager: Any) -> list[str]:
    places = dict(_binds(config, bundle))
    for place in (config.get("linux") or {}).get("maskedPaths") or []:
        places.setdefault(place, "/dev/null")
    for entry in config.get("mounts") or []:
        if entry.get("type") == "cgroup":
            for name, directory in manager.paths().items():
                if name != "unified":
                    top = directory[: -len(manager.group)]
                    places[f"{entry['destination'].rstrip('/')}/{os.path.basename(top)}"] = directory
    return [f"mnt[{place}]:{source}" for place, source in places.items()]


def _root(container: Container, rootfs: str) -> str:
    """The root as a mount point of its own, which criu wants, in a mount namespace of ours that ends with us."""
    from pyctr.core.linux import const, mount, namespaces

    namespaces.unshare(const.CLONE_NEWNS)
    mount.mount("", "/", "", const.MS_REC | const.MS_SLAVE, "")
    place = f"{container.directory}/root"
    os.mkdir(place, 0o700)
    mount.mount(rootfs, place, "", const.MS_BIND | const.MS_REC, "")
    return place


def _remove_root(container: Container) -> None:
    from pyctr.core.linux import const, mount

    place = f"{container.directory}/root"
    if os.path.isdir(place):
        mount.umount(place, const.MNT_DETACH)
        os.rmdir(place)


def _write_descriptors(images: str, pid: int) -> None:
    """Names of 0, 1 and 2, for a restore that has other pipes."""
    names = [os.readlink(f"/proc/{pid}/fd/{fd}") if os.path.lexists(f"/proc/{pid}/fd/{fd}") else "" for fd in (0, 1, 2)]
    fsutil.write_atomic(f"{images}/{_DESCRIPTORS}", json.dumps(names).encode(), mode=0o600)


def _pipes(images: str) -> list[tuple[str, int]]:
    """(name of a pipe that led out, what takes its place): our own 0, 1 and 2."""
    try:
        with open(f"{images}/{_DESCRIPTORS}", "rb") as file:
            names = json.load(file)
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise errors.UsageError(f"'{images}/{_DESCRIPTORS}' is not JSON: {error}") from error
    found = []
    for fd, name in enumerate(names if isinstance(names, list) else []):
        if isinstance(name, str) and name.startswith("pipe:") and stat.S_ISFIFO(os.fstat(fd).st_mode):
            found.append((name, fd))
    return found
