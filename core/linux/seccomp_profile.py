"""What a seccomp profile means: the verdict for every call number of every architecture, as a program.

Where the parts of a profile overlap:
* an unconditional rule swallows the looser conditional ones of the same call; the first unconditional one counts;
* of conditional rules that hold at once the strictest counts, in the kernel's order of actions;
* calls with numbers beyond the last one the profile names get ENOSYS instead of a refusing default, so that programs
  built for newer kernels fall back (runc does the same);
* programs of an architecture the profile does not list are killed.
"""

from __future__ import annotations

import errno

from pyctr.core.linux import bpftree
from pyctr.core.linux.seccomp import (
    ACTIONS,
    RET_ERRNO,
    RET_KILL_PROCESS,
    RET_TRACE,
    RET_USER_NOTIF,
    parse_version,
)
from pyctr.core.linux.syscalls import TABLES, X32_BIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.linux.bpftree import Condition, Verdict

OPERATORS = {f"SCMP_CMP_{name}": name for name in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")}

# host machine -> (Go's name of it, by which Docker's includes and excludes go; our table; the profile's name)
_HOSTS = {
    "x86_64": ("amd64", "x86_64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "aarch64", "SCMP_ARCH_AARCH64"),
}
_ALIASES = {"amd64": "x86_64", "arm64": "aarch64"}

# what one audit architecture answers for: (AUDIT_ARCH_*, tables and their names in profiles), native table first
AUDIT = {
    "x86_64": [
        (0xC000003E, [("x86_64", "SCMP_ARCH_X86_64"), ("x32", "SCMP_ARCH_X32")]),
        (0x40000003, [("x86", "SCMP_ARCH_X86")]),
    ],
    "aarch64": [
        (0xC00000B7, [("aarch64", "SCMP_ARCH_AARCH64")]),
        (0x40000028, [("arm", "SCMP_ARCH_ARM")]),
    ],
}
_ARM_PRIVATE = 0x0F0000

# Arguments that the kernel takes as 32 bits whatever the upper half of the register holds. Compared whole, a program
# would slip past a rule by setting a bit up there (as with TIOCSTI in CVE-2019-10063).
_INTS = frozenset(
    {
        ("bpf", 0),
        ("fcntl", 1),
        ("ioctl", 1),
        ("keyctl", 0),
        ("personality", 0),
        ("prctl", 0),
        ("seccomp", 0),
        ("seccomp", 1),
        ("setns", 1),
        ("setsockopt", 1),
        ("setsockopt", 2),
        ("socket", 0),
        ("socket", 1),
        ("socket", 2),
        ("socketpair", 0),
        ("socketpair", 1),
        ("socketpair", 2),
    }
)

# i386 reaches these also through one call whose first argument tells which (socketcall(2), ipc(2))
_SOCKETCALL = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
]
_IPC = {
    "semop": 1,
    "semget": 2,
    "semctl": 3,
    "semtimedop": 4,
    "msgsnd": 11,
    "msgrcv": 12,
    "msgget": 13,
    "msgctl": 14,
    "shmat": 21,
    "shmdt": 22,
    "shmget": 23,
    "shmctl": 24,
}


def program(profile: dict[str, Any], arch: str, caps: frozenset[str], kernel: tuple[int, int]) -> bytes:
    """See `seccomp.compile`."""
    arch = _ALIASES.get(arch, arch)
    if arch not in _HOSTS:
        raise ValueError(f"no system call numbers for machine '{arch}'")
    default = _action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    if default == RET_USER_NOTIF:
        raise ValueError("seccomp default action 'SCMP_ACT_NOTIFY' would stop the process that answers")
    enosys = RET_ERRNO | errno.ENOSYS
    beyond = default if _permissive(default) else enosys
    wanted = _architectures(profile, arch)
    rules = _applicable(profile, _HOSTS[arch][0], caps, kernel)
    sections = []
    for audit, members in AUDIT[arch]:
        base: list[tuple[int, int]] = []
        single: dict[int, Verdict] = {}
        for table, name in members:
            start = X32_BIT if table == "x32" else 0
            if name not in wanted:
                base.append((start, RET_KILL_PROCESS))
                continue
            verdicts = _verdicts(rules, default, table, TABLES[table])
            single.update(verdicts)
            base.append((start, default))
            # 32-bit ARM has a few calls of its own far behind the others
            known = [number for number in verdicts if table != "arm" or number < _ARM_PRIVATE]
            if known:
                base.append((max(known) + 1, beyond))
            if table == "arm":
                base.append((_ARM_PRIVATE, default))
        # -1 is no call but what a tracer leaves behind of one it cancelled: never a reason to kill
        base.append((0xFFFFFFFF, beyond))
        if all(name not in wanted for _, name in members):
            continue
        sections.append((audit, bpftree.spans(base, single)))
    return bpftree.pack(bpftree.dispatch(sections, RET_KILL_PROCESS))


def _action(name: str, errno_ret: int | None) -> int:
    if name not in ACTIONS:
        raise ValueError(f"unknown seccomp action '{name}'")
    action = ACTIONS[name]
    if action in (RET_ERRNO, RET_TRACE):
        value = errno.EPERM if errno_ret is None else errno_ret
        if not 0 <= value <= 4095:
            raise ValueError(f"seccomp errno '{value}' is not between 0 and 4095")
        action |= value
    return action


def _strictness(action: int) -> int:
    """The kernel takes the smallest, as a signed number, of what several filters return."""
    kind = action & 0xFFFF0000
    return kind - (1 << 32) if kind & 0x80000000 else kind


def _permissive(action: int) -> bool:
    return _strictness(action) >= RET_TRACE


def _architectures(profile: dict[str, Any], arch: str) -> frozenset[str]:
    """The profile's architecture names that count on this host; its own always does."""
    native = _HOSTS[arch][2]
    names = {native, *(profile.get("architectures") or ())}
    for entry in profile.get("archMap") or ():
        if entry["architecture"] == native:
            names.update(entry.get("subArchitectures") or ())
    for name in names:
        if not name.startswith("SCMP_ARCH_"):
            raise ValueError(f"unknown seccomp architecture '{name}'")
    return frozenset(names)


def _applicable(
    profile: dict[str, Any], host: str, caps: frozenset[str], kernel: tuple[int, int]
) -> list[tuple[list[str], int, list[dict[str, Any]]]]:
    """(names, action, args) of the rules whose includes and excludes fit (moby, profiles/seccomp)."""
    found = []
    for rule in profile.get("syscalls") or ():
        includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
        if caps.intersection(excludes.get("caps") or ()) or host in (excludes.get("arches") or ()):
            continue
        if excludes.get("minKernel") and kernel >= parse_version(excludes["minKernel"]):
            continue
        if not caps.issuperset(includes.get("caps") or ()):
            continue
        if includes.get("arches") and host not in includes["arches"]:
            continue
        if includes.get("minKernel") and kernel < parse_version(includes["minKernel"]):
            continue
        names = [*(rule.get("names") or ()), *([rule["name"]] if rule.get("name") else ())]
        found.append((names, _action(rule["action"], rule.get("errnoRet")), rule.get("args") or []))
    return found


def _verdicts(
    rules: list[tuple[list[str], int, list[dict[str, Any]]]], default: int, table: str, numbers: dict[str, int]
) -> dict[int, Verdict]:
    """number -> verdict of every call that some rule names, in one architecture."""
    flat: dict[int, int] = {}
    links: dict[int, list[tuple[int, tuple[Condition, ...]]]] = {}
    narrow = table in ("x86", "arm")
    for names, action, arguments in rules:
        for name in names:
            number = numbers.get(name)
            if number is not None:
                alternatives = _alternatives(name, arguments, narrow)
                if not alternatives:
                    if action != default:
                        flat.setdefault(number, action)
                    links.setdefault(number, [])
                for conditions in alternatives:
                    links.setdefault(number, []).append((action, conditions))
            if table == "x86" and (muxed := _multiplexed(name)):
                # what such a call passes on is in memory: a rule on arguments can only refuse it, never let it through
                if arguments and _permissive(action):
                    continue
                number = numbers[muxed[0]]
                condition = (0, "MASKED_EQ", 0xFFFF, muxed[1], True)
                links.setdefault(number, []).append((action, (condition,)))
    verdicts: dict[int, Verdict] = {}
    for number, chain in links.items():
        otherwise = flat.get(number, default)
        if number in flat:
            chain = [link for link in chain if _strictness(link[0]) < _strictness(otherwise)]
        chain.sort(key=lambda link: _strictness(link[0]))
        while chain and chain[-1][0] == otherwise:
            chain.pop()
        verdicts[number] = (tuple(chain), otherwise) if chain else otherwise
    return verdicts


def _multiplexed(name: str) -> tuple[str, int] | None:
    if name in _SOCKETCALL:
        return "socketcall", _SOCKETCALL.index(name) + 1
    if name in _IPC:
        return "ipc", _IPC[name]
    return None


def _alternatives(name: str, arguments: list[dict[str, Any]], narrow: bool) -> list[tuple[Condition, ...]]:
    """Conditions of one rule: one set, or each by itself when an argument occurs twice, as the field reads that."""
    conditions = []
    for argument in arguments:
        index, value, second = argument["index"], argument["value"], argument.get("valueTwo") or 0
        if argument["op"] not in OPERATORS:
            raise ValueError(f"unknown seccomp operator '{argument['op']}'")
        if not 0 <= index <= 5:
            raise ValueError(f"seccomp argument index '{index}' is not between 0 and 5")
        half = narrow or (name, index) in _INTS
        keep = 0xFFFFFFFF if half else 0xFFFFFFFFFFFFFFFF
        conditions.append((index, OPERATORS[argument["op"]], value & keep, second & keep, half))
    if len({condition[0] for condition in conditions}) < len(conditions):
        return [(condition,) for condition in conditions]
    return [tuple(conditions)] if conditions else []
