"""What the fields of a config.json mean together; `check` has typed each of them before.

Everything that can be known without touching the kernel is refused here, so that nothing has to be taken back.
"""

from __future__ import annotations

from pyctr.core.linux import cpulist
from pyctr.core.runtime.check import CAPABILITY_SETS, refuse, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_IPC_SYSCTLS = ("kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue.")
_CLOCKS = ("monotonic", "boottime")
_ID_WORDS = frozenset({"idmap", "ridmap"})
_BINDS = frozenset({"bind", "rbind"})
_GROUP_LIMITS = frozenset({"cgroup.max.depth", "cgroup.max.descendants", "cgroup.pressure"})
_PROPAGATIONS = frozenset({"shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable", "runbindable"})


def config(document: dict[str, Any]) -> list[str]:
    """Warnings of a typed config.json. Raises UsageError."""
    _version(document["ociVersion"])
    warnings = process(document["process"])
    linux = document.get("linux") or {}
    kinds = _namespaces(linux)
    for name, longest in (("hostname", 64), ("domainname", 64)):
        value = document.get(name) or ""
        if value and "uts" not in kinds:
            refuse(name, "needs a uts namespace of the container's own", 'add {"type": "uts"} to linux.namespaces')
        if len(value.encode()) > longest:
            refuse(name, f"is longer than {longest} bytes")
    for index, mount in enumerate(document.get("mounts") or []):
        warnings += _mount(mount, f"mounts[{index}]", "user" in kinds)
    _users(linux, kinds)
    if (linux.get("timeOffsets") or {}) and kinds.get("time") != "":
        refuse("linux.timeOffsets", "needs a new time namespace", 'add {"type": "time"} to linux.namespaces')
    for clock in linux.get("timeOffsets") or {}:
        if clock not in _CLOCKS:
            refuse(f"linux.timeOffsets.{clock}", "is no clock of a time namespace", " ".join(_CLOCKS))
    _devices(linux.get("devices") or [])
    resources(linux.get("resources") or {})
    _sysctls(linux.get("sysctl") or {}, kinds)
    _net_devices(linux.get("netDevices") or {}, kinds)
    if linux.get("seccomp"):
        _seccomp(linux["seccomp"])
    _group(linux.get("cgroupsPath") or "")
    if (linux.get("personality") or {}).get("flags"):
        warnings.append("linux.personality.flags: no flag is supported, they are ignored")
    _rdt(linux.get("intelRdt") or {})
    if policy := linux.get("memoryPolicy"):
        number_list(policy.get("nodes") or "", "linux.memoryPolicy.nodes")
    for name, value in (document.get("annotations") or {}).items():
        if value is None:
            refuse(f"annotations.{name}", "is not a string")
    return warnings


def process(document: dict[str, Any]) -> list[str]:
    """Warnings of a typed process."""
    args = document["args"]
    if not args:
        refuse("process.args", "names no command")
    if not args[0]:
        refuse("process.args[0]", "is empty")
    for index, item in enumerate(document.get("env") or []):
        if item.startswith("=") or "=" not in item:
            refuse(f"process.env[{index}]", f"{shown(item)} is not NAME=VALUE")
    if len((document.get("user") or {}).get("additionalGids") or []) > 65536:
        refuse("process.user.additionalGids", "has more than 65536 entries, as many as the kernel takes")
    seen: set[str] = set()
    from pyctr.core.linux.process import RLIMITS

    for index, limit in enumerate(document.get("rlimits") or []):
        path = f"process.rlimits[{index}]"
        if limit["type"] not in RLIMITS:
            refuse(f"{path}.type", f"{shown(limit['type'])} is unknown", " ".join(RLIMITS))
        if limit["type"] in seen:
            refuse(f"{path}.type", f"{shown(limit['type'])} is named twice")
        seen.add(limit["type"])
        if limit["soft"] > limit["hard"]:
            refuse(f"{path}.soft", f"{limit['soft']} is above the hard limit {limit['hard']}")
    _scheduler(document.get("scheduler") or {})
    affinity = document.get("execCPUAffinity") or {}
    for name in ("initial", "final"):
        number_list(affinity.get(name) or "", f"process.execCPUAffinity.{name}")
    return _capabilities(document.get("capabilities") or {})


def _version(text: str) -> None:
    parts = text.partition("-")[0].partition("+")[0].split(".")
    if len(parts) != 3 or not all(part.isdecimal() and part.isascii() for part in parts):
        refuse("ociVersion", f"{shown(text)} is no version", "like 1.2.0")
    if int(parts[0][:4]) > 1:
        refuse("ociVersion", f"{shown(text)} is newer than what this runtime knows", "1.x")


def _namespaces(linux: dict[str, Any]) -> dict[str, str]:
    """Type -> path, "" for a new one."""
    kinds: dict[str, str] = {}
    for index, entry in enumerate(linux.get("namespaces") or []):
        path = f"linux.namespaces[{index}]"
        if entry["type"] in kinds:
            refuse(f"{path}.type", f"{shown(entry['type'])} is named twice")
        where = entry.get("path") or ""
        if where and not where.startswith("/"):
            refuse(f"{path}.path", f"{shown(where)} is not an absolute path")
        kinds[entry["type"]] = where
    if "mount" not in kinds:
        refuse("linux.namespaces", "has no mount namespace: the container's mounts would be the host's", "add one")
    return kinds


_LONGEST_GROUP = 3800
"""Bytes; with the mount point and a file's name it stays below PATH_MAX."""


def _group(text: str) -> None:
    path = "linux.cgroupsPath"
    if not text:
        return
    parts = text.strip("/").split("/")
    if ".." in parts:
        refuse(path, f"{shown(text)} leads upwards")
    if "" in parts or "." in parts:
        refuse(path, f"{shown(text)} is not the path of a group below the root", "like /machine/web")
    if "\n" in text or len(text.encode()) > _LONGEST_GROUP:
        refuse(path, f"{shown(text)} is too long for a path, or has more than one line")


def _users(linux: dict[str, Any], kinds: dict[str, str]) -> None:
    for name in ("uidMappings", "gidMappings"):
        given = linux.get(name) or []
        if given and "user" not in kinds:
            refuse(f"linux.{name}", "needs a user namespace", 'add {"type": "user"} to linux.namespaces')
        if kinds.get("user") == "" and not given:
            refuse(f"linux.{name}", "is missing: a new user namespace needs it")
        mappings(given, f"linux.{name}")


def mappings(given: list[dict[str, int]], path: str) -> None:
    if len(given) > 340:
        refuse(path, "has more than 340 entries, as many as the kernel takes")
    for index, entry in enumerate(given):
        if not entry["size"]:
            refuse(f"{path}[{index}].size", "is 0")
        for name in ("containerID", "hostID"):
            if entry[name] + entry["size"] >= 1 << 32:
                refuse(f"{path}[{index}].size", f"goes beyond the last id, with {name} {entry[name]}")
        for before in given[:index]:
            for name in ("containerID", "hostID"):
                if entry[name] < before[name] + before["size"] and before[name] < entry[name] + entry["size"]:
                    refuse(f"{path}[{index}].{name}", "overlaps an entry before it")


def _mount(mount: dict[str, Any], path: str, users: bool) -> list[str]:
    warnings = []
    destination = mount["destination"]
    if not destination.startswith("/"):
        warnings.append(f"{path}.destination: {shown(destination)} is relative, which the specification discourages")
    parts: list[str] = []
    for part in destination.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    if not parts:
        refuse(f"{path}.destination", "nothing can be mounted over the container's '/'")
    words = set(mount.get("options") or [])
    maps = [name for name in ("uidMappings", "gidMappings") if mount.get(name)]
    if len(maps) == 1:
        refuse(f"{path}.{maps[0]}", "needs the other one of uidMappings and gidMappings")
    if words & _ID_WORDS and not maps and not users:
        refuse(f"{path}.options", "an idmap mount needs mappings of its own or a user namespace")
    if (maps or words & _ID_WORDS) and not words & _BINDS:
        refuse(f"{path}.options", "only a bind mount can be id-mapped", "bind or rbind")
    for name in maps:
        mappings(mount[name], f"{path}.{name}")
    bind = bool(words & _BINDS) or mount.get("type") == "bind"
    if bind and not mount.get("source"):
        refuse(f"{path}.source", "is missing: a bind mount needs one")
    if not bind and not words & {"remount"} and not words & _PROPAGATIONS and not mount.get("type"):
        refuse(f"{path}.type", "is missing")
    if "tmpcopyup" in words and mount.get("type") != "tmpfs":
        refuse(f"{path}.options", "tmpcopyup is for tmpfs only")
    return warnings


def _devices(devices: list[dict[str, Any]]) -> None:
    seen: dict[str, tuple[Any, ...]] = {}
    for index, device in enumerate(devices):
        path = f"linux.devices[{index}]"
        if device["type"] != "p":
            for name in ("major", "minor"):
                value = device.get(name)
                if value is None:
                    refuse(f"{path}.{name}", "is missing")
                if not 0 <= value < (1 << 12 if name == "major" else 1 << 20):
                    refuse(f"{path}.{name}", f"{value} is no device number")
        kind = (device["type"].replace("u", "c"), device.get("major"), device.get("minor"))
        if seen.setdefault(device["path"], kind) != kind:
            refuse(f"{path}.path", f"{shown(device['path'])} is another device already")
        if device["path"].rstrip("/") in ("", "/dev"):
            refuse(f"{path}.path", f"{shown(device['path'])} is a directory")


def resources(document: dict[str, Any], *, change: bool = False) -> None:
    """Limits that contradict each other, whatever the host offers. In a `change` what is not named stays."""
    top = "linux.resources"
    for index, rule in enumerate(document.get("devices") or []):
        access = rule.get("access") or ""
        if not access:
            refuse(f"{top}.devices[{index}].access", "is missing", "a composition of r, w and m")
        if set(access) - set("rwm"):
            refuse(f"{top}.devices[{index}].access", f"{shown(access)} has other letters than r, w and m")
    memory = document.get("memory") or {}
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    for name in ("limit", "reservation", "swap"):
        if (memory.get(name) or 0) < -1:
            refuse(f"{top}.memory.{name}", f"{memory[name]} is neither a size nor -1")
    if swap > 0 and limit > 0 and swap < limit:
        refuse(f"{top}.memory.swap", f"{swap} is below the memory limit {limit}: it is the sum of memory and swap")
    if swap > 0 and limit <= 0 and not change:
        refuse(f"{top}.memory.swap", "needs a memory limit: it is the sum of memory and swap")
    cpu = document.get("cpu") or {}
    quota, burst = cpu.get("quota") or 0, cpu.get("burst") or 0
    if quota > 0 and burst > quota:
        refuse(f"{top}.cpu.burst", f"{burst} is above the quota {quota}")
    for name in ("cpus", "mems"):
        number_list(cpu.get(name) or "", f"{top}.cpu.{name}")
    block = document.get("blockIO") or {}
    for index, device in enumerate(block.get("weightDevice") or []):
        if device.get("weight") is None and device.get("leafWeight") is None:
            refuse(f"{top}.blockIO.weightDevice[{index}].weight", "is missing, and leafWeight too")
    weights = [(f"{top}.blockIO.{name}", block.get(name)) for name in ("weight", "leafWeight")]
    for index, device in enumerate(block.get("weightDevice") or []):
        weights += [(f"{top}.blockIO.weightDevice[{index}].{n}", device.get(n)) for n in ("weight", "leafWeight")]
    for path, weight in weights:
        if weight and not 10 <= weight <= 1000:
            refuse(path, f"{weight} is not between 10 and 1000")
    for index, page in enumerate(document.get("hugepageLimits") or []):
        size = page["pageSize"]
        if not (size[-2:] in ("KB", "MB", "GB") and size[:-2].isdecimal() and size.isascii()):
            refuse(f"{top}.hugepageLimits[{index}].pageSize", f"{shown(size)} is no page size", "like 2MB")
    for name, limits in (document.get("rdma") or {}).items():
        if (limits or {}).get("hcaHandles") is None and (limits or {}).get("hcaObjects") is None:
            refuse(f"{top}.rdma.{name}", "names neither hcaHandles nor hcaObjects")
    for file, value in (document.get("unified") or {}).items():
        if "/" in file or file.startswith(".") or "." not in file:
            refuse(f"{top}.unified", f"{shown(file)} is not the name of a cgroup file", "for example memory.high")
        if file.startswith("cgroup.") and file not in _GROUP_LIMITS:
            # cgroup.procs would bring a process of the host in, which ends with the container
            refuse(f"{top}.unified.{file}", "is no limit: who is in the group, and how, is the runtime's")
        if value is None:
            refuse(f"{top}.unified.{file}", "is not a string")


def _sysctls(values: dict[str, str], kinds: dict[str, str]) -> None:
    for name, value in values.items():
        path = f"linux.sysctl.{name}"
        dotted = name.replace("/", ".")
        if dotted.startswith("net."):
            needed = "network"
        elif dotted.startswith(_IPC_SYSCTLS):
            needed = "ipc"
        elif dotted == "kernel.domainname":
            needed = "uts"
        elif dotted == "kernel.hostname":
            refuse(path, "belongs into the field 'hostname'")
        else:
            refuse(path, "belongs to no namespace", "it would change the whole host")
        if needed not in kinds:
            refuse(path, f"would change the host: there is no {needed} namespace")
        if ".." in name or value is None:
            refuse(path, "is no kernel parameter")


def _net_devices(devices: dict[str, Any], kinds: dict[str, str]) -> None:
    if devices and "network" not in kinds:
        refuse("linux.netDevices", "needs a network namespace", 'add {"type": "network"} to linux.namespaces')
    names: set[str] = set()
    for name, device in devices.items():
        inside = (device or {}).get("name") or name
        for path, one in ((f"linux.netDevices.{name}", name), (f"linux.netDevices.{name}.name", inside)):
            if len(one.encode()) > 15 or one in (".", "..") or set(one) & set("/: \t\n"):
                refuse(path, f"{shown(one)} is no name of a network interface")
        if inside in names:
            refuse(f"linux.netDevices.{name}.name", f"{shown(inside)} is named twice")
        names.add(inside)


def _seccomp(profile: dict[str, Any]) -> None:
    top = "linux.seccomp"
    _errno(profile, "defaultAction", "defaultErrnoRet", top)
    if profile["defaultAction"] == "SCMP_ACT_NOTIFY":
        refuse(f"{top}.defaultAction", "SCMP_ACT_NOTIFY would stop the runtime itself")
    if profile.get("listenerMetadata") and not profile.get("listenerPath"):
        refuse(f"{top}.listenerMetadata", "needs listenerPath")
    asks = False
    for index, rule in enumerate(profile.get("syscalls") or []):
        path = f"{top}.syscalls[{index}]"
        if not rule["names"]:
            refuse(f"{path}.names", "is empty")
        _errno(rule, "action", "errnoRet", path)
        if rule["action"] == "SCMP_ACT_NOTIFY":
            asks = True
            if {"write", "sendmsg"} & set(rule["names"]):
                refuse(f"{path}.names", "the runtime needs this call to hand the listener over", "leave write out")
    if asks and not profile.get("listenerPath"):
        refuse(f"{top}.listenerPath", "is missing: SCMP_ACT_NOTIFY needs somebody who answers")
    if "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" in (profile.get("flags") or []) and not asks:
        refuse(f"{top}.flags", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV goes with SCMP_ACT_NOTIFY only")


def _errno(rule: dict[str, Any], action: str, value: str, path: str) -> None:
    if rule.get(value) is not None and rule[action] not in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        refuse(f"{path}.{value}", f"{rule[action]} returns no error number")


def _scheduler(scheduler: dict[str, Any]) -> None:
    policy, path = scheduler.get("policy"), "process.scheduler"
    if policy == "SCHED_ISO":
        refuse(f"{path}.policy", "SCHED_ISO is in no kernel")
    real_time = policy in ("SCHED_FIFO", "SCHED_RR")
    if scheduler.get("priority") and not real_time:
        refuse(f"{path}.priority", f"goes with SCHED_FIFO and SCHED_RR, not with {policy}")
    if real_time and not scheduler.get("priority"):
        refuse(f"{path}.priority", f"is missing: {policy} needs 1 to 99")
    if scheduler.get("nice") and policy not in ("SCHED_OTHER", "SCHED_BATCH"):
        refuse(f"{path}.nice", f"goes with SCHED_OTHER and SCHED_BATCH, not with {policy}")
    for name in ("runtime", "deadline", "period"):
        if scheduler.get(name) and policy != "SCHED_DEADLINE":
            refuse(f"{path}.{name}", f"goes with SCHED_DEADLINE, not with {policy}")


def _capabilities(sets: dict[str, list[str]]) -> list[str]:
    from pyctr.core.linux.capnames import NAMES

    unknown: dict[str, None] = {}
    for name in CAPABILITY_SETS:
        unknown.update((word, None) for word in sets.get(name) or [] if word not in NAMES and word != "ALL")
    if not unknown:
        return []
    return [f"process.capabilities: unknown, ignored: {' '.join(shown(name) for name in unknown)}"]


def _rdt(rdt: dict[str, Any]) -> None:
    top = "linux.intelRdt"
    closid = rdt.get("closID") or ""
    if "/" in closid or closid in (".", ".."):
        refuse(f"{top}.closID", f"{shown(closid)} is not the name of a directory")
    if rdt.get("memBwSchema") and not rdt["memBwSchema"].startswith("MB:"):
        refuse(f"{top}.memBwSchema", "does not begin with 'MB:'")
    for name in ("memBwSchema", "l3CacheSchema"):
        if "\n" in (rdt.get(name) or "") and name == "memBwSchema":
            refuse(f"{top}.{name}", "has more than one line")


def number_list(text: str, path: str) -> None:
    """A list of processors or memory nodes."""
    try:
        cpulist.parse(text)
    except ValueError:
        refuse(path, f"{shown(text)} is no list of numbers", "like 0-3,7")
