"""A config.json that uses every field of the runtime-spec at once, for checks and fuzzers. Not meant to be run."""

from __future__ import annotations

import json
from typing import Any


def full() -> dict[str, Any]:
    hook = {"path": "/bin/true", "args": ["true"], "env": ["K=v"], "timeout": 5}
    names = ["CAP_CHOWN", "CAP_KILL"]
    device = {"major": 8, "minor": 0}
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    document = {
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "box",
        "domainname": "example.test",
        "process": {
            "terminal": True,
            "consoleSize": {"height": 25, "width": 80},
            "user": {"uid": 1, "gid": 2, "umask": 63, "additionalGids": [5, 6]},
            "args": ["sh", "-c", "true"],
            "env": ["PATH=/bin", "EMPTY="],
            "cwd": "/tmp",
            "capabilities": dict.fromkeys(("bounding", "effective", "inheritable", "permitted", "ambient"), names),
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 512, "hard": 1024}],
            "noNewPrivileges": True,
            "apparmorProfile": "profile",
            "selinuxLabel": "a:b:c:d",
            "oomScoreAdj": 100,
            "scheduler": {
                "policy": "SCHED_BATCH",
                "nice": 5,
                "priority": 0,
                "flags": ["SCHED_FLAG_RESET_ON_FORK"],
                "runtime": 0,
                "deadline": 0,
                "period": 0,
            },
            "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
            "execCPUAffinity": {"initial": "0-1", "final": "0,1"},
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755", "size=65536k"]},
            {
                "destination": "data",
                "type": "none",
                "source": "/srv",
                "options": ["rbind", "rro", "ridmap", "rslave"],
                "uidMappings": mapping,
                "gidMappings": mapping,
            },
        ],
        "hooks": {
            name: [hook]
            for name in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
        },
        "annotations": {"com.example.key": "value", "empty": ""},
        "linux": {
            "namespaces": [
                *({"type": kind} for kind in ("pid", "mount", "uts", "ipc", "user", "cgroup", "time")),
                {"type": "network", "path": "/proc/1/ns/net"},
            ],
            "uidMappings": mapping,
            "gidMappings": mapping,
            "timeOffsets": {"monotonic": {"secs": 100, "nanosecs": 5}, "boottime": {"secs": -10}},
            "devices": [
                {"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229, "fileMode": 438, "uid": 0, "gid": 0},
                {"type": "p", "path": "/run/fifo"},
            ],
            "netDevices": {"eth7": {"name": "eth0"}, "eth8": {}},
            "cgroupsPath": "/pyctr/box",
            "resources": {
                "devices": [
                    {"allow": False, "access": "rwm"},
                    {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
                ],
                "memory": {
                    "limit": 1 << 29,
                    "reservation": 1 << 28,
                    "swap": 1 << 29,
                    "kernel": -1,
                    "kernelTCP": -1,
                    "swappiness": 0,
                    "disableOOMKiller": False,
                    "useHierarchy": True,
                    "checkBeforeUpdate": True,
                },
                "cpu": {
                    "shares": 1024,
                    "quota": 1000000,
                    "burst": 1000000,
                    "period": 500000,
                    "realtimeRuntime": 950000,
                    "realtimePeriod": 1000000,
                    "cpus": "0-1",
                    "mems": "0",
                    "idle": 0,
                },
                "pids": {"limit": 100},
                "blockIO": {
                    "weight": 10,
                    "leafWeight": 10,
                    "weightDevice": [{**device, "weight": 500, "leafWeight": 300}],
                    "throttleReadBpsDevice": [{**device, "rate": 600}],
                    "throttleWriteBpsDevice": [{**device, "rate": 600}],
                    "throttleReadIOPSDevice": [{**device, "rate": 600}],
                    "throttleWriteIOPSDevice": [{**device, "rate": 300}],
                },
                "hugepageLimits": [{"pageSize": "2MB", "limit": 209715200}],
                "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 500}]},
                "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}},
                "unified": {"memory.high": "1000000"},
            },
            "rootfsPropagation": "slave",
            "seccomp": {
                "defaultAction": "SCMP_ACT_ERRNO",
                "defaultErrnoRet": 38,
                "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
                "flags": ["SECCOMP_FILTER_FLAG_LOG"],
                "listenerPath": "/run/agent.sock",
                "listenerMetadata": "opaque",
                "syscalls": [
                    {
                        "names": ["getcwd", "chmod"],
                        "action": "SCMP_ACT_ERRNO",
                        "errnoRet": 1,
                        "args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}],
                    },
                    {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"},
                ],
            },
            "sysctl": {"net.ipv4.ip_forward": "1", "kernel.msgmax": "8192"},
            "maskedPaths": ["/proc/kcore"],
            "readonlyPaths": ["/proc/sys"],
            "mountLabel": "a:b:c:d",
            "intelRdt": {
                "closID": "group",
                "l3CacheSchema": "L3:0=7f0;1=1f",
                "memBwSchema": "MB:0=20;1=70",
                "schemata": ["L2:0=f"],
                "enableMonitoring": True,
            },
            "personality": {"domain": "LINUX32", "flags": []},
            "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
        },
    }
    # no two places share an object
    whole: dict[str, Any] = json.loads(json.dumps(document))
    return whole


def places(document: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place of a document, containers included."""
    found = [path] if path else []
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        found += places(value, (*path, key))
    return found


def put(document: Any, path: tuple[str | int, ...], value: Any) -> None:
    for key in path[:-1]:
        document = document[key]
    document[path[-1]] = value


def remove(document: Any, path: tuple[str | int, ...]) -> None:
    for key in path[:-1]:
        document = document[key]
    del document[path[-1]]


def spelled(path: tuple[str | int, ...]) -> str:
    """As messages spell it: linux.seccomp.syscalls[0].names."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text
