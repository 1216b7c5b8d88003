"""The part of a plan that makes the container's process what config.json says: who it is, what it may, what it runs."""

from __future__ import annotations

from pyctr.core.runtime import ops_cgroup, ops_exec, ops_identity, ops_seccomp
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def identify(process: dict[str, Any]) -> ops_identity.Identify:
    user = process.get("user") or {}
    return ops_identity.Identify(
        uid=user.get("uid") or 0,
        gid=user.get("gid") or 0,
        groups=user.get("additionalGids") or [],
        group_names=user.get("additionalGroups") or [],
        name=user.get("username") or "",
        home=not any(item.startswith("HOME=") for item in process.get("env") or []),
    )


def scores(process: dict[str, Any]) -> ops_identity.Scores:
    return ops_identity.Scores(
        oom_score_adj=process.get("oomScoreAdj"),
        apparmor=_profile(process),
        selinux=process.get("selinuxLabel") or "",
    )


def _profile(process: dict[str, Any]) -> str:
    name: str = process.get("apparmorProfile") or ""
    # what a process is without one: nothing to set, nothing to miss
    return "" if name == "unconfined" else name


def labels(process: dict[str, Any], linux: dict[str, Any]) -> list[Operation]:
    """Nothing for most containers."""
    fields = {
        "apparmor": _profile(process),
        "selinux": process.get("selinuxLabel") or "",
        "mount_label": linux.get("mountLabel") or "",
    }
    if not any(fields.values()):
        return []
    from pyctr.core.runtime import ops_labels

    return [ops_labels.RequireModules(**fields)]


def limits(process: dict[str, Any], linux: dict[str, Any]) -> list[Operation]:
    """Nothing for most containers."""
    fields: dict[str, Any] = {
        "rlimits": process.get("rlimits") or [],
        "scheduler": process.get("scheduler"),
        "io_priority": process.get("ioPriority"),
        "personality": (linux.get("personality") or {}).get("domain") or "",
        "memory_policy": linux.get("memoryPolicy"),
    }
    if not any(fields.values()):
        return []
    from pyctr.core.runtime import ops_limits

    return [ops_limits.Limits(**fields)]


def seccomp(config: dict[str, Any], wishes: dict[str, Any], status: str) -> list[ops_seccomp.Seccomp]:
    """The filter that `wishes` brings compiled; `status` of the container is for whoever listens."""
    program = wishes.get("seccomp")
    if not program:
        return []
    from pyctr.core.linux import seccomp as floor

    profile = (config.get("linux") or {}).get("seccomp") or {}
    listener = None
    if any(rule.get("action") == "SCMP_ACT_NOTIFY" for rule in profile.get("syscalls") or []):
        listener = {
            "path": profile.get("listenerPath") or "",
            "metadata": profile.get("listenerMetadata") or "",
            "state": state(config, wishes, status),
        }
    return [ops_seccomp.Seccomp(program=program, flags=floor.flags(profile), listener=listener)]


def state(config: dict[str, Any], wishes: dict[str, Any], status: str) -> dict[str, Any]:
    """The container's state as others are told it (runtime.md, "State"), but for the pid."""
    from pyctr.core.runtime import hooks

    return hooks.state(
        config.get("ociVersion") or "1.0.0",
        wishes.get("id") or "",
        status,
        0,
        wishes.get("bundle") or "/",
        config.get("annotations"),
    )


def privileges(process: dict[str, Any], linux: dict[str, Any], filter: list[ops_seccomp.Seccomp]) -> list[Operation]:
    sets = process.get("capabilities") or {}
    bounding, effective, inheritable, permitted, ambient = (
        _known(sets.get(name) or []) for name in ("bounding", "effective", "inheritable", "permitted", "ambient")
    )
    umask = (process.get("user") or {}).get("umask")
    no_new = bool(process.get("noNewPrivileges"))
    plan: list[Operation] = [ops_identity.Keyring(), *limits(process, linux)]
    if no_new:
        plan.append(ops_identity.NoNewPrivileges())
    else:
        plan += filter
    plan += [
        ops_identity.Bounding(names=bounding),
        ops_identity.User(umask=0o022 if umask is None else umask),
        ops_identity.Capabilities(effective=effective, permitted=permitted, inheritable=inheritable, ambient=ambient),
        ops_identity.Directory(path=process.get("cwd") or "/"),
    ]
    return plan


def _known(names: list[str]) -> list[str]:
    """Without names that no kernel has: `check` has warned of them."""
    from pyctr.core.linux.capnames import NAMES

    return [name for name in names if name in NAMES or name == "ALL"]


def command(process: dict[str, Any], init: bool) -> list[Operation]:
    path = ops_exec.Find._defaults["path"]
    for item in process.get("env") or []:
        if item.startswith("PATH="):
            path = item[5:]
    return [ops_exec.Find(command=process["args"][0], path=path)]


def last_filter(process: dict[str, Any], filter: list[ops_seccomp.Seccomp], init: bool = False) -> list[Operation]:
    """At the very end, with nothing after it but execve; or, with an init of ours, the fork before that."""
    if not filter or not process.get("noNewPrivileges"):
        return []
    return [*filter] if init else [ops_exec.Settle(), *filter]


def execute(process: dict[str, Any], wishes: dict[str, Any], init: bool) -> Operation:
    return ops_exec.Execute(
        args=list(process["args"]),
        env=list(process.get("env") or []),
        secrets={entry["env"]: entry["source"] for entry in wishes.get("secrets") or [] if entry["env"]},
        init=init,
    )


def depart(process: dict[str, Any], filter: list[ops_seccomp.Seccomp], gated: bool) -> Operation:
    """In the place of the gate, the last filter and execve."""
    from pyctr.core.runtime import ops_depart

    last = filter[0] if filter and process.get("noNewPrivileges") else None
    return ops_depart.Depart(
        args=list(process["args"]),
        env=list(process.get("env") or []),
        gated=gated,
        program=last.program if last else b"",
        flags=last.flags if last else 0,
    )


def execs(config: dict[str, Any], wishes: dict[str, Any], group: str) -> list[Operation]:
    """Operations of a process that joins the running container; `execute.py` fills in what its request says."""
    process, linux = config["process"], config.get("linux") or {}
    filter = seccomp(config, wishes, "running")
    affinity = process.get("execCPUAffinity") or {}
    *privileged, directory = privileges(process, linux, filter)
    return [
        ops_cgroup.EnterGroup(group=group, initial=affinity.get("initial") or "", final=affinity.get("final") or ""),
        identify(process),
        ops_exec.Console(first=False),
        scores(process),
        *privileged,
        ops_exec.Appear(),
        directory,
        *command(process, False),
        *last_filter(process, filter),
        execute(process, wishes, False),
    ]
