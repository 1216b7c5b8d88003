"""What is written for which limit, on every kind of host; the numbers a user's limits turn into."""

from __future__ import annotations

import os

import pytest

from pyctr.core import cgroups, errors

ALL = ["cpu", "cpuset", "io", "memory", "pids", "hugetlb"]
V2 = cgroups.Layout(mode="v2", unified="/c", controllers=dict.fromkeys(ALL, "/c"))
V1 = cgroups.Layout(
    mode="v1",
    controllers={"cpu": "/c/cpu,cpuacct", "cpuacct": "/c/cpu,cpuacct"}
    | {name: f"/c/{name}" for name in ["cpuset", "memory", "devices", "freezer", "blkio", "pids", "name=systemd"]},
)
HYBRID = V1.replace(mode="hybrid", unified="/c/unified", controllers=V1.controllers | {"hugetlb": "/c/unified"})

LIMITS = {
    "cpu": {"shares": 1024, "quota": 50_000, "period": 100_000, "cpus": "0-1"},
    "memory": {"limit": 1000, "swap": 3000, "reservation": 500},
    "pids": {"limit": 7},
    "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 4096}]},
}


def test_limits_on_v2() -> None:
    assert cgroups.manager(V2, "/p/x").writes(LIMITS) == [
        ("/c/p/x/cpu.weight", "100"),
        ("/c/p/x/cpu.max", "50000 100000"),
        ("/c/p/x/cpuset.cpus", "0-1"),
        ("/c/p/x/memory.swap.max", "2000"),
        ("/c/p/x/memory.max", "1000"),
        ("/c/p/x/memory.low", "500"),
        ("/c/p/x/pids.max", "7"),
        ("/c/p/x/io.max", "8:0 rbps=4096"),
    ]


@pytest.mark.parametrize("layout", [V1, HYBRID])
def test_limits_on_v1(layout: cgroups.Layout) -> None:
    assert cgroups.manager(layout, "/p/x").writes(LIMITS) == [
        ("/c/cpu,cpuacct/p/x/cpu.shares", "1024"),
        ("/c/cpu,cpuacct/p/x/cpu.cfs_period_us", "100000"),
        ("/c/cpu,cpuacct/p/x/cpu.cfs_quota_us", "50000"),
        ("/c/cpuset/p/x/cpuset.cpus", "0-1"),
        ("/c/memory/p/x/memory.limit_in_bytes", "1000"),
        ("/c/memory/p/x/memory.memsw.limit_in_bytes", "3000"),
        ("/c/memory/p/x/memory.soft_limit_in_bytes", "500"),
        ("/c/pids/p/x/pids.max", "7"),
        ("/c/blkio/p/x/blkio.throttle.read_bps_device", "8:0 4096"),
    ]


def test_a_controller_in_the_v2_tree_of_a_hybrid_host_is_written_there() -> None:
    limits = {"hugepageLimits": [{"pageSize": "2MB", "limit": 4096}]}
    assert cgroups.manager(HYBRID, "/p/x").writes(limits) == [
        ("/c/unified/p/x/hugetlb.2MB.rsvd.max|hugetlb.2MB.max", "4096")
    ]


def test_unlimited_is_said_in_the_words_of_each_version() -> None:
    limits = {"cpu": {"quota": -1}, "memory": {"limit": -1, "swap": -1}, "pids": {"limit": -1}}
    assert [value for _, value in cgroups.manager(V2, "/p/x").writes(limits)] == ["max 100000", "max", "max", "max"]
    assert [value for _, value in cgroups.manager(V1, "/p/x").writes(limits)] == ["-1", "-1", "-1", "max"]


def test_device_rules_on_v1_and_v2() -> None:
    rules = [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"}]
    assert cgroups.manager(V1, "/p/x").writes({"devices": rules}) == [
        ("/c/devices/p/x/devices.deny", "a"),
        ("/c/devices/p/x/devices.allow", "c 1:3 rw"),
    ]
    assert cgroups.manager(V2, "/p/x").writes({"devices": rules}) == [
        ("/c/p/x/[bpf] devices", "deny a; allow c 1:3 rw")
    ]


def test_unified_is_verbatim_last_and_refused_where_it_would_be_lost() -> None:
    limits = {"memory": {"limit": 5}, "unified": {"memory.max": "7"}}
    assert [value for _, value in cgroups.manager(V2, "/p/x").writes(limits)] == ["5", "7"]
    with pytest.raises(errors.Unsupported, match=r"memory.max: '7' needs the 'memory' controller on cgroup v2"):
        cgroups.manager(HYBRID, "/p/x").writes(limits)
    with pytest.raises(errors.UsageError, match="is not the name of a cgroup file"):
        cgroups.manager(V2, "/p/x").writes({"unified": {"../y/memory.max": "7"}})


@pytest.mark.parametrize(
    ("resources", "missing"),
    [
        ({"pids": {"limit": 3}}, "pids"),
        ({"cpu": {"cpus": "0"}}, "cpuset"),
        ({"devices": [{"allow": False}]}, "devices"),
        ({"blockIO": {"weight": 100}}, "io"),
    ],
)
def test_a_limit_without_its_controller_is_refused_not_dropped(resources: dict[str, object], missing: str) -> None:
    layout = cgroups.Layout(mode="v1", controllers={"cpu": "/c/cpu"})
    with pytest.raises(errors.Unsupported, match=f"no '{missing}' cgroup controller"):
        cgroups.manager(layout, "/p/x").writes(resources)


@pytest.mark.parametrize(
    ("shares", "weight"),
    [(0, 1), (2, 1), (512, 59), (1024, 100), (2000, 170), (2048, 174), (262144, 10000), (9**9, 10000)],
)
def test_cpu_weight_is_what_runc_and_crun_make_of_the_shares(shares: int, weight: int) -> None:
    from pyctr.core.cgroups import v2

    assert v2.shares_to_weight(shares) == weight


@pytest.mark.parametrize(
    ("limit", "swap", "expected"),
    [
        (100, 0, None),
        (100, -1, "max"),
        (100, 100, "0"),
        (100, 300, "200"),
        (-1, 0, "max"),
        (0, -1, "max"),
        (0, 0, None),
    ],
)
def test_swap_limit_of_v2_does_not_count_memory(limit: int, swap: int, expected: str | None) -> None:
    from pyctr.core.cgroups import v2

    assert v2.swap_max(limit, swap) == expected


@pytest.mark.parametrize(("limit", "swap"), [(0, 5), (-1, 5), (10, 5)])
def test_a_swap_limit_that_contradicts_the_memory_limit_is_refused(limit: int, swap: int) -> None:
    with pytest.raises(errors.UsageError, match=f"'{swap}'"):
        cgroups.manager(V2, "/p/x").writes({"memory": {"limit": limit, "swap": swap}})


@pytest.mark.parametrize("group", ["", "/", "/p/../q", "/p//x", "/p/./x"])
def test_a_group_that_could_leave_our_subtree_is_refused(group: str) -> None:
    with pytest.raises(errors.UsageError):
        cgroups.manager(V2, group)


def test_paths_name_every_hierarchy() -> None:
    paths = cgroups.manager(HYBRID, "/p/x").paths()
    assert paths["cpu,cpuacct"] == "/c/cpu,cpuacct/p/x"
    assert paths["name=systemd"] == "/c/name=systemd/p/x"
    assert paths["unified"] == "/c/unified/p/x"
    assert "hugetlb" not in paths


@pytest.mark.parametrize(
    ("files", "mode", "controllers"),
    [
        ({"cgroup.controllers": "cpu memory pids\n"}, "v2", {"cpu": "", "memory": "", "pids": ""}),
        (
            {"cpu,cpuacct/tasks": "", "memory/tasks": "", "systemd/tasks": ""},
            "v1",
            {"cpu": "/cpu,cpuacct", "cpuacct": "/cpu,cpuacct", "memory": "/memory", "name=systemd": "/systemd"},
        ),
        (
            {"memory/tasks": "", "unified/cgroup.controllers": "hugetlb\n", "junk/file": ""},
            "hybrid",
            {"memory": "/memory", "hugetlb": "/unified"},
        ),
        ({"cgroup.controllers": "\n"}, "v2", {}),
    ],
)
def test_detection(tmp_path: os.PathLike[str], files: dict[str, str], mode: str, controllers: dict[str, str]) -> None:
    root = os.fspath(tmp_path)
    for name, text in files.items():
        os.makedirs(os.path.dirname(f"{root}/{name}"), exist_ok=True)
        with open(f"{root}/{name}", "w") as file:
            file.write(text)
    if "cpu,cpuacct/tasks" in files:
        os.symlink("cpu,cpuacct", f"{root}/cpu")
    layout = cgroups.detect(root)
    assert layout.mode == mode
    assert layout.controllers == {name: root + path for name, path in controllers.items()}
    assert cgroups.Layout.from_dict(layout.to_dict()) == layout


def test_no_cgroups_at_all_is_said(tmp_path: os.PathLike[str]) -> None:
    with pytest.raises(errors.Unsupported, match="no cgroup file system"):
        cgroups.detect(os.fspath(tmp_path))
