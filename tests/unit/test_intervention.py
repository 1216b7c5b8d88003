"""What stands in a file before a write, and what takes a write back, in an order that the kernel accepts."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyctr.core import errors, intervention
from pyctr.core.cgroups import Layout, manager
from pyctr.core.intervention import Write

MIB = 1 << 20


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    group = tmp_path / "web"
    group.mkdir()
    (group / "memory.max").write_text("max\n")
    (group / "cpu.max").write_text("max 100000\n")
    (group / "pids.max").write_text("100\n")
    (group / "io.max").write_text("8:0 rbps=1000 wbps=max riops=max wiops=max\n")
    return group


def plan(root: Path, resources: dict[str, object]) -> tuple[Write, ...]:
    layout = Layout(mode="v2", controllers=dict.fromkeys(("memory", "cpu", "pids", "io"), str(root)), unified=str(root))
    return intervention.limits(manager(layout, "/web"), resources)


def test_what_stood_there_comes_back(v2: Path) -> None:
    writes = plan(
        v2.parent, {"memory": {"limit": 64 * MIB}, "cpu": {"quota": 50000, "period": 100000}, "pids": {"limit": 20}}
    )
    intervention.apply(writes)
    assert (v2 / "memory.max").read_text().startswith(str(64 * MIB))
    intervention.apply(intervention.back(writes))
    assert (v2 / "memory.max").read_text().startswith("max")
    assert (v2 / "cpu.max").read_text().startswith("max 100000")
    assert (v2 / "pids.max").read_text().startswith("100")


@pytest.mark.parametrize(("device", "before"), [((8, 0), "8:0 rbps=1000"), ((8, 16), "8:16 rbps=max")])
def test_of_a_bound_per_device_only_its_own_line_and_keys(v2: Path, device: tuple[int, int], before: str) -> None:
    rate = {"major": device[0], "minor": device[1], "rate": 4096}
    (write,) = plan(v2.parent, {"blockIO": {"throttleReadBpsDevice": [rate]}})
    assert write.before == before and write.value == f"{device[0]}:{device[1]} rbps=4096"


def test_a_refused_write_puts_the_others_back(v2: Path) -> None:
    writes = [Write(f"{v2}/pids.max", "5", "100"), Write(f"{v2}/none/here", "1", "0")]
    with pytest.raises(errors.Unsupported, match="none/here"):
        intervention.apply(writes)
    assert (v2 / "pids.max").read_text().startswith("100")


def test_memory_and_swap_of_v1_are_never_below_memory_alone() -> None:
    part, both = "/m/memory.limit_in_bytes", "/m/memory.memsw.limit_in_bytes"
    unlimited = "9223372036854771712"
    lower = [Write(part, "100", unlimited), Write(both, "200", unlimited)]
    assert [write.file for write in intervention.back(lower)] == [both, part]
    assert [(write.file, write.value) for write in intervention.back(intervention.back(lower))] == [
        (part, "100"),
        (both, "200"),
    ]


def test_a_group_that_is_gone_or_in_no_such_controller_is_said_so(v2: Path) -> None:
    (v2 / "memory.max").unlink()
    with pytest.raises(errors.Unsupported, match=r"memory\.max"):
        plan(v2.parent, {"memory": {"limit": 64 * MIB}})
    for file in v2.iterdir():
        file.unlink()
    v2.rmdir()
    with pytest.raises(errors.NotFound, match="gone"):
        plan(v2.parent, {"pids": {"limit": 5}})


@pytest.mark.parametrize(
    ("file", "before", "value", "words"),
    [
        ("/x/memory.max", "max", str(256 * MIB), "memory.max: unlimited -> 256M"),
        ("/x/memory.limit_in_bytes", "9223372036854771712", "12345", "memory.limit_in_bytes: unlimited -> 12345"),
        ("/x/cpu.max", "200000 100000", "max 100000", "cpu.max: 200000 100000 -> unlimited"),
        ("/x/cpu.cfs_quota_us", "-1", "50000", "cpu.cfs_quota_us: unlimited -> 50000"),
        ("/x/cgroup.freeze", "0", "1", "cgroup.freeze: 0 -> 1"),
    ],
)
def test_in_words(file: str, before: str, value: str, words: str) -> None:
    assert intervention.shown(file, value, before=before) == words
