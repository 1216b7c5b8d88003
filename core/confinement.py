"""What confines a process: read from the kernel, not from what anybody asked for, so it is true of every engine's.

Sources: proc_pid_status(5), proc_pid_ns(5), proc_pid_mountinfo(5), user_namespaces(7), capabilities(7), seccomp(2).
What cannot be read (not ours to look at, or no such thing in this kernel) is None, never a guess.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from pyctr.core.linux import mountinfo, procfs
from pyctr.core.secretnames import USERINFO, is_secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.engine import Engine
    from pyctr.core.linux.mountinfo import Mount

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
"""`time` is shared by nearly everybody, and says nothing."""
_SETS = {"effective": "CapEff", "permitted": "CapPrm", "inheritable": "CapInh", "bounding": "CapBnd"}
_USUAL = frozenset(("null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"))
_NOT_FILES = frozenset(
    ("proc", "sysfs", "cgroup", "cgroup2", "mqueue", "devpts", "overlay", "securityfs", "debugfs", "tracefs", "bpf")
)
"""File systems of which a mount is no way to the host's files."""
_OWN = frozenset(("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/termination-log", "/run/.containerenv"))
"""Files that engines put into each container."""
_SHELLS = ("bin/sh", "bin/bash", "bin/busybox", "bin/ash", "usr/bin/sh", "usr/bin/bash", "busybox/sh")
_PACKAGES = ("usr/bin/apt-get", "sbin/apk", "usr/bin/dnf", "usr/bin/microdnf", "usr/bin/yum", "usr/bin/zypper")


class Shown(NamedTuple):
    """Something of the host's that is mounted in."""

    path: str
    """On the host."""
    target: str
    writable: bool
    socket: bool = False


class Confinement(NamedTuple):
    """Of one process. Sets of capabilities are bit masks; user ids are as our own user namespace counts them."""

    pid: int
    uid: int
    inner_uid: int | None
    """As its own user namespace counts."""
    capabilities: dict[str, int]
    known: int
    """Capabilities that somebody on this host can have."""
    no_new_privs: bool | None
    seccomp: int | None
    """0 none, 1 strict, 2 filters."""
    shared: tuple[str, ...] | None
    """Namespaces that are the host's, too."""
    label: str | None
    """Of AppArmor or SELinux; "" where it is unconfined."""
    modules: bool
    """Whether the host has AppArmor or SELinux."""
    readonly_root: bool | None
    mounts: tuple[Shown, ...] | None
    devices: tuple[tuple[str, bool], ...] | None
    """Beyond the usual: (name, whether it is a block device)."""
    shell: str | None
    packages: str | None
    """A shell and a package manager in its root file system; "" for none."""
    secrets: tuple[str, ...] | None
    """Variables of its environment that look like secrets: names only."""
    memory_limit: float | None = None
    pids_limit: float | None = None
    cpu_limit: float | None = None


def of(engine: Engine, pid: int, group: str) -> Confinement:
    """Of a container's process, with the limits of its cgroup ("/pyctr/<id>"). Raises OSError as `read` does."""
    if engine.recorded is not None and (told := engine.recorded.confinement(pid)) is not None:
        return told
    from pyctr.core.cgroupstats import Sampler

    sampler = Sampler(engine.layout, engine.paths.proc)
    try:
        sample = sampler.sample(group, fresh=True)
    finally:
        sampler.close()
    limits = (sample.memory_limit, sample.pids_limit, sample.cpu_limit)
    return read(pid, engine.paths.proc, limits=limits)


def read(
    pid: int, proc: str = "/proc", *, limits: tuple[float | None, float | None, float | None] = (None, None, None)
) -> Confinement:
    """`limits` of its cgroup: memory in bytes, processes, CPUs. Raises FileNotFoundError or ProcessLookupError when
    the process is gone."""
    status = procfs.status(pid, proc)
    uid = int(status["Uid"].split()[1])
    shared = _shared(pid, proc)
    root = _open(f"{proc}/{pid}/root")
    try:
        return Confinement(
            pid=pid,
            uid=uid,
            inner_uid=_inner(uid, pid, proc),
            capabilities={name: int(status[key], 16) for name, key in _SETS.items() if key in status},
            known=_known(proc),
            no_new_privs=status["NoNewPrivs"] == "1" if "NoNewPrivs" in status else None,
            seccomp=int(status["Seccomp"]) if "Seccomp" in status else None,
            shared=shared,
            label=_label(pid, proc),
            modules=_modules(),
            readonly_root=_readonly_root(pid, proc),
            mounts=() if shared is not None and "mnt" in shared else _mounts(pid, proc, root),
            devices=_devices(root),
            shell=_first(root, _SHELLS),
            packages=_first(root, _PACKAGES),
            secrets=_secrets(pid, proc),
            memory_limit=limits[0],
            pids_limit=limits[1],
            cpu_limit=limits[2],
        )
    finally:
        if root is not None:
            os.close(root)


def _open(path: str) -> int | None:
    try:
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None  # not ours to look at, or a recording, which has no such link


def _inner(uid: int, pid: int, proc: str) -> int | None:
    """user_namespaces(7): lines of (first id inside, first id in the reader's namespace, how many)."""
    try:
        with open(f"{proc}/{pid}/uid_map") as file:
            for line in file:
                inside, outside, count = map(int, line.split())
                if outside <= uid < outside + count:
                    return inside + uid - outside
    except (FileNotFoundError, PermissionError, ValueError):
        pass  # as if it had no mapping for it: nobody can say who it is inside
    return None


def _known(proc: str) -> int:
    """What the host's first process may have: a machine may be without some that its kernel knows."""
    try:
        return int(procfs.status(1, proc)["CapBnd"], 16)
    except (OSError, KeyError):
        from pyctr.core.linux.capnames import NAMES

        return (1 << len(NAMES)) - 1


def _shared(pid: int, proc: str) -> tuple[str, ...] | None:
    """The host's are those of its first process, which only root may look at; else our own, which are the same for
    whoever is not in a container."""
    if not os.path.isdir(f"{proc}/{pid}/ns"):
        return None  # a recording
    found = []
    for kind in NAMESPACES:
        try:
            its = os.readlink(f"{proc}/{pid}/ns/{kind}")
        except FileNotFoundError:
            continue  # a kernel without that kind
        except PermissionError:
            return None
        try:
            host = os.readlink(f"{proc}/1/ns/{kind}")
        except OSError:
            try:
                host = os.readlink(f"{proc}/self/ns/{kind}")
            except OSError:
                return None  # a recording without the host's
        if its == host:
            found.append(kind)
    return tuple(found)


def _label(pid: int, proc: str) -> str | None:
    """`docker-default (enforce)`, `system_u:system_r:container_t:s0`, "unconfined"."""
    for file in ("attr/apparmor/current", "attr/current"):
        try:
            with open(f"{proc}/{pid}/{file}", encoding="utf-8", errors="replace") as opened:
                text = opened.read().strip("\0\n ")
        except OSError:
            continue  # neither AppArmor nor SELinux answers here
        free = text in ("", "unconfined") or ":unconfined_t:" in text or text.endswith("(unconfined)")
        return "" if free else text
    return None


def _modules() -> bool:
    from pyctr.core.runtime import ops_labels

    # by what is there without securityfs, which nobody need have mounted
    return ops_labels.apparmor() or ops_labels.selinux()


def _readonly_root(pid: int, proc: str) -> bool | None:
    try:
        roots = [mount for mount in mountinfo.read(pid, proc) if mount.target == "/"]
    except OSError:
        return None
    return roots[-1].read_only if roots else None


def _mounts(pid: int, proc: str, root: int | None) -> tuple[Shown, ...] | None:
    """Mounts of file systems that the host has mounted, too: those are its files."""
    try:
        theirs, ours = mountinfo.read(pid, proc), mountinfo.read(1, proc)
    except PermissionError:
        try:
            theirs, ours = mountinfo.read(pid, proc), mountinfo.read("self", proc)
        except OSError:
            return None
    except OSError:
        return None
    found = []
    for mount in theirs:
        if mount.target == "/" or mount.fstype in _NOT_FILES or mount.target in _OWN:
            continue
        if (path := on_host(mount, ours)) is not None and not _is_device(mount, path):
            found.append(Shown(path, mount.target, not mount.read_only, _is_socket(root, mount.target)))
    return tuple(found)


def on_host(mount: Mount, host: list[Mount]) -> str | None:
    """Where the host sees what `mount` shows, by the longest way that it has mounted; None if it does not see it."""
    best: Mount | None = None
    for one in host:
        below = one.root.rstrip("/") + "/"
        shows = one.device == mount.device and f"{mount.root}/".startswith(below)
        if shows and (best is None or len(one.root) > len(best.root)):
            best = one
    if best is None:
        return None
    rest = mount.root[len(best.root.rstrip("/")) :].lstrip("/")
    return f"{best.target.rstrip('/')}/{rest}".rstrip("/") or "/"


def _is_device(mount: Mount, path: str) -> bool:
    """Nodes that are bound in one by one, which `_devices` finds."""
    return mount.fstype == "devtmpfs" or (mount.target.startswith("/dev/") and path.startswith("/dev/"))


def _inside(root: int, path: str, flags: int) -> int:
    from pyctr.core.linux.inroot import open_in

    return open_in(root, path, flags)


def _is_socket(root: int | None, target: str) -> bool:
    if root is None:
        return target.endswith(".sock")
    try:
        fd = _inside(root, target, os.O_PATH | os.O_NOFOLLOW)
    except OSError:
        return False  # covered by another mount
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    finally:
        os.close(fd)


def _devices(root: int | None) -> tuple[tuple[str, bool], ...] | None:
    if root is None:
        return None
    try:
        fd = _inside(root, "dev", os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return ()
    found = []
    try:
        with os.scandir(fd) as entries:
            for entry in entries:
                try:
                    mode = entry.stat(follow_symlinks=False).st_mode
                except OSError:
                    continue  # it has gone meanwhile
                if (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)) and entry.name not in _USUAL:
                    found.append((entry.name, stat.S_ISBLK(mode)))
    except OSError:
        return None
    finally:
        os.close(fd)
    return tuple(sorted(found))


def _first(root: int | None, paths: tuple[str, ...]) -> str | None:
    if root is None:
        return None
    for path in paths:
        try:
            os.close(_inside(root, path, os.O_PATH))
        except OSError:
            continue
        return f"/{path}"
    return ""


def _secrets(pid: int, proc: str) -> tuple[str, ...] | None:
    try:
        with open(f"{proc}/{pid}/environ", "rb") as file:
            environment = file.read()
    except OSError:
        return None
    found = []
    for entry in environment.split(b"\0"):
        name, _, value = entry.partition(b"=")
        word = name.decode("utf-8", "replace")
        # NAME_FILE is the field's way to say where a secret lies
        named = is_secret(word, surely=True) and not word.upper().endswith("_FILE")
        if value and (named or USERINFO.search(value.decode("utf-8", "replace"))):
            found.append(word)
    return tuple(sorted(found))
