"""From an OCI config.json and the engine's wishes to the ordered list of operations a start is.

`build` is pure; `Plan.describe` is the dry run, and the shim runs the same list. The order, inside:

    enter the cgroup       first, so that everything after it is accounted and limited
    score, labels          through the host's procfs, as whom it belongs to
    cgroup namespace       its root is the group of this moment
    shared namespaces      ipc, uts, network ...; then the clocks of a new one, then root of a user namespace
    names                  in the uts namespace
    root, mounts, devices  as root of the host's procfs and /dev, all by descriptor
    terminal               needs /dev/pts of the container
    masks, read-only       after the mounts they cover
    network, sysctls       net.ipv4.conf.eth0 exists only with eth0
    hooks of create        everything is made, the host's files can still be seen
    pivot_root             the last path to the host goes
    keyring, rlimits, scheduling, no_new_privs
    bounding set           takes CAP_SETPCAP, which the user change drops
    user, capabilities     a setuid from 0 clears the effective set, so capset after it
    directory, command     with the rights of that user
    ready, hooks of start  all that can fail has been done; the hooks are what the command will be
    seccomp                forbids what all before needed (without no_new_privs: before the capabilities go)
    execve
"""

from __future__ import annotations

from pyctr.core import errors
from pyctr.core.runtime import (
    defaults,
    operation,
    ops_cgroup,
    ops_cgroupfs,
    ops_exec,
    ops_identity,
    ops_mount,
    ops_namespace,
    ops_root,
    ops_seccomp,
    plan_mounts,
    plan_network,
    plan_process,
)
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


CLASSES: dict[str, type[Operation]] = {
    name: value
    for module in (ops_cgroup, ops_namespace, ops_mount, ops_cgroupfs, ops_root, ops_identity, ops_seccomp, ops_exec)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, Operation) and value is not Operation
}
_RARE = {
    "RuntimeHooks": "ops_hooks",
    "InnerHooks": "ops_hooks",
    "Limits": "ops_limits",
    "RequireModules": "ops_labels",
    "Sources": "ops_sources",
    "Serve": "ops_fuse",
    "MakeGate": "ops_gate",
    "Ready": "ops_gate",
    "Depart": "ops_depart",
    "MoveDevices": "ops_netdevices",
    "TakeDevices": "ops_netdevices",
    "EnterClass": "ops_rdt",
    "RaiseLimits": "ops_limits",
    "Secrets": "ops_secrets",
}
"""Operations that most containers do without, by their module: a shim that needs none of them loads none."""

_NAMESPACES = frozenset({"pid", "network", "mount", "uts", "ipc", "user", "cgroup", "time"})
_PROC_NAMES = {"network": "net", "mount": "mnt"}


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
            self._host = _operations([item for item in self._document["operations"] if not _class(item[0]).inside])
        return self._host

    @property
    def inside(self) -> list[Operation]:
        """Those init runs."""
        return _operations([item for item in self._document["operations"] if _class(item[0]).inside])

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
    def place(self) -> tuple[str, str, dict[str, Any]]:
        """The group it makes, as `ops_cgroup.manager` takes it."""
        made = next(item for item in self.host if isinstance(item, ops_cgroup.MakeGroup))
        return made.group, made.root, made.scope

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

    def relink(self, network: dict[str, Any]) -> None:
        """Other attachments than at the start before; a namespace shared with others stays as it is."""
        changed: list[tuple[str, dict[str, Any]]] = []
        own = any(name == "LinkInside" for name, _ in self._document["operations"])
        if not own or network.get("mode") not in ("bridge", "none"):
            return
        for name, fields in self._document["operations"]:
            if name == "LinkInside":
                changed.append((name, {**fields, "attachment": network}))
            elif name != "LinkHost":
                changed.append((name, fields))
            if name == "Clone" and network["mode"] == "bridge":
                names = None
                if "resolver" in network:
                    from pyctr.core import namerules

                    names = namerules.order(namerules.port())
                changed.append(("LinkHost", {"attachment": network, "names": names}))
        self._document["operations"] = changed
        self.wishes["network"] = network
        self._host = None

    def to_document(self) -> dict[str, Any]:
        return self._document

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Plan:
        return cls(document)


def _operations(documents: list[Any]) -> list[Operation]:
    return [_class(name).from_dict(fields) for name, fields in documents]


def _class(name: str) -> type[Operation]:
    if name not in CLASSES:
        CLASSES[name] = getattr(__import__(f"pyctr.core.runtime.{_RARE[name]}", fromlist=[name]), name)
    return CLASSES[name]


def build(config: dict[str, Any], wishes: dict[str, Any]) -> Plan:
    """The plan of one start.

    `wishes` (all optional): id, name, bundle (directory of config.json), state (path of state.json or ""), run (the
    container's volatile directory), root (of the engine, for its journal), rootfs (what storage prepared, else
    root.path of the config), secrets (`core.secrets.wishes`), group, scope (systemd's), cgroup_root, network (what
    networks attached), join {type: pid}, log {path, max_size, max_files}, init, open_stdin, attach, winsize (rows,
    cols), restart, stop_signal, auto_remove, health (`health.settings`), cleanup (argv), seccomp (a compiled filter),
    gate (OCI "created": the directory in which init waits for `start`), depart (see `ops_depart`), keep_fds (how many
    inherited descriptors from 3 on), no_pivot, keep_keyring, counted (others than pyctr look at its cgroup),
    untimed (nobody asks how long its steps take), weak (the runtime has no rights outside the container's user
    namespace).
    Raises UsageError for a configuration that cannot be carried out.
    """
    process = config.get("process") or {}
    linux = config.get("linux") or {}
    if not process.get("args"):
        raise errors.UsageError("the configuration names no command", hint="process.args of config.json")
    new, join = _namespaces(linux, wishes.get("join") or {})
    if "mount" not in new and "mount" not in join:
        raise errors.UsageError("a container needs a mount namespace of its own", hint='add {"type": "mount"}')
    users = "user" in new or "user" in join
    group = wishes.get("group") or linux.get("cgroupsPath") or f"/pyctr/{wishes.get('id') or 'container'}"
    cgroup_root = wishes.get("cgroup_root") or "/sys/fs/cgroup"
    network = wishes.get("network")
    terminal = bool(process.get("terminal"))
    propagation = linux.get("rootfsPropagation") or ""

    plan: list[Operation] = [
        *plan_process.labels(process, linux),
        *plan_mounts.sources(config, wishes, users),
        ops_cgroup.MakeGroup(
            group=group,
            root=cgroup_root,
            resources=_resources(linux.get("resources") or {}),
            owner=_cgroup_owner(config, new),
            counted=bool(wishes.get("counted")),
            scope=wishes.get("scope") or {},
        ),
        *_gate(wishes),
        ops_namespace.Clone(
            new=new,
            join=join,
            places={entry.get("type"): index for index, entry in enumerate(linux.get("namespaces") or [])},
            uid_mappings=linux.get("uidMappings") or [],
            gid_mappings=linux.get("gidMappings") or [],
        ),
    ]
    if users and process.get("rlimits"):
        from pyctr.core.runtime import ops_limits

        plan.append(ops_limits.RaiseLimits(rlimits=process["rlimits"]))
    own_network = network if network and "network" in new else {"mode": "none"} if "network" in new else None
    if own_network and own_network.get("mode") == "bridge":
        plan.append(ops_namespace.LinkHost(attachment=own_network, names=wishes.get("names")))
    if linux.get("netDevices"):
        plan += plan_network.devices(linux["netDevices"])
    if linux.get("intelRdt"):
        from pyctr.core.runtime import ops_rdt

        plan.append(ops_rdt.EnterClass(id=wishes.get("id") or "container", wanted=linux["intelRdt"]))
    plan.append(ops_cgroup.EnterGroup(group=group))
    # before we are anybody else: a file about a process that changed its ids is the host's root's
    plan.append(plan_process.scores(process))
    if "cgroup" in new:
        plan.append(ops_cgroup.HideGroups())
    if join or "user" in new or "time" in new:
        offsets = (linux.get("timeOffsets") or {}) if "time" in new else None
        plan.append(ops_namespace.JoinNamespaces(user="user" in new, offsets=offsets))
    if config.get("hostname") or config.get("domainname"):
        if "uts" not in new and "uts" not in join:
            raise errors.UsageError("a hostname needs a uts namespace other than the host's")
        plan.append(
            ops_namespace.Names(hostname=config.get("hostname") or "", domainname=config.get("domainname") or "")
        )
    plan += plan_mounts.filesystem(config, wishes, cgroup_root, propagation, "mount" in join)
    secrets = wishes.get("secrets") or []
    if files := [entry for entry in secrets if entry["target"]]:
        from pyctr.core.runtime import ops_secrets

        plan.append(ops_secrets.Secrets(files=files))
    identity = plan_process.identify(process)
    plan += [identity, ops_exec.Console(terminal=terminal)]
    if paths := linux.get("maskedPaths"):
        plan.append(ops_root.Masked(paths=list(paths)))
    if paths := linux.get("readonlyPaths"):
        plan.append(ops_root.Readonly(paths=list(paths)))
    if own_network:
        plan.append(ops_namespace.LinkInside(attachment=own_network))
    if sysctls := linux.get("sysctl"):
        plan.append(ops_namespace.Sysctls(values=plan_network.sysctls(sysctls, [*new, *join])))
    hooked = config.get("hooks") or {}
    if hooked:
        plan += _hooks(config, hooked, wishes)
    plan.append(
        ops_root.Pivot(
            readonly=bool((config.get("root") or {}).get("readonly")),
            propagation=propagation,
            pivot=not wishes.get("no_pivot"),
            joined="mount" in join,
        )
    )
    filter = plan_process.seccomp(config, wishes, "creating")
    plan += plan_process.privileges(process, linux, filter)
    plan += plan_process.command(process, bool(wishes.get("init")))
    if wishes.get("depart"):
        plan.append(plan_process.depart(process, filter, bool(wishes.get("gate"))))
    elif wishes.get("gate"):
        from pyctr.core.runtime import ops_gate

        plan.append(ops_gate.Ready())
    if inner := hooked.get("startContainer"):
        from pyctr.core.runtime import ops_hooks

        state = plan_process.state(config, wishes, "created")
        plan.append(ops_hooks.InnerHooks(name="startContainer", hooks=inner, state=state))
    if not wishes.get("depart"):
        plan += plan_process.last_filter(process, filter, bool(wishes.get("init")))
        plan.append(plan_process.execute(process, wishes, bool(wishes.get("init"))))
    if wishes.get("keep_keyring"):
        plan = [item for item in plan if not isinstance(item, ops_identity.Keyring)]
    return Plan(
        {
            "operations": [operation.to_document(item) for item in plan],
            "execs": [operation.to_document(item) for item in plan_process.execs(config, wishes, group)],
            "wishes": {**_console(process), **{key: value for key, value in wishes.items() if key != "seccomp"}},
        }
    )


def _gate(wishes: dict[str, Any]) -> list[Operation]:
    if not wishes.get("gate"):
        return []
    from pyctr.core.runtime import ops_gate

    return [ops_gate.MakeGate(directory=wishes["gate"])]


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


def _console(process: dict[str, Any]) -> dict[str, Any]:
    size = process.get("consoleSize")
    return {"winsize": (size["height"], size["width"])} if size and process.get("terminal") else {}


def _hooks(config: dict[str, Any], hooked: dict[str, Any], wishes: dict[str, Any]) -> list[Operation]:
    """Those of a create, before the change of the root."""
    from pyctr.core.runtime import ops_hooks

    state = plan_process.state(config, wishes, "creating")
    plan: list[Operation] = []
    if hooked.get("prestart") or hooked.get("createRuntime"):
        plan.append(
            ops_hooks.RuntimeHooks(
                prestart=hooked.get("prestart") or [], create_runtime=hooked.get("createRuntime") or [], state=state
            )
        )
    if inner := hooked.get("createContainer"):
        plan.append(ops_hooks.InnerHooks(name="createContainer", hooks=inner, state=state))
    return plan


def _resources(resources: dict[str, Any]) -> dict[str, Any]:
    """With the rules for the devices that every container has, after the given ones as under runc."""
    rules = list(resources.get("devices") or [])
    for kind, major, minor, access in defaults.DEVICE_RULES:
        rule: dict[str, Any] = {"allow": True, "type": kind, "access": access}
        if major is not None:
            rule["major"] = major
        if minor is not None:
            rule["minor"] = minor
        if rule not in rules and {"allow": True, "access": "rwm"} not in rules:
            rules.append(rule)
    return {**resources, "devices": rules}


def _cgroup_owner(config: dict[str, Any], new: list[str]) -> int:
    """The host's uid of who may make groups inside, -1 for the runtime itself (config-linux.md, "Cgroup ownership")."""
    if "cgroup" not in new:
        return -1
    for entry in config.get("mounts") or []:
        place = (entry.get("destination") or "").rstrip("/")
        if entry.get("source") == "cgroup" and place == "/sys/fs/cgroup" and "ro" not in (entry.get("options") or []):
            break
    else:
        return -1
    uid: int = ((config.get("process") or {}).get("user") or {}).get("uid") or 0
    if "user" not in new:
        return uid or -1
    for mapping in (config.get("linux") or {}).get("uidMappings") or []:
        if mapping["containerID"] <= uid < mapping["containerID"] + mapping["size"]:
            return int(mapping["hostID"]) + uid - int(mapping["containerID"])
    return -1
