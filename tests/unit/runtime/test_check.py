"""A bad config.json is refused in one line that names the field by its JSON path; a good one is not."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyctr.core import errors
from pyctr.core.runtime import check, plan
from tests.support import ocidoc

FULL = ocidoc.full()
PLACES = ocidoc.places(FULL)
WISHES = {"id": "one", "bundle": "/bundle", "group": "/pyctr/one", "run": "/run/one"}
FUZZ = os.environ.get("PYCTR_FUZZ", "")
"""How many mutations to try at random; without it always the same few hundred."""
BOUNDED = settings(deadline=None, derandomize=not FUZZ)
_OF_ONE_TYPE = {str: [5, True, [], {}, 1.5], int: ["5", True, [], {}, 1.5, 1 << 70], bool: ["true", 1, []]}
_OF_ONE_TYPE |= {list: ["x", 5, {}], dict: ["x", 5, []]}


def refusal(document: Any) -> str:
    with pytest.raises(errors.UsageError) as caught:
        check.config(document)
    assert "\n" not in caught.value.message
    return caught.value.message


def test_a_document_with_every_field_passes() -> None:
    assert check.config(ocidoc.full()) == [
        "mounts[2].destination: 'data' is relative, which the specification discourages"
    ]


@pytest.mark.parametrize("path", PLACES, ids=ocidoc.spelled)
def test_every_field_has_a_type(path: tuple[str | int, ...]) -> None:
    value: Any = FULL
    for key in path:
        value = value[key]
    for wrong in _OF_ONE_TYPE[type(value)]:
        document = ocidoc.full()
        ocidoc.put(document, path, wrong)
        assert refusal(document).startswith(f"{ocidoc.spelled(path)}: "), wrong


@pytest.mark.parametrize("path", PLACES, ids=ocidoc.spelled)
def test_null_is_like_absent(path: tuple[str | int, ...]) -> None:
    """As the field's own decoders have it. In lists it stands for nothing and is refused."""
    with_null, without = ocidoc.full(), ocidoc.full()
    ocidoc.put(with_null, path, None)
    ocidoc.remove(without, path)
    if isinstance(path[-1], int):
        assert refusal(with_null).startswith(ocidoc.spelled(path))
        return

    def outcome(document: Any) -> str:
        try:
            check.config(document)
        except errors.UsageError as error:
            return error.message
        return ""

    if ocidoc.spelled(path[:-1]).endswith(("annotations", "sysctl", "unified")):
        assert outcome(with_null).startswith(ocidoc.spelled(path))
    elif not ocidoc.spelled(path[:-1]).endswith(("netDevices", "timeOffsets", "rdma")):
        assert outcome(with_null) == outcome(without)


def _set(path: str, value: Any) -> Any:
    def change(document: Any) -> None:
        words = path.replace("[", ".[").split(".")
        ocidoc.put(document, tuple(int(word[1:-1]) if word.startswith("[") else word for word in words), value)

    return change


REFUSALS = [
    ("ociVersion", "2.0.0", "ociVersion: '2.0.0' is newer"),
    ("ociVersion", "abc", "ociVersion: 'abc' is no version"),
    ("process.args", [], "process.args: names no command"),
    ("process.args", [""], "process.args[0]: is empty"),
    ("process.args", ["a\0b"], "process.args[0]: contains a NUL"),
    ("process.args", ["\ud800"], "process.args[0]: is not valid Unicode"),
    ("process.cwd", "tmp", "process.cwd: 'tmp' is not an absolute path"),
    ("process.env", ["X"], "process.env[0]: 'X' is not NAME=VALUE"),
    ("process.user.uid", -1, "process.user.uid: -1 is not between 0 and"),
    ("process.rlimits[0].type", "RLIMIT_X", "process.rlimits[0].type: 'RLIMIT_X' is unknown"),
    ("process.rlimits[0].soft", 4096, "process.rlimits[0].soft: 4096 is above the hard limit 1024"),
    ("process.oomScoreAdj", 1001, "process.oomScoreAdj: 1001 is not between -1000 and 1000"),
    ("process.scheduler.policy", "SCHED_FAST", "process.scheduler.policy: 'SCHED_FAST' is unknown"),
    ("process.scheduler.priority", 3, "process.scheduler.priority: goes with SCHED_FIFO"),
    ("process.scheduler.runtime", 3, "process.scheduler.runtime: goes with SCHED_DEADLINE"),
    ("process.ioPriority.priority", 8, "process.ioPriority.priority: 8 is not between 0 and 7"),
    ("process.execCPUAffinity.final", "a-b", "process.execCPUAffinity.final: 'a-b' is no list of numbers"),
    ("mounts[1].destination", "/../", "mounts[1].destination: nothing can be mounted over"),
    ("mounts[2].uidMappings", [], "mounts[2].gidMappings: needs the other one"),
    ("mounts[1].options", ["idmap"], "mounts[1].options: only a bind mount"),
    ("mounts[0].options", ["tmpcopyup"], "mounts[0].options: tmpcopyup is for tmpfs only"),
    ("hooks.prestart[0].path", "hook", "hooks.prestart[0].path: 'hook' is not an absolute path"),
    ("hooks.poststop[0].timeout", 0, "hooks.poststop[0].timeout: 0 is not between 1"),
    ("linux.namespaces[0].type", "mount", "linux.namespaces[1].type: 'mount' is named twice"),
    ("linux.namespaces[7].path", "ns", "linux.namespaces[7].path: 'ns' is not an absolute path"),
    ("linux.uidMappings", [], "linux.uidMappings: is missing"),
    ("linux.uidMappings[0].size", 0, "linux.uidMappings[0].size: is 0"),
    ("linux.timeOffsets", {"realtime": {}}, "linux.timeOffsets.realtime: is no clock"),
    ("linux.devices[0].major", 1 << 13, "linux.devices[0].major: 8192 is no device number"),
    ("linux.netDevices.eth7.name", "eth8", "linux.netDevices.eth8.name: 'eth8' is named twice"),
    ("linux.netDevices.eth7.name", "a" * 16, "linux.netDevices.eth7.name: 'aaaaaaaaaaaaaaaa' is no name"),
    ("linux.cgroupsPath", "/a/../../b", "linux.cgroupsPath: '/a/../../b' leads upwards"),
    ("linux.resources.devices[1].access", "x", "linux.resources.devices[1].access: 'x' has other letters"),
    ("linux.resources.memory.swap", 5, "linux.resources.memory.swap: 5 is below the memory limit"),
    ("linux.resources.cpu.burst", 2000000, "linux.resources.cpu.burst: 2000000 is above the quota"),
    ("linux.resources.cpu.cpus", "0-", "linux.resources.cpu.cpus: '0-' is no list of numbers"),
    ("linux.resources.blockIO.weight", 5, "linux.resources.blockIO.weight: 5 is not between 10 and 1000"),
    ("linux.resources.hugepageLimits[0].pageSize", "2", "linux.resources.hugepageLimits[0].pageSize: '2' is no page"),
    ("linux.resources.rdma.mlx5_1", {}, "linux.resources.rdma.mlx5_1: names neither"),
    ("linux.resources.unified", {"../x.y": "1"}, "linux.resources.unified: '../x.y' is not the name of a cgroup file"),
    ("linux.rootfsPropagation", "public", "linux.rootfsPropagation: 'public' is unknown"),
    ("linux.seccomp.defaultAction", "SCMP_ACT_ALLOW", "linux.seccomp.defaultErrnoRet: SCMP_ACT_ALLOW returns no"),
    ("linux.seccomp.listenerPath", "", "linux.seccomp.listenerMetadata: needs listenerPath"),
    ("linux.seccomp.syscalls[0].names", [], "linux.seccomp.syscalls[0].names: is empty"),
    ("linux.seccomp.syscalls[0].args[0].op", "EQ", "linux.seccomp.syscalls[0].args[0].op: 'EQ' is unknown"),
    ("linux.seccomp.syscalls[0].args[0].index", 6, "linux.seccomp.syscalls[0].args[0].index: 6 is not between 0"),
    ("linux.sysctl", {"vm.swappiness": "1"}, "linux.sysctl.vm.swappiness: belongs to no namespace"),
    ("linux.sysctl", {"kernel.hostname": "x"}, "linux.sysctl.kernel.hostname: belongs into the field 'hostname'"),
    ("linux.maskedPaths", ["proc"], "linux.maskedPaths[0]: 'proc' is not an absolute path"),
    ("linux.intelRdt.closID", "a/b", "linux.intelRdt.closID: 'a/b' is not the name of a directory"),
    ("linux.personality.domain", "BSD", "linux.personality.domain: 'BSD' is unknown"),
    ("linux.memoryPolicy.nodes", "x", "linux.memoryPolicy.nodes: 'x' is no list of numbers"),
]


@pytest.mark.parametrize(("path", "value", "said"), REFUSALS, ids=[said.partition(" ")[0] for _, _, said in REFUSALS])
def test_what_cannot_be_meant_is_refused(path: str, value: Any, said: str) -> None:
    document = ocidoc.full()
    _set(path, value)(document)
    assert refusal(document).startswith(said)


@pytest.mark.parametrize("path", ["root", "root.path", "process", "process.args", "process.cwd", "ociVersion"])
def test_what_is_required_is_missed(path: str) -> None:
    document = ocidoc.full()
    ocidoc.remove(document, tuple(path.split(".")))
    assert refusal(document) == f"{path}: is missing"


def test_unknown_fields_and_capabilities_do_not_stop_a_start() -> None:
    document = ocidoc.full()
    document["solaris"] = document["linux"]["newField"] = {"anything": [1]}
    document["process"]["capabilities"]["bounding"] = ["CAP_CHOWN", "CAP_FLY"]
    assert "process.capabilities: unknown, ignored: 'CAP_FLY'" in check.config(document)


def test_a_file_that_is_no_json_object_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    for content in (b"", b"{", b"[]", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"):
        path.write_bytes(content)
        with pytest.raises(errors.UsageError) as caught:
            check.load(str(path))
        assert str(path) in caught.value.message and "\n" not in caught.value.message
    with pytest.raises(errors.NotFound):
        check.load(str(tmp_path / "nothing"))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 66), 1 << 66)
    | st.integers(-2, 5)
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(
        ["/", "/..", "\0", "\ud800", "a,b", "CAP_CHOWN", "bind", "rbind", "ro", "user", "/proc/self/ns/net"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """The full document with a few places replaced, removed, doubled, or swapped with others."""
    document = copy.deepcopy(FULL)
    for _ in range(draw(st.integers(1, 4))):
        places = ocidoc.places(document)
        path = draw(st.sampled_from(places))
        how = draw(st.sampled_from(["put", "put", "remove", "other", "double"]))
        if how == "remove":
            ocidoc.remove(document, path)
        elif how == "put":
            ocidoc.put(document, path, draw(JSON))
        else:
            value: Any = document
            for key in draw(st.sampled_from(places)) if how == "other" else path:
                value = value[key]
            value = copy.deepcopy(value)
            if how == "double" and isinstance(path[-1], int):
                parent: Any = document
                for key in path[:-1]:
                    parent = parent[key]
                parent.append(value)
            else:
                ocidoc.put(document, path, value)
        if not ocidoc.places(document):
            break
    return document


@settings(BOUNDED, max_examples=int(FUZZ or "400"), suppress_health_check=list(HealthCheck))
@given(mutated())
def test_no_mutation_ends_in_anything_but_a_plan_or_a_refusal(document: Any) -> None:
    try:
        check.config(document)
        plan.build(document, dict(WISHES)).describe()
    except errors.PyctrError as error:
        assert "\n" not in error.message


@settings(BOUNDED, max_examples=int(FUZZ or "200"))
@given(JSON)
def test_no_document_at_all_ends_in_a_traceback(document: Any) -> None:
    with pytest.raises(errors.UsageError):
        check.config(document)
