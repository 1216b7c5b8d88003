"""From an OCI config.json and the engine's wishes to the ordered list of operations a start is.

`build` is pure; `Plan.describe` is the dry run, and the shim runs the same list. The order, inside:

    enter the cgroup       first, so that everything after it is accounted and limited
    cgroup namespace       its root is the group of this moment
    shared namespaces      user, ipc, uts, network; the mount namespace is our own
    names                  in the uts namespace
    root, mounts, devices  as root of the host's procfs and /dev, all by descriptor
    terminal               needs /dev/pts of the container
    masks, read-only       after the mounts they cover
    network, sysctls       net.ipv4.conf.eth0 exists only with eth0
    scores, labels         through the host's procfs, before it is gone
    pivot_root             the last path to the host goes
    keyring, no_new_privs
    bounding set           takes CAP_SETPCAP, which the user change drops
    user, capabilities     a setuid from 0 clears the effective set, so capset after it
    directory, command     with the rights of that user
    seccomp                forbids what all before needed (without no_new_privs: before the capabilities go)
    execve
"""

from __future__ import annotations

from pyctr.core import errors
from pyctr.core.runtime import operation, ops_cgroup, ops_exec, ops_identity, ops_mount, ops_namespace
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CLASSES: dict[str, type[Operation]] = {
    name: value
    for module in (ops_cgroup, ops_namespace, ops_mount, ops_identity, ops_exec)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, Operation) and value is not Operation
}

_NAMESPACES = frozenset({"pid", "network", "mount", "uts", "ipc", "user", "cgroup", "time"})
_PROC_NAMES = {"network": "net", "mount": "mnt"}
_IPC_SYSCTLS = ("kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue.")


class Plan:
    """Operations, and the wishes the shim needs afterwards (log, restart policy, state file...).

    Kept as documents and made into operations by whoever runs them: the shim never makes those of init, whose
    memory would stay with it for the container's whole life.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self.wishes: dict[str, Any] = document["wishes"]
        self._host: list[Operation] | None = None

    @property
    def operations(self) -> list[Operation]:
        """All, in order."""
        return _operations(self._document["operations"])

    @property
    def host(self) -> list[Operation]:
        """Those the shim runs; always the same objects."""
        if self._host is None:
            self._host = _operations([item for item in self._document["operations"] if not CLASSES[item[0]].inside])
        return self._host

    @property
    def inside(self) -> list[Operation]:
        """Those init runs."""
        return _operations([item for item in self._document["operations"] if CLASSES[item[0]].inside])

    @property
    def execs(self) -> list[Operation]:
        """What a further process in this container starts with, until its request replaces parts."""
        return _operations(self._document["execs"])

    @property
    def terminal(self) -> bool:
        return any(name == "Console" and fields["terminal"] for name, fields in self._document["operations"])

    @property
    def group(self) -> str:
        return next((item.group for item in self.host if isinstance(item, ops_cgroup.MakeGroup)), "")

    @property
    def cgroup_root(self) -> str:
        return next((item.root for item in self.host if isinstance(item, ops_cgroup.MakeGroup)), "")

    @property
    def own(self) -> list[str]:
        """Namespace types in which the container differs from its shim."""
        return next(([*item.new, *item.join] for item in self.host if isinstance(item, ops_namespace.Clone)), [])

    def describe(self) -> list[tuple[str, str]]:
        """(step, one line) of everything that will be done, in order."""
        lines = []
        for item in self.operations:
            lines += [(item.step, line) for line in item.describe().split("\n") if line]
        return lines

    def summary(self, step: str) -> str:
        """The step's line of a birth certificate, as far as it can be known ahead."""
        words = [item.brief() for item in self.operations if item.step == step]
        return ", ".join(word for word in words if word)

    def to_document(self) -> dict[str, Any]:
        return self._document

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Plan:
        return cls(document)


def _operations(documents: list[Any]) -> list[Operation]:
    return [CLASSES[name].from_dict(fields) for name, fields in documents]


def build(config: dict[str, Any], wishes: dict[str, Any]) -> Plan:
    """The plan of one start.

    `wishes` (all optional): id, name, bundle (directory of config.json), state (path of state.json or ""), run (the
    container's volatile directory), root (of the engine, for its journal), rootfs (what storage prepared, else
    root.path of the config), group, cgroup_root, network (what networks attached), join {type: pid}, log {path,
    max_size, max_files}, init, open_stdin, attach, winsize (rows, cols), restart, stop_signal, auto_remove,
    cleanup (argv), seccomp (a compiled filter), created (OCI: stop before execve and wait for `start`).
    Raises UsageError for a configuration that cannot be carried out.
    """
    process = config.get("process") or {}
    linux = config.get("linux") or {}
    if not process.get("args"):
        raise errors.UsageError("the configuration names no command", hint="process.args of config.json")
    new, join = _namespaces(linux, wishes.get("join") or {})
    if "mount" not in new:
        raise errors.UsageError("a container needs a mount namespace of its own", hint='add {"type": "mount"}')
    group = wishes.get("group") or linux.get("cgroupsPath") or f"/pyctr/{wishes.get('id') or 'container'}"
    cgroup_root = wishes.get("cgroup_root") or "/sys/fs/cgroup"
    network = wishes.get("network")
    terminal = bool(process.get("terminal"))
    propagation = linux.get("rootfsPropagation") or ""

    plan: list[Operation] = [
        ops_cgroup.MakeGroup(group=group, root=cgroup_root, resources=linux.get("resources") or {}),
        ops_namespace.Clone(
            new=new,
            join=join,
            uid_mappings=linux.get("uidMappings") or [],
            gid_mappings=linux.get("gidMappings") or [],
        ),
    ]
    own_network = network if network and "network" in new else {"mode": "none"} if "network" in new else None
    if own_network and own_network.get("mode") == "bridge":
        plan.append(ops_namespace.LinkHost(attachment=own_network))
    plan.append(ops_cgroup.EnterGroup(group=group))
    if "cgroup" in new:
        plan.append(ops_cgroup.HideGroups())
    if join or "user" in new:
        plan.append(ops_namespace.JoinNamespaces(user="user" in new))
    if config.get("hostname") or config.get("domainname"):
        if "uts" not in new:
            raise errors.UsageError("a hostname needs a uts namespace of the container's own")
        plan.append(
            ops_namespace.Names(hostname=config.get("hostname") or "", domainname=config.get("domainname") or "")
        )
    plan += _filesystem(config, wishes, cgroup_root, propagation)
    identity = _identify(process)
    plan += [identity, ops_exec.Console(terminal=terminal)]
    if paths := linux.get("maskedPaths"):
        plan.append(ops_mount.Masked(paths=list(paths)))
    if paths := linux.get("readonlyPaths"):
        plan.append(ops_mount.Readonly(paths=list(paths)))
    if own_network:
        plan.append(ops_namespace.LinkInside(attachment=own_network))
    if sysctls := linux.get("sysctl"):
        plan.append(ops_namespace.Sysctls(values=_sysctls(sysctls, [*new, *join])))
    scores = _scores(process)
    plan.append(scores)
    plan.append(ops_mount.Pivot(readonly=bool((config.get("root") or {}).get("readonly")), propagation=propagation))
    if wishes.get("created"):
        plan.append(ops_exec.Ready())
    privileges = _privileges(process, wishes.get("seccomp"))
    plan += privileges
    plan += _command(process, bool(wishes.get("init")))
    plan += _filter(process, wishes.get("seccomp"))
    plan.append(_execute(process, bool(wishes.get("init"))))
    return Plan(
        {
            "operations": [operation.to_document(item) for item in plan],
            "execs": [operation.to_document(item) for item in _execs(process, wishes, group)],
            "wishes": {key: value for key, value in wishes.items() if key != "seccomp"},
        }
    )


def _namespaces(linux: dict[str, Any], pids: dict[str, int]) -> tuple[list[str], dict[str, str]]:
    new: list[str] = []
    join: dict[str, str] = {}
    for entry in linux.get("namespaces") or []:
        kind = entry.get("type")
        if kind not in _NAMESPACES:
            raise errors.UsageError(f"unknown namespace type '{kind}'", hint=" ".join(sorted(_NAMESPACES)))
        if kind in new or kind in join:
            raise errors.UsageError(f"namespace type '{kind}' is named twice")
        if entry.get("path"):
            join[kind] = entry["path"]
        else:
            new.append(kind)
    for kind, pid in pids.items():
        join[kind] = f"/proc/{pid}/ns/{_PROC_NAMES.get(kind, kind)}"
        if kind in new:
            new.remove(kind)
    return new, join


def _filesystem(config: dict[str, Any], wishes: dict[str, Any], cgroup_root: str, propagation: str) -> list[Operation]:
    process, linux = config.get("process") or {}, config.get("linux") or {}
    path = (config.get("root") or {}).get("path") or "rootfs"
    if not path.startswith("/"):
        path = f"{wishes.get('bundle') or '.'}/{path}"
    rootfs = wishes.get("rootfs")
    plan: list[Operation] = [
        # mounting onto the container's volatile directory spares making one: nobody needs that inside init
        ops_mount.Root(rootfs=rootfs, target=wishes.get("run") or "", path=path, propagation=propagation)
    ]
    own_dev = True
    for entry in config.get("mounts") or []:
        destination, kind = entry.get("destination") or "", entry.get("type") or ""
        if not destination.startswith("/"):
            destination = f"/{destination}"
        options = list(entry.get("options") or [])
        if kind == "cgroup":
            plan.append(ops_mount.CgroupMount(destination=destination, options=options, cgroup_root=cgroup_root))
            continue
        mount = ops_mount.Mount(destination=destination, type=kind, source=entry.get("source") or "", options=options)
        if mount.is_bind():
            if not mount.source.startswith("/"):
                mount.source = f"{wishes.get('bundle') or '.'}/{mount.source}"
            if destination.rstrip("/") == "/dev":
                own_dev = False
        plan.append(mount)
    plan.append(ops_mount.Devices(devices=linux.get("devices") or [], own=own_dev))
    cwd = process.get("cwd") or "/"
    if not cwd.startswith("/"):
        raise errors.UsageError(f"working directory '{cwd}' is not absolute")
    if cwd != "/":
        plan.append(ops_mount.Workdir(path=cwd))
    return plan


def _identify(process: dict[str, Any]) -> ops_identity.Identify:
    user = process.get("user") or {}
    return ops_identity.Identify(
        uid=user.get("uid") or 0,
        gid=user.get("gid") or 0,
        groups=user.get("additionalGids") or [],
        group_names=user.get("additionalGroups") or [],
        name=user.get("username") or "",
        home=not any(item.startswith("HOME=") for item in process.get("env") or []),
    )


def _scores(process: dict[str, Any]) -> ops_identity.Scores:
    return ops_identity.Scores(
        oom_score_adj=process.get("oomScoreAdj"),
        rlimits=process.get("rlimits") or [],
        io_priority=process.get("ioPriority"),
        apparmor=process.get("apparmorProfile") or "",
        selinux=process.get("selinuxLabel") or "",
    )


def _privileges(process: dict[str, Any], seccomp: bytes | None) -> list[Operation]:
    capabilities = process.get("capabilities") or {}
    umask = (process.get("user") or {}).get("umask")
    no_new = bool(process.get("noNewPrivileges"))
    plan: list[Operation] = [ops_identity.Keyring()]
    if no_new:
        plan.append(ops_identity.NoNewPrivileges())
    elif seccomp:
        plan.append(ops_identity.Seccomp(program=seccomp))
    plan += [
        ops_identity.Bounding(names=capabilities.get("bounding") or []),
        ops_identity.User(umask=0o022 if umask is None else umask),
        ops_identity.Capabilities(
            effective=capabilities.get("effective") or [],
            permitted=capabilities.get("permitted") or [],
            inheritable=capabilities.get("inheritable") or [],
            ambient=capabilities.get("ambient") or [],
        ),
        ops_identity.Directory(path=process.get("cwd") or "/"),
    ]
    return plan


def _command(process: dict[str, Any], init: bool) -> list[Operation]:
    path = ops_exec.Find._defaults["path"]
    for item in process.get("env") or []:
        if item.startswith("PATH="):
            path = item[5:]
    return [ops_exec.Find(command=process["args"][0], path=path)]


def _filter(process: dict[str, Any], seccomp: bytes | None) -> list[Operation]:
    return [ops_identity.Seccomp(program=seccomp)] if seccomp and process.get("noNewPrivileges") else []


def _execute(process: dict[str, Any], init: bool) -> Operation:
    return ops_exec.Execute(args=list(process["args"]), env=list(process.get("env") or []), init=init)


def _execs(process: dict[str, Any], wishes: dict[str, Any], group: str) -> list[Operation]:
    """Operations of a process that joins the running container; `execute.py` fills in what its request says."""
    seccomp = wishes.get("seccomp")
    return [
        ops_cgroup.EnterGroup(group=group),
        _identify(process),
        ops_exec.Console(device=False),
        _scores(process),
        *_privileges(process, seccomp),
        *_command(process, False),
        *_filter(process, seccomp),
        _execute(process, False),
    ]


def _sysctls(values: dict[str, str], new: list[str]) -> dict[str, str]:
    for name in values:
        dotted = name.replace("/", ".")
        if dotted.startswith("net."):
            needed = "network"
        elif dotted.startswith(_IPC_SYSCTLS):
            needed = "ipc"
        elif dotted in ("kernel.domainname", "kernel.hostname"):
            needed = "uts"
        else:
            raise errors.UsageError(f"sysctl '{name}' belongs to no namespace", hint="it would change the whole host")
        if needed not in new:
            raise errors.UsageError(f"sysctl '{name}' would change the host: there is no {needed} namespace")
        if ".." in name.split("/"):
            raise errors.UsageError(f"bad sysctl '{name}'")
    return {name: str(value) for name, value in values.items()}
