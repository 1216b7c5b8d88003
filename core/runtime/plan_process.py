"""The part of a plan that makes the container's process what config.json says: who it is, what it may, what it runs."""

from __future__ import annotations

from pyctr.core.runtime import ops_cgroup, ops_exec, ops_identity
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
        rlimits=process.get("rlimits") or [],
        io_priority=process.get("ioPriority"),
        apparmor=process.get("apparmorProfile") or "",
        selinux=process.get("selinuxLabel") or "",
    )


def privileges(process: dict[str, Any], seccomp: bytes | None) -> list[Operation]:
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


def command(process: dict[str, Any], init: bool) -> list[Operation]:
    path = ops_exec.Find._defaults["path"]
    for item in process.get("env") or []:
        if item.startswith("PATH="):
            path = item[5:]
    return [ops_exec.Find(command=process["args"][0], path=path)]


def last_filter(process: dict[str, Any], seccomp: bytes | None) -> list[Operation]:
    return [ops_identity.Seccomp(program=seccomp)] if seccomp and process.get("noNewPrivileges") else []


def execute(process: dict[str, Any], init: bool) -> Operation:
    return ops_exec.Execute(args=list(process["args"]), env=list(process.get("env") or []), init=init)


def execs(process: dict[str, Any], wishes: dict[str, Any], group: str) -> list[Operation]:
    """Operations of a process that joins the running container; `execute.py` fills in what its request says."""
    seccomp = wishes.get("seccomp")
    return [
        ops_cgroup.EnterGroup(group=group),
        identify(process),
        ops_exec.Console(device=False),
        scores(process),
        *privileges(process, seccomp),
        *command(process, False),
        *last_filter(process, seccomp),
        execute(process, False),
    ]
