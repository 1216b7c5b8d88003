"""How well a container is shut in, by the practices of the field: what was read in, findings out. Nothing is read here.

The practices: not root, no more capabilities than needed, no new privileges, a seccomp filter, namespaces of its own, a
read-only root, nothing of the host's to write to, no socket of an engine, no devices, limits, no secrets in its
environment, a small image (CIS Docker Benchmark 4 and 5; the Kubernetes pod security standards). Each finding says what
would be the flag of `run` for it.
"""

from __future__ import annotations

from typing import NamedTuple

from pyctr.core.linux.capnames import NAMES, number
from pyctr.core.runtime.defaults import CAPABILITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyctr.core.confinement import Confinement, Shown

BAD, WARN, NOTE, GOOD = "bad", "warn", "note", "good"
LEVELS = (BAD, WARN, NOTE, GOOD)
"""Worst first. `bad` is a way to the host; `warn` a wall that is missing where another still stands."""

_DEFAULT = sum(1 << number(name) for name in CAPABILITIES)
_ESCAPES = {
    "CAP_SYS_ADMIN": "mounts and much else of the kernel",
    "CAP_SYS_MODULE": "loads code into the kernel",
    "CAP_SYS_RAWIO": "memory and ports of the machine",
    "CAP_DAC_READ_SEARCH": "opens files of the host by handle",
    "CAP_SYS_PTRACE": "other processes' memory",
    "CAP_BPF": "programs in the kernel",
    "CAP_SYS_BOOT": "reboots the host",
    "CAP_MAC_ADMIN": "changes the security policy",
    "CAP_PERFMON": "watches the whole host",
}
_SHARING = {
    "pid": (BAD, "sees and signals the host's processes", "without --pid host"),
    "net": (BAD, "uses the host's network, local services included", "without --network host"),
    "mnt": (BAD, "sees the host's files", "a container of its own"),
    "ipc": (WARN, "shares memory and queues with the host", "without --ipc host"),
    "uts": (NOTE, "may rename the host", "without --uts host"),
    "cgroup": (NOTE, "sees where it is in the host's cgroups", "--cgroupns private"),
}
_SYSTEM = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/sbin", "/sys", "/usr")
"""Who writes below these owns the host."""
_WHOLE = ("/", "/home", "/run", "/var", "/var/lib", "/var/run", "/var/lib/docker", "/var/lib/kubelet")
"""Likewise these as a whole."""
_VOLUMES = ("/volumes/", "/volume-subpaths/", "/secrets/")
_SOCKETS = ("docker.sock", "containerd.sock", "crio.sock", "podman.sock", "buildkitd.sock", "system_bus_socket")
_RAW = frozenset(("mem", "kmem", "port", "kmsg", "nvram"))


class Finding(NamedTuple):
    kind: str
    level: str
    title: str
    evidence: str = ""
    fix: str = ""
    """A flag of `pyctr run` (Docker's), or a few words; "" where nothing is to be done."""


def judge(it: Confinement) -> tuple[Finding, ...]:
    """Every practice, worst first; of what could not be read, nothing."""
    found = [finding for rule in _RULES for finding in rule(it)]
    return tuple(sorted(found, key=lambda finding: LEVELS.index(finding.level)))


def worst(findings: Iterable[Finding]) -> str:
    """The level of the worst one."""
    return min((finding.level for finding in findings), key=LEVELS.index, default=GOOD)


def _own_users(it: Confinement) -> bool:
    return it.shared is not None and "user" not in it.shared


def _user(it: Confinement) -> Iterable[Finding]:
    who = f"uid {it.uid}" if it.inner_uid in (None, it.uid) else f"uid {it.inner_uid}, on the host {it.uid}"
    if it.uid == 0 and not _own_users(it):
        alone = "" if it.shared is None else ", no user namespace"
        yield Finding("user", WARN, "runs as root", who + alone, "--user 1000")
    elif it.uid == 0:
        yield Finding("user", WARN, "is root on the host", who, "a mapping that leaves the host's root out")
    else:
        yield Finding("user", GOOD, "not root on the host", who)


def _capabilities(it: Confinement) -> Iterable[Finding]:
    have = it.capabilities.get("effective", 0)
    # those of a user namespace of its own reach no farther than that
    grave = NOTE if _own_users(it) else BAD
    if have & it.known == it.known:
        yield Finding("privileged", grave, "privileged", f"all {have.bit_count()} capabilities", "without --privileged")
        return
    dangerous = [name for name in _ESCAPES if have >> number(name) & 1]
    if len(dangerous) == 1:
        short = _short(dangerous[0])
        yield Finding("escape", grave, f"{short} is a way out", _ESCAPES[dangerous[0]], f"--cap-drop {short}")
    elif dangerous:
        names = list(map(_short, dangerous))
        yield Finding("escape", grave, "capabilities that lead out", _few(names), f"--cap-drop {','.join(names)}")
    more = have & ~_DEFAULT & ~sum(1 << number(name) for name in dangerous)
    if more:
        yield Finding("capabilities", WARN, "more capabilities than usual", _names(more), "without --cap-add")
    elif have & _DEFAULT == _DEFAULT:
        yield Finding(
            "capabilities", NOTE, "the usual capabilities", f"{have.bit_count()}", "--cap-drop all, and what it needs"
        )
    elif not dangerous:
        yield Finding("capabilities", GOOD, "capabilities dropped", _names(have) if have else "none")
    if it.capabilities.get("inheritable", 0) and not _own_users(it):
        held = _names(it.capabilities["inheritable"])
        yield Finding("inheritable", WARN, "inheritable capabilities", held, "an engine since CVE-2022-24769")


def _names(mask: int) -> str:
    bits = (bit for bit in range(mask.bit_length()) if mask >> bit & 1)
    return _few([_short(NAMES[bit]) if bit < len(NAMES) else f"cap_{bit}" for bit in bits])


def _short(name: str) -> str:
    return name.removeprefix("CAP_").lower()


def _privileges(it: Confinement) -> Iterable[Finding]:
    if it.no_new_privs is False:
        yield Finding("no_new_privs", WARN, "set-uid programs work", "", "--security-opt no-new-privileges")
    elif it.no_new_privs:
        yield Finding("no_new_privs", GOOD, "no new privileges")


def _seccomp(it: Confinement) -> Iterable[Finding]:
    if it.seccomp == 0:
        level = WARN if _own_users(it) else BAD
        yield Finding("seccomp", level, "no seccomp filter", "every system call", "without seccomp=unconfined")
    elif it.seccomp is not None:
        yield Finding("seccomp", GOOD, "system calls are filtered")


def _label(it: Confinement) -> Iterable[Finding]:
    if it.label and it.label.endswith("(complain)"):
        yield Finding("label", WARN, "its AppArmor profile forbids nothing", it.label, "an enforced apparmor=PROFILE")
    elif it.label:
        yield Finding("label", GOOD, "confined by the host's policy", it.label)
    elif it.modules and it.label is not None:
        yield Finding("label", WARN, "unconfined by AppArmor and SELinux", "", "--security-opt apparmor=PROFILE")


def _namespaces(it: Confinement) -> Iterable[Finding]:
    if it.shared is None:
        return
    bad = [kind for kind in _SHARING if kind in it.shared]
    for kind in bad:
        level, title, fix = _SHARING[kind]
        yield Finding("namespace", level, title, f"the host's {kind} namespace", fix)
    if not bad:
        yield Finding("namespace", GOOD, "namespaces of its own")


def _root(it: Confinement) -> Iterable[Finding]:
    if it.readonly_root is False:
        yield Finding("root", NOTE, "its root can be written to", "", "--read-only")
    elif it.readonly_root:
        yield Finding("root", GOOD, "read-only root")


def is_system(path: str) -> bool:
    """Whether the host belongs to whoever writes there."""
    return path in _WHOLE or any(f"{path}/".startswith(f"{top}/") for top in _SYSTEM)


def _mounts(it: Confinement) -> Iterable[Finding]:
    if it.mounts is None:
        return
    for shown in it.mounts:
        where = f"{shown.path} at {shown.target}" if shown.path != shown.target else shown.path
        if finding := _shown(shown, where):
            yield finding
    if not any(shown.writable and not _volume(shown.path) for shown in it.mounts):
        yield Finding("mount", GOOD, "nothing of the host's to write to")


def _volume(path: str) -> bool:
    return any(word in f"{path}/" for word in _VOLUMES)


def _shown(shown: Shown, where: str) -> Finding | None:
    if shown.socket and shown.path.rpartition("/")[2] in _SOCKETS:
        # a read-only mount keeps nobody from connecting
        return Finding("socket", BAD, "commands the host's engine", where, "without that socket")
    if shown.writable and is_system(shown.path):
        return Finding("mount", BAD, "writes to the host's system", where, f"-v {shown.path}:{shown.target}:ro")
    if _volume(shown.path):
        return None
    if shown.writable and not shown.socket:
        return Finding("mount", NOTE, "writes to the host's files", where, f"-v {shown.path}:{shown.target}:ro")
    if shown.path in ("/", "/etc", "/root"):
        return Finding("mount", WARN, "reads the host's secrets", where, "a smaller part of it")
    return None


def _devices(it: Confinement) -> Iterable[Finding]:
    if it.devices is None:
        return
    raw = [name for name, block in it.devices if block or name in _RAW]
    rest = [name for name, block in it.devices if not block and name not in _RAW]
    if raw:
        yield Finding("device", WARN if _own_users(it) else BAD, "raw devices", _few(raw), "without these --device")
    if rest:
        yield Finding("device", NOTE, "devices", _few(rest), "without these --device")
    if not it.devices:
        yield Finding("device", GOOD, "no devices")


def _few(names: list[str]) -> str:
    return " ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _limits(it: Confinement) -> Iterable[Finding]:
    missing = [
        (name, flag)
        for name, flag, limit in (
            ("memory", "--memory 512m", it.memory_limit),
            ("processes", "--pids-limit 200", it.pids_limit),
            ("cpu", "--cpus 1", it.cpu_limit),
        )
        if limit is None
    ]
    if missing:
        # a missing bound for CPU slows others down; the other two end them
        level = NOTE if [name for name, _ in missing] == ["cpu"] else WARN
        names = " ".join(name for name, _ in missing)
        yield Finding("limits", level, "no limit", names, " ".join(flag for _, flag in missing))
    else:
        yield Finding("limits", GOOD, "limits are set")


def _secrets(it: Confinement) -> Iterable[Finding]:
    if it.secrets:
        yield Finding("secrets", WARN, "secrets in its environment", _few(list(it.secrets)), "--secret NAME")
    elif it.secrets is not None:
        yield Finding("secrets", GOOD, "no secrets in its environment")


def _image(it: Confinement) -> Iterable[Finding]:
    if it.packages:
        yield Finding("image", NOTE, "a package manager in its image", it.packages, "a smaller image")
    elif it.shell:
        yield Finding(
            "image", NOTE, "a shell in its image", it.shell, "an image without one; 'pyctr debug' works anyway"
        )
    elif it.shell is not None:
        yield Finding("image", GOOD, "no shell in its image")


_RULES: tuple[Callable[[Confinement], Iterable[Finding]], ...] = (
    _capabilities,
    _user,
    _namespaces,
    _mounts,
    _devices,
    _seccomp,
    _privileges,
    _label,
    _limits,
    _secrets,
    _root,
    _image,
)
