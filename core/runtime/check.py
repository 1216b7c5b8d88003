"""Types every field of a config.json before anything is made (runtime-spec v1.3: config.md, config-linux.md).

A refusal names the field by its JSON path: "linux.seccomp.syscalls[3].args[0].op: ...". Unknown fields are passed over,
as the specification demands (config.md, "Extensibility"); null means absent. What several fields mean together is
`check_rules`' business.
"""

from __future__ import annotations

import os
import stat

from pyctr.core import errors, jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    Check = Callable[[Any, str], None]


def _words(text: str) -> list[str]:
    return text.split()


I32 = (-(1 << 31), (1 << 31) - 1)
I64 = (-(1 << 63), (1 << 63) - 1)
U16 = (0, (1 << 16) - 1)
U32 = (0, (1 << 32) - 1)
U64 = (0, (1 << 64) - 1)

NAMESPACES = ("pid", "network", "mount", "uts", "ipc", "user", "cgroup", "time")
PROPAGATIONS = ("shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable", "runbindable")
POLICIES = (
    "SCHED_OTHER",
    "SCHED_FIFO",
    "SCHED_RR",
    "SCHED_BATCH",
    "SCHED_ISO",
    "SCHED_IDLE",
    "SCHED_DEADLINE",
)
SCHEDULER_FLAGS = (
    "SCHED_FLAG_RESET_ON_FORK",
    "SCHED_FLAG_RECLAIM",
    "SCHED_FLAG_DL_OVERRUN",
    "SCHED_FLAG_KEEP_POLICY",
    "SCHED_FLAG_KEEP_PARAMS",
    "SCHED_FLAG_UTIL_CLAMP_MIN",
    "SCHED_FLAG_UTIL_CLAMP_MAX",
)
IO_CLASSES = ("IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE")
MEMORY_MODES = (
    "MPOL_DEFAULT",
    "MPOL_PREFERRED",
    "MPOL_BIND",
    "MPOL_INTERLEAVE",
    "MPOL_LOCAL",
    "MPOL_PREFERRED_MANY",
    "MPOL_WEIGHTED_INTERLEAVE",
)
MEMORY_FLAGS = ("MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES", "MPOL_F_NUMA_BALANCING")
CAPABILITY_SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")
SECCOMP_ACTIONS = tuple(
    f"SCMP_ACT_{name}" for name in _words("KILL KILL_PROCESS KILL_THREAD TRAP ERRNO TRACE ALLOW LOG NOTIFY")
)
SECCOMP_ARCHITECTURES = tuple(
    f"SCMP_ARCH_{name}"
    for name in _words(
        "X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE S390 S390X "
        "PARISC PARISC64 RISCV64 LOONGARCH64 M68K SH SHEB"
    )
)
SECCOMP_FLAGS = tuple(f"SECCOMP_FILTER_FLAG_{name}" for name in ("TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"))
SECCOMP_OPERATORS = tuple(f"SCMP_CMP_{name}" for name in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"))


def refuse(path: str, what: str, hint: str = "") -> NoReturn:
    """Raises UsageError for the field at a JSON path."""
    raise errors.UsageError(f"{path}: {what}", hint=hint)


def shown(value: object) -> str:
    """A value in a message, short and on one line."""
    if isinstance(value, str):
        text = value.encode("unicode_escape", "replace").decode() if not value.isprintable() else value
        return f"'{text if len(text) <= 60 else text[:57] + '...'}'"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 256 else "a number of many digits"
    if isinstance(value, float):
        return repr(value)
    return "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else "null"


def text(value: Any, path: str) -> None:
    """A string the kernel can take."""
    if not isinstance(value, str):
        refuse(path, f"{shown(value)} is not a string")
    if "\0" in value:
        refuse(path, "contains a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError:
        refuse(path, "is not valid Unicode")


def word(value: Any, path: str) -> None:
    """A string that is not empty."""
    text(value, path)
    if not value:
        refuse(path, "is empty")


def absolute(value: Any, path: str) -> None:
    text(value, path)
    if not value.startswith("/"):
        refuse(path, f"{shown(value)} is not an absolute path")


def flag(value: Any, path: str) -> None:
    if not isinstance(value, bool):
        refuse(path, f"{shown(value)} is not true or false")


def number(low: int, high: int) -> Check:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            refuse(path, f"{shown(value)} is not a whole number")
        if not low <= value <= high:
            refuse(path, f"{shown(value)} is not between {low} and {high}")

    return check


def one_of(*values: str) -> Check:
    known = frozenset(values)

    def check(value: Any, path: str) -> None:
        if not isinstance(value, str) or value not in known:
            refuse(path, f"{shown(value)} is unknown", " ".join(values))

    return check


def many(item: Check) -> Check:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, list):
            refuse(path, f"{shown(value)} is not a list")
        for index, entry in enumerate(value):
            item(entry, f"{path}[{index}]")

    return check


def table(item: Check) -> Check:
    """An object whose keys are names of the user's choice."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, dict):
            refuse(path, f"{shown(value)} is not an object")
        for key, entry in value.items():
            word(key, f"{path}[{shown(key)}]")
            item(entry, f"{path}.{key}")

    return check


def fields(required: str = "", **known: Check) -> Check:
    needed = required.split()

    def check(value: Any, path: str) -> None:
        if not isinstance(value, dict):
            refuse(path or "config.json", f"{shown(value)} is not an object")
        prefix = f"{path}." if path else ""
        for name in needed:
            if value.get(name) is None:
                refuse(prefix + name, "is missing")
        for name, entry in value.items():
            if entry is not None and name in known:
                known[name](entry, prefix + name)

    return check


texts, words, absolutes = many(text), many(word), many(absolute)
_i64, _u16, _u32, _u64 = number(*I64), number(*U16), number(*U32), number(*U64)
_mappings = many(fields("containerID hostID size", containerID=_u32, hostID=_u32, size=_u32))
_number = number(-1, U32[1])
_device = {"major": _number, "minor": _number}

_hook = fields("path", path=absolute, args=texts, env=texts, timeout=number(1, I32[1]))
_user = fields(
    uid=number(0, U32[1] - 1),
    gid=number(0, U32[1] - 1),
    umask=_u32,
    additionalGids=many(number(0, U32[1] - 1)),
    username=text,
    additionalGroups=words,
)
_process = fields(
    "args cwd",
    terminal=flag,
    consoleSize=fields("height width", height=_u16, width=_u16),
    user=_user,
    args=texts,
    env=texts,
    cwd=absolute,
    capabilities=fields(bounding=texts, effective=texts, inheritable=texts, permitted=texts, ambient=texts),
    rlimits=many(fields("type hard soft", type=word, hard=_u64, soft=_u64)),
    noNewPrivileges=flag,
    apparmorProfile=text,
    selinuxLabel=text,
    oomScoreAdj=number(-1000, 1000),
    scheduler=fields(
        "policy",
        policy=one_of(*POLICIES),
        nice=number(-20, 19),
        priority=number(0, 99),
        flags=many(one_of(*SCHEDULER_FLAGS)),
        runtime=_u64,
        deadline=_u64,
        period=_u64,
    ),
    ioPriority=fields("class", **{"class": one_of(*IO_CLASSES), "priority": number(0, 7)}),
    execCPUAffinity=fields(initial=text, final=text),
)
_mount = fields(
    "destination",
    destination=word,
    type=text,
    source=text,
    options=texts,
    uidMappings=_mappings,
    gidMappings=_mappings,
)
_throttles = many(fields("major minor rate", **_device, rate=_u64))
_resources = fields(
    devices=many(
        fields("allow", allow=flag, type=one_of("", "a", "b", "c"), access=text, **_device),
    ),
    memory=fields(
        limit=_i64,
        reservation=_i64,
        swap=_i64,
        kernel=_i64,
        kernelTCP=_i64,
        swappiness=number(0, 200),
        disableOOMKiller=flag,
        useHierarchy=flag,
        checkBeforeUpdate=flag,
    ),
    cpu=fields(
        shares=_u64,
        quota=_i64,
        burst=_u64,
        period=_u64,
        realtimeRuntime=_i64,
        realtimePeriod=_u64,
        cpus=text,
        mems=text,
        idle=number(0, 1),
    ),
    pids=fields(limit=_i64),
    blockIO=fields(
        weight=_u16,
        leafWeight=_u16,
        weightDevice=many(fields("major minor", **_device, weight=_u16, leafWeight=_u16)),
        throttleReadBpsDevice=_throttles,
        throttleWriteBpsDevice=_throttles,
        throttleReadIOPSDevice=_throttles,
        throttleWriteIOPSDevice=_throttles,
    ),
    hugepageLimits=many(fields("pageSize limit", pageSize=word, limit=_u64)),
    network=fields(classID=_u32, priorities=many(fields("name priority", name=word, priority=_u32))),
    rdma=table(fields(hcaHandles=_u32, hcaObjects=_u32)),
    unified=table(text),
)
_seccomp = fields(
    "defaultAction",
    defaultAction=one_of(*SECCOMP_ACTIONS),
    defaultErrnoRet=number(0, 4095),
    architectures=many(one_of(*SECCOMP_ARCHITECTURES)),
    flags=many(one_of(*SECCOMP_FLAGS)),
    listenerPath=text,
    listenerMetadata=text,
    syscalls=many(
        fields(
            "names action",
            names=words,
            action=one_of(*SECCOMP_ACTIONS),
            errnoRet=number(0, 4095),
            args=many(
                fields(
                    "index value op",
                    index=number(0, 5),
                    value=_u64,
                    valueTwo=_u64,
                    op=one_of(*SECCOMP_OPERATORS),
                )
            ),
        )
    ),
)
_linux = fields(
    namespaces=many(fields("type", type=one_of(*NAMESPACES), path=text)),
    uidMappings=_mappings,
    gidMappings=_mappings,
    timeOffsets=table(fields(secs=_i64, nanosecs=number(0, 999_999_999))),
    devices=many(
        fields(
            "type path",
            type=one_of("c", "b", "u", "p"),
            path=absolute,
            fileMode=_u32,
            uid=number(0, U32[1] - 1),
            gid=number(0, U32[1] - 1),
            **_device,
        )
    ),
    netDevices=table(fields(name=text)),
    cgroupsPath=text,
    resources=_resources,
    rootfsPropagation=one_of("", *PROPAGATIONS),
    seccomp=_seccomp,
    sysctl=table(text),
    maskedPaths=absolutes,
    readonlyPaths=absolutes,
    mountLabel=text,
    intelRdt=fields(
        closID=text,
        l3CacheSchema=text,
        memBwSchema=text,
        schemata=texts,
        enableMonitoring=flag,
        enableCMT=flag,
        enableMBM=flag,
    ),
    personality=fields("domain", domain=one_of("LINUX", "LINUX32"), flags=texts),
    memoryPolicy=fields("mode", mode=one_of(*MEMORY_MODES), nodes=text, flags=many(one_of(*MEMORY_FLAGS))),
)
_config = fields(
    "ociVersion root process",
    ociVersion=word,
    root=fields("path", path=word, readonly=flag),
    process=_process,
    hostname=text,
    domainname=text,
    mounts=many(_mount),
    hooks=fields(
        prestart=many(_hook),
        createRuntime=many(_hook),
        createContainer=many(_hook),
        startContainer=many(_hook),
        poststart=many(_hook),
        poststop=many(_hook),
    ),
    annotations=table(text),
    linux=_linux,
)


def config(document: Any) -> list[str]:
    """Everything of a config.json. Returns warnings; raises UsageError for the first field that cannot be meant."""
    from pyctr.core.runtime import check_rules

    _config(document, "")
    return check_rules.config(document)


def process(document: Any) -> list[str]:
    """A process by itself, as `exec --process` reads it. Paths in messages begin with "process"."""
    from pyctr.core.runtime import check_rules

    _process(document, "process")
    return check_rules.process(document)


def resources(document: Any) -> None:
    """Resources by themselves, as `update --resources` reads them."""
    from pyctr.core.runtime import check_rules

    _resources(document, "linux.resources")
    check_rules.resources(document, change=True)


def load(path: str) -> dict[str, Any]:
    """The document in a file or pipe, not yet checked. Raises NotFound, or UsageError for what is no JSON object."""
    try:
        # whatever a bundle has in its place: nobody waits for a FIFO without a writer, nor reads from a device
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            kind = stat.S_IFMT(os.fstat(fd).st_mode)
            if kind not in (stat.S_IFREG, stat.S_IFIFO):
                raise errors.UsageError(f"'{path}' is not a file")
            os.set_blocking(fd, True)
            content = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise errors.NotFound(f"no such file '{path}'", hint="--bundle names the directory of config.json") from None
    except OSError as error:
        raise errors.UsageError(f"cannot read '{path}': {(error.strerror or '').lower()}") from error
    if len(content) > _LARGEST:
        raise errors.UsageError(f"'{path}' has more than {_LARGEST >> 20} MiB")
    return parse(content, f"'{path}'")


_LARGEST = 64 << 20
"""Bytes of a document: with all arguments and variables that an execve takes, some 10 MiB are possible."""


def parse(content: bytes, name: str) -> dict[str, Any]:
    """The document in a text that messages call `name`. Raises UsageError for what is no JSON object."""
    try:
        document = jsontext.loads(content)
    except RecursionError:
        raise errors.UsageError(f"{name} is nested too deeply") from None
    except ValueError as error:
        raise errors.UsageError(f"{name} is not valid JSON: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise errors.UsageError(f"{name} is not a JSON object")
    return document
