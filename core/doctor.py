"""What this host can do for containers, and what to do about what it cannot.

Each finding is one question with an answer in words; a bad one has a hint. Nothing here changes the host.
"""

from __future__ import annotations

import os

from pyctr.core import fsutil
from pyctr.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyctr.core.engine import Engine

GOOD = "good"
WARNING = "warning"
BAD = "bad"


class Finding(Record):
    """`level` is good, warning (something will be missing) or bad (containers will not start)."""

    topic: str
    level: str
    text: str
    hint: str = ""


def examine(engine: Engine) -> list[Finding]:
    """All findings, in the order a person would look. Never raises: what cannot be found out is a finding."""
    found: list[Finding] = []
    for topic, question in _QUESTIONS:
        try:
            found += [Finding(topic=topic, level=level, text=text, hint=hint) for level, text, hint in question(engine)]
        except Exception as error:
            found.append(Finding(topic=topic, level=WARNING, text=f"cannot be found out: {error}"))
    return found


def worst(findings: list[Finding]) -> str:
    levels = {finding.level for finding in findings}
    return next(level for level in (BAD, WARNING, GOOD) if level in levels or level == GOOD)


def _privileges(engine: Engine) -> Iterator[tuple[str, str, str]]:
    if os.geteuid() == 0:
        from pyctr.core.linux import caps

        effective, _, _ = caps.get()
        wanted = ["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_PTRACE", "CAP_MKNOD", "CAP_DAC_OVERRIDE"]
        missing = [name for name in wanted if not effective & caps.mask([name])]
        if missing:
            yield BAD, f"root without {' '.join(missing)}", "run outside of a confined container or service"
        else:
            yield GOOD, "root", ""
    else:
        yield BAD, "not root: containers can be looked at, not started", "sudo pyctr ..."


def _kernel(engine: Engine) -> Iterator[tuple[str, str, str]]:
    release = os.uname().release
    major, minor = (
        int("".join(sign for sign in part if sign.isdigit()) or 0) for part in f"{release}.0".split(".")[:2]
    )
    if (major, minor) < (5, 7):
        yield BAD, f"Linux {release}: clone3, openat2 or the cgroup kill path is missing", "5.10 or newer"
    elif (major, minor) < (5, 14):
        yield WARNING, f"Linux {release}: recursive read-only mounts and cgroup.kill are missing", "5.14 or newer"
    else:
        yield GOOD, f"Linux {release} on {os.uname().machine}", ""


def _cgroups(engine: Engine) -> Iterator[tuple[str, str, str]]:
    layout = engine.layout
    yield GOOD, {"v1": "v1", "v2": "v2", "hybrid": "v1 controllers with a v2 tree beside them"}[layout.mode], ""
    wanted = {"cpu": "--cpus", "memory": "--memory", "pids": "--pids-limit", "cpuset": "--cpuset-cpus"}
    for controller, flag in wanted.items():
        if not layout.version(controller):
            yield WARNING, f"no {controller} controller: {flag} will fail", _enable(controller, layout.unified)
    io = layout.version("io") or layout.version("blkio")
    if not io:
        yield WARNING, "no io controller: block I/O limits will fail", _enable("io", layout.unified)
    if layout.mode == "v1":
        yield WARNING, "no v2 tree: no pressure (PSI) per container", "mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified"
    if layout.mode != "v2" and not layout.version("freezer"):
        yield WARNING, "no freezer: pause will fail", ""


def _enable(controller: str, unified: str) -> str:
    return (
        f"echo +{controller} > {unified}/cgroup.subtree_control" if unified else f"boot with cgroup_enable={controller}"
    )


def _pressure(engine: Engine) -> Iterator[tuple[str, str, str]]:
    if os.path.exists(f"{engine.paths.proc}/pressure/cpu"):
        yield GOOD, "pressure stall information is there", ""
    else:
        yield WARNING, "no pressure stall information", "a kernel with CONFIG_PSI=y, booted with psi=1"


def _storage(engine: Engine) -> Iterator[tuple[str, str, str]]:
    root = engine.paths.root
    probe = root
    while not os.path.isdir(probe):
        probe = os.path.dirname(probe)
    if not os.access(probe, os.W_OK):
        yield BAD, f"'{probe}' is not writable", "run as root, or choose another place with PYCTR_ROOT"
        return
    with open(f"{engine.paths.proc}/filesystems") as file:
        overlay = "overlay" in file.read().split()
    driver = engine.storage.driver() if os.geteuid() == 0 and os.path.isdir(root) else ""
    yield _driver(probe, root, driver or ("overlay" if overlay else "vfs"), overlay)
    from pyctr.core.linux import quota

    if quota.counted(probe):
        yield GOOD, "project quotas: --storage-opt size= limits what a container writes", ""
    free = os.statvfs(probe)
    free_bytes = free.f_bavail * free.f_frsize
    level = BAD if free_bytes < 100 << 20 else WARNING if free_bytes < 1 << 30 else GOOD
    hint = "" if level == GOOD else "'pyctr system prune', or another place with PYCTR_ROOT"
    yield level, f"{free_bytes / (1 << 30):.1f} GiB free for '{root}'", hint
    if free.f_favail and free.f_favail < 10_000:
        yield WARNING, f"only {free.f_favail} inodes free", "images need thousands of files"


def _driver(probe: str, root: str, driver: str, overlay: bool) -> tuple[str, str, str]:
    """What containers are made with, and what would be better."""
    from pyctr.core.linux import zfs

    if driver == "overlay":
        return GOOD, "overlayfs", ""
    if driver in ("btrfs", "zfs"):
        return GOOD, f"{driver} snapshots", ""
    why = f"overlayfs cannot mount below '{root}'" if overlay else "no overlayfs"
    then = "fuse-overlayfs does, and is slower" if driver == "fuse-overlayfs" else "every container copies its image"
    better = "ext4, xfs or btrfs" + ("" if driver == "fuse-overlayfs" else ", or install fuse-overlayfs")
    if zfs.is_zfs(probe):
        if not zfs.program():
            better = "zfsutils-linux, the program 'zfs' for snapshots; or OpenZFS 2.2, which overlayfs mounts on"
            return WARNING, f"{why}, which is zfs without the program for it: {then}", better
        better = "the right to make datasets here; or OpenZFS 2.2, which overlayfs mounts on"
        return WARNING, f"{why}, which is zfs, and no dataset can be made there: {then}", better
    return WARNING, f"{why}: {then}", better if overlay else "modprobe overlay"


def _namespaces(engine: Engine) -> Iterator[tuple[str, str, str]]:
    directory = f"{engine.paths.proc}/self/ns"
    missing = [
        kind for kind in ("pid", "net", "mnt", "uts", "ipc", "cgroup") if not os.path.exists(f"{directory}/{kind}")
    ]
    if missing:
        yield BAD, f"no {' '.join(missing)} namespaces", "a kernel with CONFIG_NAMESPACES and its parts"
    else:
        yield GOOD, "pid net mnt uts ipc cgroup", ""
    if not os.path.exists(f"{directory}/user"):
        yield WARNING, "no user namespaces", "CONFIG_USER_NS=y"
    else:
        limit = _number(f"{engine.paths.proc}/sys/user/max_user_namespaces")
        if limit == 0:
            yield WARNING, "user namespaces are turned off", "sysctl user.max_user_namespaces=15000"
    if not os.path.exists(f"{directory}/time"):
        yield WARNING, "no time namespaces", "Linux 5.6 or newer with CONFIG_TIME_NS=y"


def _seccomp(engine: Engine) -> Iterator[tuple[str, str, str]]:
    try:
        with open(f"{engine.paths.proc}/sys/kernel/seccomp/actions_avail") as file:
            actions = file.read().split()
    except FileNotFoundError:
        yield BAD, "no seccomp filters", "a kernel with CONFIG_SECCOMP_FILTER=y, or --security-opt seccomp=unconfined"
        return
    yield GOOD, f"filters, with {' '.join(actions)}", ""


def _network(engine: Engine) -> Iterator[tuple[str, str, str]]:
    sys_net = f"{engine.paths.sys}/class/net"
    bridge = f"{sys_net}/{engine.paths.bridge}"
    if os.path.isdir(bridge):
        yield GOOD, f"bridge {engine.paths.bridge} is up", ""
    elif os.path.isdir(f"{engine.paths.sys}/module/bridge") or _module(engine, "bridge"):
        yield GOOD, f"bridge {engine.paths.bridge} will be made at the first start", ""
    else:
        yield WARNING, "no bridges in this kernel: only --network none and host", "modprobe bridge"
    if not (os.path.isdir(f"{engine.paths.sys}/module/veth") or _module(engine, "veth")):
        yield WARNING, "no veth pairs in this kernel", "modprobe veth"
    forward = _number(f"{engine.paths.proc}/sys/net/ipv4/ip_forward")
    if forward == 0:
        yield GOOD, "ip_forward is off; the first container on a bridge turns it on", ""
    for memory, sysctl in (("ip_forward", "net.ipv4.ip_forward"), ("ip6_forward", "net.ipv6.conf.all.forwarding")):
        try:
            before = fsutil.read_json(f"{engine.paths.run}/networks/{memory}")
        except OSError:
            continue  # it was on already
        if before == "0":
            yield GOOD, f"{sysctl} was {before} and is on for containers", "'pyctr network prune --all' gives it back"


def _firewall(engine: Engine) -> Iterator[tuple[str, str, str]]:
    from pyctr.core import firewall

    if os.geteuid() == 0 and engine.paths.proc == "/proc":
        there = firewall.spoken()
    else:
        there = os.path.isdir(f"{engine.paths.sys}/module/nf_tables") or _module(engine, "nf_tables")
    if there:
        yield GOOD, "nf_tables", ""
    else:
        from pyctr.core import iptables

        if not iptables.usable():
            yield WARNING, "no nf_tables: no published ports and no way out for containers", "modprobe nf_tables"
            return
        yield GOOD, "no nf_tables, but iptables", "published ports take some milliseconds; modprobe nf_tables"
    from pyctr.core import ruleview

    if os.geteuid() == 0 and engine.paths.proc == "/proc":
        for chain in ruleview.blockers():
            yield WARNING, f"chain '{chain}' drops what is forwarded", "accept the containers' bridges there"
        if os.path.isdir(f"{engine.paths.run}/networks"):
            for name in engine.networks.repair(dry=True):
                yield WARNING, f"rules of network '{name}' were taken out by somebody", "'pyctr network repair'"


def _limits(engine: Engine) -> Iterator[tuple[str, str, str]]:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    level = WARNING if 0 <= hard < 4096 else GOOD
    yield level, f"{soft} open files, at most {hard}", "ulimit -Hn 65536" if level == WARNING else ""
    for name, least in (
        ("fs/inotify/max_user_instances", 128),
        ("kernel/keys/maxkeys", 200),
        ("kernel/pid_max", 32768),
    ):
        value = _number(f"{engine.paths.proc}/sys/{name}")
        if value is not None and value < least:
            yield WARNING, f"{name.replace('/', '.')} is {value}", f"sysctl {name.replace('/', '.')}={least * 8}"


def _records(engine: Engine) -> Iterator[tuple[str, str, str]]:
    from pyctr.core import containers, pending

    broken = containers.broken(engine)
    for error in broken:
        yield WARNING, error.message, "remove that directory if you do not need the container"
    waiting = pending.ids(engine.paths)
    if waiting:
        yield (
            WARNING,
            f"{len(waiting)} containers are being worked on, or a pyctr was killed",
            "'pyctr ps' finishes them",
        )
    if not broken and not waiting:
        yield GOOD, f"{len(containers.ids(engine.paths))} containers, all readable", ""


def _number(path: str) -> int | None:
    try:
        with open(path) as file:
            return int(file.read().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _module(engine: Engine, name: str) -> bool:
    """Whether a module is built in or can be loaded."""
    release = os.uname().release
    for listing in ("modules.builtin", "modules.dep"):
        try:
            with open(f"/lib/modules/{release}/{listing}") as file:
                if f"/{name}.ko" in file.read():
                    return True
        except OSError:
            continue
    # without module lists (a kernel from outside) only trying would tell
    return not os.path.isdir(f"/lib/modules/{release}")


_QUESTIONS: list[tuple[str, Callable[[Engine], Iterator[tuple[str, str, str]]]]] = [
    ("privileges", _privileges),
    ("kernel", _kernel),
    ("cgroups", _cgroups),
    ("pressure", _pressure),
    ("storage", _storage),
    ("namespaces", _namespaces),
    ("seccomp", _seccomp),
    ("network", _network),
    ("firewall", _firewall),
    ("limits", _limits),
    ("records", _records),
]
