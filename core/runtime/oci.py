"""From a ContainerSpec and an image's configuration to an OCI runtime-spec document (config.json).

Pure: nothing here touches the kernel, apart from stat(2) of the host devices somebody asked for. What only the
engine knows (volume directories, hosts files, pids of joined containers) comes in as arguments.
"""

from __future__ import annotations

import os

from pyctr.core import errors
from pyctr.core.runtime import defaults, oci_devices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from pyctr.core.spec import ContainerSpec, Limits, Mount

VERSION = "1.2.0"
_PROC_NAMES = {"network": "net", "mount": "mnt"}
_RLIMITS = "as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack"
_IPC_SYSCTLS = ("kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue.")
_PROPAGATION = frozenset(["private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"])


def config(
    spec: ContainerSpec,
    image_config: Mapping[str, Any],
    *,
    id: str,
    group: str = "",
    rootfs: str = "rootfs",
    volumes: Mapping[str, str] | None = None,
    files: Iterable[tuple[str, str]] = (),
    join: Mapping[str, int | str] | None = None,
    host_dev: str = "/dev",
) -> dict[str, Any]:
    """The whole config.json.

    Names of users and groups stay names (`process.user.username`, `.additionalGroups`): init looks them up in the
    container's own files, and HOME with them. `volumes` maps a mount target to the volume's directory, image volumes
    included. `files` are (host path, path inside) bind mounts pyctr provides: hosts, hostname, resolv.conf. `join`
    maps a namespace type to the pid whose namespace is shared.
    Raises UsageError for anything that makes no sense; the message quotes the value.
    """
    security = security_options(spec.security_opt)
    devices, rules = oci_devices.devices(spec, host_dev)
    resources = resources_of(spec.limits)
    resources["devices"] = rules
    open_paths = spec.privileged or security["systempaths"] == "unconfined"
    document: dict[str, Any] = {
        "ociVersion": VERSION,
        "process": _process(spec, image_config, id, security),
        "root": {"path": rootfs, "readonly": spec.readonly_rootfs},
        "hostname": hostname(spec, id),
        "mounts": _mounts(spec, volumes or {}, files),
        "linux": {
            "namespaces": _namespaces(spec, join or {}),
            "cgroupsPath": group,
            "resources": resources,
            "devices": devices,
            "sysctl": _sysctls(spec),
            "maskedPaths": [] if open_paths else list(defaults.MASKED_PATHS),
            "readonlyPaths": [] if open_paths else list(defaults.READONLY_PATHS),
        },
        "annotations": dict(spec.annotations),
    }
    if spec.domainname:
        document["domainname"] = spec.domainname
    if document["hostname"] is None:
        del document["hostname"]
    return document


def arguments(spec: ContainerSpec, image_config: Mapping[str, Any]) -> list[str]:
    """The argument vector: a new entrypoint drops the image's Cmd, a new command replaces only Cmd (Docker's rule)."""
    if spec.entrypoint is not None:
        argv = [*spec.entrypoint, *(spec.command or [])]
    else:
        argv = [*(image_config.get("Entrypoint") or []), *(spec.command or image_config.get("Cmd") or [])]
    if not argv or not argv[0]:
        raise errors.UsageError(
            f"no command given, and image '{spec.image}' has none", hint="add a command after the image name"
        )
    for word in argv:
        if "\0" in word:
            raise errors.UsageError("a word of the command contains a NUL character")
    return argv


def environment(spec: ContainerSpec, image_config: Mapping[str, Any], *, id: str = "") -> list[str]:
    """PATH, HOSTNAME and TERM, below the image's variables, below the spec's. `NAME` alone unsets."""
    values = {"PATH": defaults.PATH}
    if (name := hostname(spec, id)) is not None:
        values["HOSTNAME"] = name
    if spec.tty:
        values["TERM"] = "xterm"
    for item in [*(image_config.get("Env") or []), *spec.env]:
        key, equals, value = item.partition("=")
        if not key or "\0" in item:
            raise errors.UsageError(f"bad environment variable '{item}'", hint="NAME=VALUE")
        if equals:
            values[key] = value
        else:
            values.pop(key, None)
    return [f"{key}={value}" for key, value in values.items()]


def hostname(spec: ContainerSpec, id: str) -> str | None:
    """The name inside; None when the UTS namespace is not the container's own."""
    if spec.uts == "host" or spec.uts.startswith("container:"):
        if spec.hostname:
            raise errors.UsageError(f"hostname '{spec.hostname}' conflicts with --uts {spec.uts}")
        return None
    if spec.hostname:
        return spec.hostname
    return os.uname().nodename if spec.network == "host" else id[:12]


def capabilities(spec: ContainerSpec) -> list[str]:
    """What --privileged, --cap-add and --cap-drop leave of the default set, sorted by number."""
    from pyctr.core.linux.capnames import NAMES

    add = [_capability(name, NAMES) for name in spec.cap_add]
    drop = [_capability(name, NAMES) for name in spec.cap_drop]
    if spec.privileged or "ALL" in add:
        from pyctr.core.linux.caps import last

        kept = set(NAMES[: last() + 1])
        if spec.privileged:
            drop = []
    elif "ALL" in drop:
        kept = set()
    else:
        kept = set(defaults.CAPABILITIES)
    kept -= set(drop)
    kept |= set(add)
    return [name for name in NAMES if name in kept]


def security_options(options: Iterable[str]) -> dict[str, Any]:
    """--security-opt as a document; `seccomp` is "" for the default profile, "unconfined" or a file."""
    found: dict[str, Any] = {
        "no_new_privileges": True,
        "seccomp": "",
        "apparmor": "",
        "label": [],
        "systempaths": "",
    }
    for option in options:
        mark = min((option.find(sign) for sign in "=:" if sign in option), default=-1)
        key, value = (option, "") if mark < 0 else (option[:mark], option[mark + 1 :])
        if key == "no-new-privileges" and value.lower() in ("", "true", "false"):
            found["no_new_privileges"] = value.lower() != "false"
        elif key in ("seccomp", "apparmor") and value:
            found[key] = "" if value in ("builtin", "default") else value
        elif key == "label" and value:
            found["label"].append(value)
        elif key == "systempaths" and value == "unconfined":
            found["systempaths"] = value
        else:
            raise errors.UsageError(
                f"unknown security option '{option}'",
                hint="no-new-privileges[=false], seccomp=unconfined|FILE, apparmor=PROFILE, systempaths=unconfined",
            )
    return found


def resources_of(limits: Limits) -> dict[str, Any]:
    """linux.resources of the runtime-spec for these limits; what cgroup v1 does not know goes into `unified`."""
    cpu: dict[str, Any] = {}
    if limits.cpus is not None:
        if limits.cpu_quota or limits.cpu_period:
            raise errors.UsageError("--cpus conflicts with --cpu-quota and --cpu-period")
        if limits.cpus < 0:
            raise errors.UsageError(f"bad number of cpus '{limits.cpus:g}'", hint="a positive number, like 1.5")
        cpu["period"] = defaults.CPU_PERIOD
        # 0 means "no limit" as in Docker; the kernel refuses quotas below 1 ms
        cpu["quota"] = max(1000, round(limits.cpus * defaults.CPU_PERIOD)) if limits.cpus else -1
    if limits.cpu_period:
        cpu["period"] = limits.cpu_period
    if limits.cpu_quota:
        cpu["quota"] = limits.cpu_quota
    if limits.cpu_shares:
        cpu["shares"] = limits.cpu_shares
    if limits.cpuset_cpus:
        cpu["cpus"] = limits.cpuset_cpus
    if limits.cpuset_mems:
        cpu["mems"] = limits.cpuset_mems

    memory: dict[str, Any] = {}
    if limits.memory:
        memory["limit"] = limits.memory
        if limits.memory > 0:
            memory["swap"] = limits.memory_swap or 2 * limits.memory
    elif limits.memory_swap and limits.memory_swap > 0:
        raise errors.UsageError("--memory-swap needs --memory", hint="it is the sum of memory and swap")
    if limits.memory_reservation:
        memory["reservation"] = limits.memory_reservation
    if limits.oom_kill_disable:
        memory["disableOOMKiller"] = True
    if memory.get("swap", -1) > 0 and memory["swap"] < memory["limit"]:
        raise errors.UsageError("--memory-swap is smaller than --memory", hint="it is the sum of memory and swap")

    block: dict[str, Any] = {}
    if limits.blkio_weight:
        if not 10 <= limits.blkio_weight <= 1000:
            raise errors.UsageError(f"bad block I/O weight '{limits.blkio_weight}'", hint="10 to 1000")
        block["weight"] = limits.blkio_weight
    for key, devices in (
        ("throttleReadBpsDevice", limits.device_read_bps),
        ("throttleWriteBpsDevice", limits.device_write_bps),
        ("throttleReadIOPSDevice", limits.device_read_iops),
        ("throttleWriteIOPSDevice", limits.device_write_iops),
    ):
        if devices:
            block[key] = [oci_devices.throttle(path, rate) for path, rate in devices.items()]

    resources: dict[str, Any] = {}
    if cpu:
        resources["cpu"] = cpu
    if memory:
        resources["memory"] = memory
    if limits.pids is not None:
        resources["pids"] = {"limit": limits.pids if limits.pids > 0 else -1}
    if block:
        resources["blockIO"] = block
    if limits.memory_high:
        resources["unified"] = {"memory.high": "max" if limits.memory_high < 0 else str(limits.memory_high)}
    return resources


def _user(spec: ContainerSpec) -> dict[str, Any]:
    """process.user. Numbers are there for other runtimes; ours resolves the name, "0" for nobody in particular."""
    uid, _, gid = spec.user.partition(":")
    for number in (uid, gid, *spec.groups):
        if number.startswith("-"):
            raise errors.UsageError(f"'{number}' is no user or group", hint="give a name or a number from 0 on")
        if _is_id(number) and int(number) >= (1 << 32) - 1:
            raise errors.UsageError(f"user or group id {number} is too large", hint=f"at most {(1 << 32) - 2}")
    return {
        "uid": int(uid) if _is_id(uid) else 0,
        "gid": int(gid) if _is_id(gid) else 0,
        "umask": 0o022,
        "additionalGids": [int(group) for group in spec.groups if _is_id(group)],
        "username": spec.user or "0",
        "additionalGroups": [group for group in spec.groups if not _is_id(group)],
    }


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _process(
    spec: ContainerSpec, image_config: Mapping[str, Any], id: str, security: Mapping[str, Any]
) -> dict[str, Any]:
    kept = capabilities(spec)
    cwd = spec.workdir or image_config.get("WorkingDir") or "/"
    if not cwd.startswith("/"):
        raise errors.UsageError(f"working directory '{cwd}' is not absolute", hint="such as -w /srv")
    process: dict[str, Any] = {
        "terminal": spec.tty,
        "user": _user(spec),
        "args": arguments(spec, image_config),
        "env": environment(spec, image_config, id=id),
        "cwd": cwd,
        # inheritable and ambient stay empty: CVE-2022-29162
        "capabilities": {"bounding": kept, "effective": kept, "permitted": kept},
        "rlimits": [_rlimit(name, pair) for name, pair in spec.ulimits.items()],
        "noNewPrivileges": bool(security["no_new_privileges"]) and not spec.privileged,
    }
    if spec.limits.oom_score_adj is not None:
        if not -1000 <= spec.limits.oom_score_adj <= 1000:
            raise errors.UsageError(f"bad oom score '{spec.limits.oom_score_adj}'", hint="-1000 to 1000")
        process["oomScoreAdj"] = spec.limits.oom_score_adj
    if security["apparmor"] and security["apparmor"] != "unconfined" and not spec.privileged:
        process["apparmorProfile"] = security["apparmor"]
    if label := [item for item in security["label"] if item != "disable"]:
        process["selinuxLabel"] = ":".join(label)
    return process


def _mounts(spec: ContainerSpec, volumes: Mapping[str, str], files: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    mounts: dict[str, dict[str, Any]] = {}
    for destination, kind, source, options in defaults.MOUNTS:
        words = [word for word in options if not (word == "ro" and spec.privileged)]
        if destination == "/dev/shm":
            words.append(f"size={spec.shm_size or defaults.SHM_SIZE}")
        mounts[destination] = {"destination": destination, "type": kind, "source": source, "options": words}
    if spec.ipc == "host":
        for shared in ("/dev/shm", "/dev/mqueue"):
            mounts[shared] = _bind(shared, shared, ["rbind", "rprivate"])
    for source, destination in files:
        mounts[destination] = _bind(source, destination, ["rbind", "rprivate"])
    for destination, source in volumes.items():
        mounts[_target(destination)] = _bind(source, _target(destination), ["rbind", "rprivate"])
    if spec.readonly_rootfs and spec.readonly_tmpfs:
        for place, mode in defaults.SCRATCH:
            words = ["nosuid", "nodev", f"mode={mode}"]
            mounts[place] = {"destination": place, "type": "tmpfs", "source": "tmpfs", "options": words}
    asked: set[str] = set()
    for mount in spec.mounts:
        target = _target(mount.target)
        if target in asked:
            raise errors.UsageError(f"'{target}' is mounted twice")
        asked.add(target)
        mounts[target] = _mount(mount, target, volumes)
    # a mount below another one comes after it; Python's sort keeps the given order otherwise
    return sorted(mounts.values(), key=lambda item: item["destination"].count("/") if item["destination"] != "/" else 0)


def _mount(mount: Mount, target: str, volumes: Mapping[str, str]) -> dict[str, Any]:
    if mount.kind == "tmpfs":
        options = [word for word in defaults.TMPFS_OPTIONS if _opposite(word) not in mount.options]
        options += [word for word in mount.options if word not in options and word not in ("exec", "dev", "suid")]
        if not any(word.startswith("mode=") for word in options):
            options.append("mode=1777")
        if mount.readonly:
            options.append("ro")
        return {"destination": target, "type": "tmpfs", "source": "tmpfs", "options": options}
    if mount.kind == "bind":
        source = mount.source
        if not source.startswith("/"):
            raise errors.UsageError(f"bind mount source '{source}' is not absolute")
    elif mount.kind == "volume":
        source = volumes.get(mount.target) or volumes.get(target) or ""
        if not source:
            raise errors.UsageError(f"volume '{mount.source}' for '{target}' is not there")
    else:
        raise errors.UsageError(f"unknown kind of mount '{mount.kind}'", hint="bind, volume, tmpfs")
    options = [word for word in mount.options if word not in ("z", "Z", "rw")]
    if "bind" not in options and "rbind" not in options:
        options.insert(0, "rbind")
    if not _PROPAGATION.intersection(options):
        options.append("rprivate")
    if mount.readonly and "ro" not in options and "rro" not in options:
        # with everything mounted below it, as Docker does since 25: who says read-only means what is seen there
        options.append("rro" if "rbind" in options else "ro")
    bind = _bind(source, target, options)
    if mount.subpath:
        bind[defaults.SUBPATH] = mount.subpath
    return bind


def _bind(source: str, destination: str, options: list[str]) -> dict[str, Any]:
    return {"destination": destination, "type": "bind", "source": source, "options": options}


def _target(text: str) -> str:
    if not text.startswith("/"):
        raise errors.UsageError(f"mount target '{text}' is not absolute")
    target = os.path.normpath(text)
    target = "/" + target.lstrip("/")
    if target == "/":
        raise errors.UsageError("nothing can be mounted over the container's '/'")
    return target


def _opposite(word: str) -> str:
    return word.removeprefix("no")


def _namespaces(spec: ContainerSpec, join: Mapping[str, int | str]) -> list[dict[str, str]]:
    asked = {"network": spec.network, "pid": spec.pid, "ipc": spec.ipc, "uts": spec.uts, "cgroup": spec.cgroupns}
    namespaces = []
    for kind in defaults.NAMESPACES:
        wish = asked.get(kind, "")
        if wish == "host":
            continue
        entry = {"type": kind}
        if kind in join:
            place = join[kind]
            entry["path"] = place if isinstance(place, str) else f"/proc/{place}/ns/{_PROC_NAMES.get(kind, kind)}"
        elif wish and kind != "network" and wish not in ("private", "shareable") and not wish.startswith("container:"):
            raise errors.UsageError(f"unknown {kind} namespace '{wish}'", hint="host, private or container:NAME")
        namespaces.append(entry)
    return namespaces


def _sysctls(spec: ContainerSpec) -> dict[str, str]:
    for name in spec.sysctls:
        if name.startswith("net."):
            if spec.network == "host":
                raise errors.UsageError(f"sysctl '{name}' would change the host's network", hint="drop --network host")
        elif name.startswith(_IPC_SYSCTLS):
            if spec.ipc == "host":
                raise errors.UsageError(f"sysctl '{name}' would change the host's IPC", hint="drop --ipc host")
        else:
            raise errors.UsageError(
                f"sysctl '{name}' belongs to no namespace",
                hint="net.*, kernel.msg*, kernel.sem, kernel.shm*, fs.mqueue.*",
            )
    return {name: str(value) for name, value in spec.sysctls.items()}


def _rlimit(name: str, pair: list[int]) -> dict[str, Any]:
    word = name.lower().removeprefix("rlimit_")
    if word not in _RLIMITS.split():
        raise errors.UsageError(f"unknown ulimit '{name}'", hint=_RLIMITS)
    soft, hard = (value if value >= 0 else 2**64 - 1 for value in pair)
    if soft > hard:
        raise errors.UsageError(f"ulimit '{name}': soft limit {pair[0]} is above the hard limit {pair[1]}")
    return {"type": f"RLIMIT_{word.upper()}", "soft": soft, "hard": hard}


def _capability(text: str, known: Iterable[str]) -> str:
    name = text.upper()
    if name == "ALL":
        return name
    name = name if name.startswith("CAP_") else f"CAP_{name}"
    if name not in known:
        from pyctr.core.near import nearest

        meant = nearest(name, known)
        hint = f"did you mean {meant}?" if meant else "such as NET_ADMIN or ALL, see capabilities(7)"
        raise errors.UsageError(f"unknown capability '{text}'", hint=hint)
    return name
