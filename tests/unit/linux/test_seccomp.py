"""Filters mean what their profile says, for every number of every architecture."""

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyctr.core.linux import bpftree, caps, seccomp
from pyctr.core.linux.syscalls import TABLES, X32_BIT
from tests.support import bpf, libseccomp, seccomp_oracle

AUDIT = {"x86_64": 0xC000003E, "x32": 0xC000003E, "x86": 0x40000003, "aarch64": 0xC00000B7, "arm": 0x40000028}
HOSTS = {"x86_64": ("amd64", ["x86_64", "x86", "x32"]), "aarch64": ("arm64", ["aarch64", "arm"])}
DOCKER = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
]
ARGUMENTS = [
    (0,) * 6,
    (40, 0, 0, 0, 0, 0),
    (40 | 1 << 32, 0, 0, 0, 0, 0),
    (8, 8, 8, 8, 8, 8),
    (131072, 1, 0, 0, 0, 0),
    (131080, 1, 0, 0, 0, 0),
    (0xFFFFFFFF,) * 6,
    (0xFFFFFFFFFFFFFFFF,) * 6,
    (0x10000000, 0, 0, 0, 0, 0),
    (0x3D0F00, 0, 0, 0, 0, 0),
    (0x7E020000 << 1, 0, 0, 0, 0, 0),
]
ENOSYS = ("SCMP_ACT_ERRNO", 38)
EPERM = ("SCMP_ACT_ERRNO", 1)


def default_profile() -> dict[str, Any]:
    with open(seccomp.DEFAULT) as file:
        return json.load(file)


def word(said: tuple[str, int]) -> int:
    action, value = said
    return seccomp.ACTIONS[action] | (value if action in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE") else 0)


def ask(program: bytes, arch: str, name_or_number: str | int, *arguments: int) -> int:
    number = TABLES[arch][name_or_number] if isinstance(name_or_number, str) else name_or_number
    return bpf.run(bpf.decode(program), bpf.seccomp_data(number, AUDIT[arch], arguments))[0]


@pytest.mark.parametrize("host", ["x86_64", "aarch64"])
@pytest.mark.parametrize("held", [DOCKER, [], caps.NAMES, ["CAP_SYS_PTRACE", "CAP_SYS_TIME"]], ids=len)
def test_every_number_gets_what_the_default_profile_says(host: str, held: list[str]) -> None:
    profile = default_profile()
    program = bpf.decode(seccomp.compile(profile, arch=host, caps=held, kernel=(6, 1)))
    rules = [rule for rule in profile["syscalls"] if seccomp_oracle.applies(rule, HOSTS[host][0], set(held), (6, 1))]
    named = {name for rule in rules for name in rule["names"]}
    for arch in HOSTS[host][1]:
        names = {number: name for name, number in TABLES[arch].items()}
        bit = X32_BIT if arch == "x32" else 0
        last = max(number for number, name in names.items() if name in named and number - bit < 0xF0000)
        bits = 32 if arch in ("x86", "arm") else 64
        for number in [*range(bit, bit + 700), *range(0xF0000, 0xF0010), 0x3FFFFFFF, bit | 0x0FFFFFFF]:
            name = names.get(number)
            samples = ARGUMENTS if name in ("socket", "clone", "personality", "clone3", "read") else ARGUMENTS[:1]
            for arguments in samples:
                # the kernel reads these as int, so the upper half must not decide
                width = 32 if (name, 0) in (("socket", 0), ("personality", 0)) else bits
                expected = seccomp_oracle.verdict(profile, rules, name, arguments, width)
                if arch == "x32" and number < X32_BIT:
                    continue
                if number > last and not (arch == "arm" and number >= 0xF0000):
                    expected = ENOSYS
                got = bpf.run(program, bpf.seccomp_data(number, AUDIT[arch], arguments))[0]
                assert got == word(expected), (arch, number, name, arguments)


def test_what_the_field_refuses_and_allows_by_default() -> None:
    program = seccomp.compile(default_profile(), arch="x86_64", caps=DOCKER, kernel=(6, 1))
    for name in ("mount", "keyctl", "kexec_load", "bpf", "unshare", "setns", "init_module", "io_uring_setup", "reboot"):
        assert ask(program, "x86_64", name) == word(EPERM), name
    for name in ("read", "execve", "chroot", "ptrace", "mseal", "futex_wait", "setxattrat", "seccomp"):
        assert ask(program, "x86_64", name) == seccomp.RET_ALLOW, name
    assert ask(program, "x86_64", "clone3") == word(ENOSYS)
    assert ask(program, "x86_64", "clone", 0x10000000) == word(EPERM)
    assert ask(program, "x86_64", "clone", 0x3D0F00) == seccomp.RET_ALLOW
    assert ask(program, "x86_64", 5000) == word(ENOSYS)
    assert ask(program, "x86_64", -1) == word(ENOSYS)
    admin = seccomp.compile(default_profile(), arch="x86_64", caps=[*DOCKER, "CAP_SYS_ADMIN"], kernel=(6, 1))
    for name in ("mount", "unshare", "clone3"):
        assert ask(admin, "x86_64", name) == seccomp.RET_ALLOW
    assert ask(admin, "x86_64", "clone", 0x10000000) == seccomp.RET_ALLOW


def test_an_old_kernel_does_not_get_ptrace() -> None:
    program = seccomp.compile(default_profile(), arch="x86_64", caps=DOCKER, kernel=(4, 7))
    assert ask(program, "x86_64", "ptrace") == word(EPERM)


def test_bits_the_kernel_ignores_do_not_open_a_refused_socket_or_ioctl() -> None:
    program = seccomp.compile(default_profile(), arch="x86_64", caps=DOCKER, kernel=(6, 1))
    assert ask(program, "x86_64", "socket", 40) == word(EPERM)
    assert ask(program, "x86_64", "socket", 40 | 1 << 32) == word(EPERM)
    assert ask(program, "x86_64", "socket", 2 | 1 << 32) == seccomp.RET_ALLOW
    no_tiocsti = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {
                "names": ["ioctl"],
                "action": "SCMP_ACT_ERRNO",
                "args": [{"index": 1, "value": 0x5412, "op": "SCMP_CMP_EQ"}],
            }
        ],
    }
    program = seccomp.compile(no_tiocsti, arch="x86_64", caps=[], kernel=(6, 1))
    assert ask(program, "x86_64", "ioctl", 0, 0x5412 | 1 << 40) == word(EPERM)
    assert ask(program, "x86_64", "ioctl", 0, 0x5413) == seccomp.RET_ALLOW


def test_foreign_programs_are_killed_unless_the_profile_lists_them() -> None:
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}
    program = seccomp.compile(profile, arch="x86_64", caps=[], kernel=(6, 1))
    assert ask(program, "x86_64", "read") == seccomp.RET_ALLOW
    for arch in ("x86", "x32", "arm"):
        assert ask(program, arch, "read") == seccomp.RET_KILL_PROCESS
    assert ask(program, "x86_64", -1) == seccomp.RET_ALLOW
    both = {**profile, "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]}
    program = seccomp.compile(both, arch="x86_64", caps=[], kernel=(6, 1))
    assert ask(program, "x86", "read") == seccomp.RET_ALLOW
    assert ask(program, "x32", "read") == seccomp.RET_KILL_PROCESS


def test_i386_multiplexers_are_no_way_around() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [
            {"names": ["socket", "shmat"], "action": "SCMP_ACT_ERRNO"},
            {
                "names": ["bind"],
                "action": "SCMP_ACT_ERRNO",
                "args": [{"index": 0, "value": 3, "op": "SCMP_CMP_EQ"}],
            },
        ],
    }
    program = seccomp.compile(profile, arch="x86_64", caps=[], kernel=(6, 1))
    assert ask(program, "x86", "socket") == word(EPERM)
    assert ask(program, "x86", "socketcall", 1) == word(EPERM)
    assert ask(program, "x86", "socketcall", 2) == word(EPERM)
    assert ask(program, "x86", "socketcall", 3) == seccomp.RET_ALLOW
    assert ask(program, "x86", "ipc", 21) == word(EPERM)
    assert ask(program, "x86", "ipc", 21 | 1 << 16) == word(EPERM)
    assert ask(program, "x86", "ipc", 22) == seccomp.RET_ALLOW
    listed = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [
            {"names": ["connect"], "action": "SCMP_ACT_ALLOW"},
            {
                "names": ["socket"],
                "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}],
            },
        ],
    }
    program = seccomp.compile(listed, arch="x86_64", caps=[], kernel=(6, 1))
    assert ask(program, "x86", "socketcall", 3) == seccomp.RET_ALLOW
    assert ask(program, "x86", "socketcall", 1) == word(EPERM)


def test_enosys_is_not_forced_on_profiles_that_allow_what_they_do_not_name() -> None:
    for action in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"):
        profile = {"defaultAction": action, "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_ERRNO"}]}
        program = seccomp.compile(profile, arch="x86_64", caps=[], kernel=(6, 1))
        assert ask(program, "x86_64", 4000) == word((action, 1))
    kill = {"defaultAction": "SCMP_ACT_KILL", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}
    program = seccomp.compile(kill, arch="x86_64", caps=[], kernel=(6, 1))
    assert ask(program, "x86_64", "write") == word(ENOSYS)
    assert ask(program, "x86", "read") == seccomp.RET_KILL_PROCESS


def test_all_actions_have_their_word() -> None:
    rules = [
        {"names": [name], "action": action, "errnoRet": 7}
        for name, action in zip(("read", "open", "stat", "poll", "brk", "pipe", "dup", "sync"), ACTIONS, strict=True)
    ]
    program = seccomp.compile({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}, arch="x86_64", caps=[], kernel=K)
    expected = [0, 0x80000000, 0x30000, 0x50007, 0x7FC00000, 0x7FF00007, 0x7FFC0000, 0x7FFF0000]
    assert [ask(program, "x86_64", rule["names"][0]) for rule in rules] == expected


K = (6, 1)
ACTIONS = [
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_LOG",
    "SCMP_ACT_ALLOW",
]


@pytest.mark.parametrize(
    ("profile", "complaint"),
    [
        ({"defaultAction": "SCMP_ACT_NOPE"}, "'SCMP_ACT_NOPE'"),
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, "SCMP_ACT_NOTIFY"),
        ({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5000}, "'5000'"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["x86"]}, "'x86'"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "ALLOW"}]}, "'ALLOW'"),
    ],
)
def test_a_wrong_profile_is_refused_with_the_wrong_word(profile: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        seccomp.compile(profile, arch="x86_64", caps=[], kernel=K)


def test_flags() -> None:
    assert seccomp.flags({}) == seccomp.FLAG_SPEC_ALLOW
    assert seccomp.flags({"flags": []}) == 0
    assert seccomp.flags({"flags": ["SECCOMP_FILTER_FLAG_LOG"]}) == seccomp.FLAG_LOG
    with pytest.raises(ValueError, match="'X'"):
        seccomp.flags({"flags": ["X"]})


interesting = st.one_of(
    st.sampled_from([0, 1, 0xFFFFFFFF, 1 << 32, (1 << 32) + 1, (1 << 64) - 1, 1 << 63]), st.integers(0, (1 << 64) - 1)
)
conditions = st.fixed_dictionaries(
    {
        "index": st.integers(0, 2),
        "value": interesting,
        "valueTwo": interesting,
        "op": st.sampled_from(["SCMP_CMP_" + name for name in ("EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ")]),
    }
)
rules = st.fixed_dictionaries(
    {
        "names": st.lists(st.sampled_from(["read", "write", "open", "mount", "kill"]), min_size=1, max_size=3),
        "action": st.sampled_from(ACTIONS),
        "errnoRet": st.integers(0, 40),
        "args": st.lists(conditions, max_size=3),
    }
)


@settings(max_examples=150, deadline=None)
@given(st.lists(rules, max_size=6), st.lists(st.tuples(*[interesting] * 3), min_size=1, max_size=4), st.data())
def test_any_profile_on_any_arguments(listed: list[dict[str, Any]], calls: list[tuple[int, ...]], data: Any) -> None:
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "syscalls": listed}
    program = seccomp.compile(profile, arch="x86_64", caps=[], kernel=K)
    values = [condition[key] for rule in listed for condition in rule["args"] for key in ("value", "valueTwo")]
    near = st.sampled_from([(value + step) % (1 << 64) for value in values or [0] for step in (-1, 0, 1)])
    calls = [*calls, *[data.draw(st.tuples(near, near, near)) for _ in range(4)]]
    for name in ("read", "write", "open", "mount", "kill"):
        if not any(name in rule["names"] for rule in listed):
            continue
        for arguments in calls:
            expected = seccomp_oracle.verdict(profile, listed, name, arguments)
            assert ask(program, "x86_64", name, *arguments) == word(expected)


def test_jumps_beyond_255_instructions_arrive() -> None:
    spans = [(number * 3, number) for number in range(1000)]
    program = bpftree.dispatch([(1, spans), (2, [(0, 7)])], 9)
    for number in (0, 1, 2, 3, 1499, 1500, 2996, 2997, 5000):
        data = bpf.seccomp_data(number, 1)
        got, steps = bpf.run(program, data)
        assert got == min(number // 3, 999)
        assert steps < 40
    assert bpf.run(program, bpf.seccomp_data(5, 2))[0] == 7
    assert bpf.run(program, bpf.seccomp_data(5, 3))[0] == 9
    assert all(jt <= 255 and jf <= 255 for _, jt, jf, _ in program)


def test_a_filter_too_long_for_the_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="4096"):
        bpftree.pack([(bpftree.RET, 0, 0, 0)] * 5000)


def test_the_default_filter_is_a_tree_not_a_list() -> None:
    program = bpf.decode(seccomp.compile(default_profile(), arch="x86_64", caps=DOCKER, kernel=K))
    assert len(program) < 1000
    longest = max(bpf.run(program, bpf.seccomp_data(number, AUDIT["x86_64"]))[1] for number in range(600))
    assert longest <= 20


@pytest.mark.parametrize("arch", list(TABLES))
def test_every_number_is_libseccomps(arch: str) -> None:
    library = libseccomp.load()
    if library is None:
        pytest.skip("libseccomp2 is not installed")
    compared = 0
    for name, number in TABLES[arch].items():
        theirs = libseccomp.resolve(library, arch, name)
        if theirs < 0:
            continue  # newer than the library, or a name of its own for it
        assert theirs == number, name
        compared += 1
    assert compared > 300
    # and none of theirs is missing here
    library.seccomp_syscall_resolve_num_arch.restype = libseccomp.ctypes.c_void_p
    base = X32_BIT if arch == "x32" else 0
    for number in range(base, base + 600):
        name = library.seccomp_syscall_resolve_num_arch(
            libseccomp.ctypes.c_uint32(libseccomp.TOKENS[arch]), libseccomp.ctypes.c_int(number)
        )
        if name:
            assert TABLES[arch][libseccomp.ctypes.string_at(name).decode()] == number


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="libseccomp filters for its own machine")
@pytest.mark.parametrize("held", [DOCKER, caps.NAMES], ids=len)
def test_the_default_filter_agrees_with_the_one_libseccomp_generates(held: list[str]) -> None:
    library = libseccomp.load()
    if library is None:
        pytest.skip("libseccomp2 is not installed")
    profile = default_profile()
    theirs = libseccomp.Filter(library, word(EPERM), ["x86_64", "x86", "x32"])
    for rule in profile["syscalls"]:
        if not seccomp_oracle.applies(rule, "amd64", set(held), K):
            continue
        for name in rule["names"]:
            action = word((rule["action"], rule.get("errnoRet", 1)))
            compare = [
                (item["index"], libseccomp.OPERATORS[item["op"]], item["value"], item.get("valueTwo", 0))
                for item in rule.get("args", [])
            ]
            assert theirs.add(action, name, compare) in (0, -1), name
    other = bpf.decode(theirs.export())
    mine = bpf.decode(seccomp.compile(profile, arch="x86_64", caps=held, kernel=K))
    for arch in ("x86_64", "x86", "x32"):
        for name, number in TABLES[arch].items():
            if libseccomp.resolve(library, arch, name) != number:
                continue
            for arguments in ARGUMENTS:
                if name in ("socket", "personality") and max(arguments) > 0xFFFFFFFF:
                    continue  # here we look at what the kernel looks at
                data = bpf.seccomp_data(number, AUDIT[arch], arguments)
                assert bpf.run(mine, data)[0] == bpf.run(other, data)[0], (arch, name, arguments)


def test_the_cache_remembers_and_forgets_when_it_must(tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}))
    cache = tmp_path / "cache"
    first = seccomp.compiled(str(profile), DOCKER, str(cache))
    (entry,) = cache.iterdir()
    assert entry.stat().st_mode & 0o777 == 0o600
    # a mark in the remembered program shows that it is the one that is used
    marked = entry.read_bytes()[:-8] + struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000)
    entry.write_bytes(marked)
    assert seccomp.compiled(str(profile), list(reversed(DOCKER)), str(cache)) == first[:-8] + marked[-8:]
    assert seccomp.compiled(str(profile), DOCKER[1:], str(cache)) == first
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_LOG", "syscalls": []}))
    assert seccomp.compiled(str(profile), DOCKER, str(cache)) != first
    document = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}
    assert seccomp.compiled(document, DOCKER, str(cache)) == first
    assert seccomp.compiled(document, DOCKER, str(cache)) == first


@pytest.mark.parametrize("damage", ["cut", "empty", "writable", "other key", "link"])
def test_a_damaged_or_foreign_cache_entry_is_not_believed(tmp_path: Path, damage: str) -> None:
    document = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}
    first = seccomp.compiled(document, DOCKER, str(tmp_path))
    (entry,) = tmp_path.iterdir()
    content = entry.read_bytes()
    evil = content[:-8] + struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000)
    if damage == "cut":
        entry.write_bytes(content[:-8])
    elif damage == "empty":
        entry.write_bytes(b"")
    elif damage == "writable":
        entry.write_bytes(evil)
        entry.chmod(0o666)
    elif damage == "other key":
        entry.write_bytes(evil.replace(b"CAP_CHOWN", b"CAP_CHEWN"))
    else:
        other = tmp_path / "other"
        other.write_bytes(evil)
        entry.unlink()
        entry.symlink_to(other)
    assert seccomp.compiled(document, DOCKER, str(tmp_path)) == first


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    document = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}
    program = seccomp.compiled(document, [], str(tmp_path / "file" / "cache"))
    assert program == seccomp.compile(document, arch=os.uname().machine, caps=[], kernel=seccomp.kernel_version())


def test_a_file_that_is_no_profile_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for content, complaint in (("{", "not valid JSON"), ("[]", "not a seccomp profile"), ("{}", "defaultAction")):
        path.write_text(content)
        with pytest.raises(ValueError, match=complaint) as caught:
            seccomp.compiled(str(path), [], str(tmp_path / "cache"))
        assert str(path) in str(caught.value)


def test_what_a_filter_surely_allows_is_told_from_what_depends() -> None:
    """`allows` decides whether a program of ours can go on under somebody's filter."""
    rules = [
        {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["execve"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
    ]
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}
    program = seccomp.compile(profile, arch=seccomp.MACHINE, caps=frozenset(), kernel=(6, 1))
    numbers = {"x86_64": (0, 1, 59, 61), "aarch64": (63, 64, 221, 260)}[seccomp.MACHINE]
    assert seccomp.allows(program, numbers[:2])
    assert not seccomp.allows(program, numbers[2:3]), "it depends on an argument"
    assert not seccomp.allows(program, numbers[3:])
    with_default = seccomp.compile(default_profile(), arch=seccomp.MACHINE, caps=DOCKER, kernel=(6, 1))
    assert seccomp.allows(with_default, numbers)
