"""`linux.resources` and `cgroupsPath`: what the kernel holds for the container, on v1, hybrid and v2."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyctr.core import cgroups
from pyctr.core.cgroups import v2
from pyctr.core.linux import caps, const
from tests.support.oci import Oci

LAYOUT = cgroups.detect()
V2 = LAYOUT.mode == "v2"


def needs(controller: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not LAYOUT.version(controller), reason=f"no {controller} controller here")


def held(oci: Oci, resources: dict[str, Any], controller: str, *files: str) -> list[str]:
    """What files of the running container's group say, as the host sees them."""
    config = oci.config("sleep", "100")
    config["linux"].update(resources=resources, cgroupsPath=oci.group)
    oci.write(config)
    done = oci.cli("run", "-d", "--bundle", str(oci.path), "one")
    try:
        assert done.returncode == 0, done.stderr
        group = cgroups.manager(LAYOUT, oci.group)
        return [Path(group.file(controller, file)).read_text().strip() for file in files]
    finally:
        oci.cli("delete", "--force", "one")


def limited(**resources: Any) -> Callable[[dict[str, Any]], None]:
    return lambda config: config["linux"].update(resources=resources)


@needs("cpu")
def test_cpu(oci: Oci) -> None:
    cpu = {"shares": 512, "quota": 50000, "period": 200000}
    if V2:
        found = held(oci, {"cpu": cpu}, "cpu", "cpu.weight", "cpu.max")
        assert found == [str(v2.shares_to_weight(512)), "50000 200000"]
    else:
        found = held(oci, {"cpu": cpu}, "cpu", "cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us")
        assert found == ["512", "50000", "200000"]


@needs("cpu")
def test_cpu_burst_and_idle(oci: Oci) -> None:
    file, idle = ("cpu.max.burst", "cpu.idle") if V2 else ("cpu.cfs_burst_us", "cpu.idle")
    resources = {"cpu": {"quota": 50000, "period": 100000, "burst": 20000, "idle": 1}}
    assert held(oci, resources, "cpu", file, idle) == ["20000", "1"]


@needs("cpu")
def test_a_real_time_budget_is_v1s(oci: Oci) -> None:
    if V2:
        said = oci.refused(limited(cpu={"realtimeRuntime": 1000}))
        assert "linux.resources.cpu.realtimeRuntime: cgroup v2 has no real-time budget" in said
        return
    root = Path(LAYOUT.controllers["cpu"])
    if not (root / "cpu.rt_runtime_us").exists():
        pytest.skip("a kernel without CONFIG_RT_GROUP_SCHED")
    parent = root / oci.host.paths.cgroup_parent
    parent.mkdir(exist_ok=True)
    (parent / "cpu.rt_runtime_us").write_text("20000")
    cpu = {"realtimeRuntime": 10000, "realtimePeriod": 500000}
    assert held(oci, {"cpu": cpu}, "cpu", "cpu.rt_runtime_us", "cpu.rt_period_us") == ["10000", "500000"]


@needs("cpuset")
def test_cpus_and_mems(oci: Oci) -> None:
    cpu = str(min(os.sched_getaffinity(0)))
    assert held(oci, {"cpu": {"cpus": cpu, "mems": "0"}}, "cpuset", "cpuset.cpus", "cpuset.mems") == [cpu, "0"]
    out = oci.inside("grep Cpus_allowed_list /proc/self/status", limited(cpu={"cpus": cpu}))
    assert out.split()[1] == cpu
    said = oci.refused(limited(cpu={"cpus": "4000"}))
    assert "linux.resources.cpu.cpus: " in said


@needs("memory")
def test_memory(oci: Oci) -> None:
    memory = {"limit": 64 << 20, "reservation": 32 << 20}
    if V2:
        found = held(oci, {"memory": memory}, "memory", "memory.max", "memory.low")
    else:
        found = held(oci, {"memory": memory}, "memory", "memory.limit_in_bytes", "memory.soft_limit_in_bytes")
    assert found == [str(64 << 20), str(32 << 20)]


@needs("memory")
def test_unlimited_memory(oci: Oci) -> None:
    file = "memory.max" if V2 else "memory.limit_in_bytes"
    (found,) = held(oci, {"memory": {"limit": -1, "swap": -1}}, "memory", file)
    assert found == "max" or int(found) > 1 << 60


@needs("memory")
def test_swap_is_the_sum(oci: Oci) -> None:
    file = "memory.swap.max" if V2 else "memory.memsw.limit_in_bytes"
    top = Path(LAYOUT.controllers["memory"])
    if not (top / (oci.host.paths.cgroup_parent if V2 else "") / file).exists() and not V2:
        pytest.skip("a kernel that does not count swap")
    (found,) = held(oci, {"memory": {"limit": 64 << 20, "swap": 80 << 20}}, "memory", file)
    assert found == str(16 << 20 if V2 else 80 << 20)


@needs("memory")
def test_swappiness_and_the_oom_killer(oci: Oci) -> None:
    memory = {"limit": 64 << 20, "swappiness": 7, "disableOOMKiller": True, "kernel": 1 << 20, "useHierarchy": True}
    if V2:
        config = oci.config("true")
        config["linux"]["resources"] = {"memory": memory}
        done = oci.run_config(config)
        assert done.returncode == 0
        for word in ("swappiness", "disableOOMKiller", "kernel"):
            assert f"warning: linux.resources.memory.{word}: " in done.stderr
        return
    found = held(oci, {"memory": memory}, "memory", "memory.swappiness", "memory.oom_control")
    assert found[0] == "7" and "oom_kill_disable 1" in found[1]


@needs("pids")
def test_pids(oci: Oci) -> None:
    assert held(oci, {"pids": {"limit": 33}}, "pids", "pids.max") == ["33"]
    assert held(oci, {"pids": {"limit": -1}}, "pids", "pids.max") == ["max"]


def test_block_io_throttles_and_weights(oci: Oci) -> None:
    if not (LAYOUT.version("blkio") or LAYOUT.version("io")):
        pytest.skip("no block I/O controller")
    disks = [name for name in os.listdir("/sys/block") if not name.startswith(("loop", "ram", "zram", "dm-", "md"))]
    if not disks:
        pytest.skip("no disk")
    major, minor = map(int, Path(f"/sys/block/{disks[0]}/dev").read_text().split(":"))
    device = {"major": major, "minor": minor}
    block = {
        "throttleReadBpsDevice": [{**device, "rate": 1048576}],
        "throttleWriteBpsDevice": [{**device, "rate": 2097152}],
        "throttleReadIOPSDevice": [{**device, "rate": 100}],
        "throttleWriteIOPSDevice": [{**device, "rate": 200}],
    }
    if V2:
        (found,) = held(oci, {"blockIO": block}, "io", "io.max")
        assert found == f"{major}:{minor} rbps=1048576 wbps=2097152 riops=100 wiops=200"
        said = oci.refused(limited(blockIO={"leafWeight": 100}))
        assert "linux.resources.blockIO.leafWeight: cgroup v2 has no leaf weights" in said
    else:
        files = [f"blkio.throttle.{kind}_device" for kind in ("read_bps", "write_bps", "read_iops", "write_iops")]
        found_all = held(oci, {"blockIO": block}, "blkio", *files)
        assert found_all == [f"{major}:{minor} {rate}" for rate in (1048576, 2097152, 100, 200)]
    said = oci.refused(limited(blockIO={"throttleReadBpsDevice": [{"major": 4000, "minor": 1, "rate": 5}]}))
    assert "linux.resources.blockIO: " in said


@pytest.mark.parametrize(
    ("controller", "resources", "field"),
    [
        ("hugetlb", {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]}, "hugepageLimits"),
        ("rdma", {"rdma": {"mlx5_0": {"hcaHandles": 3}}}, "rdma"),
        ("net_cls", {"network": {"classID": 0x100001}}, "network.classID"),
        ("net_prio", {"network": {"priorities": [{"name": "lo", "priority": 5}]}}, "network.priorities"),
    ],
)
def test_a_controller_that_is_not_there_is_named_and_one_that_is_obeys(
    oci: Oci, controller: str, resources: dict[str, Any], field: str
) -> None:
    if not LAYOUT.version(controller):
        said = oci.refused(limited(**resources))
        assert f"linux.resources.{field}: this host has no '{controller}' cgroup controller" in said
    elif controller == "hugetlb":
        file = "hugetlb.2MB.rsvd.max" if LAYOUT.version("hugetlb") == 2 else "hugetlb.2MB.rsvd.limit_in_bytes"
        assert held(oci, resources, controller, file) == [str(4 << 20)]
    elif controller == "rdma":
        # no such card here: the kernel has the last word
        assert "linux.resources.rdma: " in oci.refused(limited(**resources))


@pytest.mark.skipif(not V2, reason="files of cgroup v2")
def test_unified_files_are_written_as_they_are(oci: Oci) -> None:
    unified = {"memory.high": "50000000", "pids.max": "44", "cpu.weight": "77", "cgroup.max.depth": "3"}
    found = held(oci, {"unified": unified, "pids": {"limit": 5}}, "memory", *unified)
    assert found == ["49999872", "44", "77", "3"]
    assert "linux.resources.unified.memory.nosuch: " in oci.refused(limited(unified={"memory.nosuch": "1"}))
    assert "linux.resources.unified.misc2.max: " in oci.refused(limited(unified={"misc2.max": "1"}))


@pytest.mark.skipif(V2, reason="all files are there")
def test_unified_files_without_their_controller_are_refused(oci: Oci) -> None:
    said = oci.refused(limited(unified={"memory.high": "50000000"}))
    assert "linux.resources.unified.memory.high: '50000000' needs the 'memory' controller on cgroup v2" in said


@pytest.mark.parametrize("file", ["../memory.max", "a/b.c", "memory"])
def test_unified_names_are_no_paths(oci: Oci, file: str) -> None:
    assert f"linux.resources.unified: '{file}' is not the name of a cgroup file" in oci.refused(
        limited(unified={file: "1"})
    )


OPEN = "head -c1 {} >/dev/null 2>&1 && echo open || echo refused; "


def _devices(oci: Oci, rules: list[dict[str, Any]] | None, *paths: str) -> list[str]:
    def change(config: dict[str, Any]) -> None:
        config["linux"]["resources"] = {} if rules is None else {"devices": rules}
        config["linux"]["devices"] = [{"type": "c", "path": "/dev/kmsg2", "major": 1, "minor": 11}]
        kept = [*config["process"]["capabilities"]["bounding"], "CAP_SYS_ADMIN", "CAP_SYSLOG"]
        config["process"]["capabilities"] = {"bounding": kept, "permitted": kept, "effective": kept}

    return oci.inside("".join(OPEN.format(path) for path in paths), change).split()


def test_default_devices_can_be_used_whatever_the_rules_say(oci: Oci) -> None:
    everything = [{"allow": False, "access": "rwm"}]
    assert _devices(oci, everything, "/dev/zero", "/dev/kmsg2") == ["open", "refused"]
    assert _devices(oci, None, "/dev/zero", "/dev/kmsg2") == ["open", "refused"]


def test_a_rule_opens_a_device_and_the_last_rule_counts(oci: Oci) -> None:
    rule = {"type": "c", "major": 1, "minor": 11}
    allowed = [{"allow": False, "access": "rwm"}, {**rule, "allow": True, "access": "r"}]
    assert _devices(oci, allowed, "/dev/kmsg2") == ["open"]
    assert _devices(oci, [*allowed, {**rule, "allow": False, "access": "rwm"}], "/dev/kmsg2") == ["refused"]
    assert _devices(oci, [{"allow": True, "access": "rwm"}], "/dev/kmsg2") == ["open"]


@pytest.mark.parametrize("path", ["/{parent}/own/group", "{parent}/relative"])
def test_the_cgroup_is_where_its_path_says(oci: Oci, path: str) -> None:
    config = oci.config("sleep", "100")
    wanted = path.format(parent=oci.host.paths.cgroup_parent)
    config["linux"]["cgroupsPath"] = wanted
    oci.write(config)
    assert oci.cli("run", "-d", "--bundle", str(oci.path), "one").returncode == 0
    pid = int(oci.cli("state", "one").stdout.split('"pid":')[1].split(",")[0])
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    oci.cli("delete", "--force", "one")
    for top in {*LAYOUT.controllers.values(), LAYOUT.unified}:
        # groups above the container's are everybody's, and stay
        above = Path(f"{top}/{oci.host.paths.cgroup_parent}/own")
        if top and above.exists():
            above.rmdir()
    place = "/" + wanted.strip("/")
    assert [line for line in lines if line.endswith(place)]
    assert not (Path(LAYOUT.unified or "/nowhere") / wanted.strip("/")).exists()


@pytest.mark.skipif(not V2, reason="delegation is for v2")
def test_a_writable_cgroup_belongs_to_the_containers_user(oci: Oci) -> None:
    def change(config: dict[str, Any]) -> None:
        config["process"]["user"] = {"uid": 1000, "gid": 1000}
        for mount in config["mounts"]:
            if mount["destination"] == "/sys/fs/cgroup":
                mount["options"] = [word for word in mount["options"] if word != "ro"]

    out = oci.inside(
        "cd /sys/fs/cgroup; mkdir below && echo made; stat -c %u . cgroup.procs memory.max; rmdir below", change
    )
    assert out.split() == ["made", "1000", "1000", "0"]


def test_the_cgroup_mount_shows_the_containers_own(oci: Oci) -> None:
    group = next(iter(LAYOUT.controllers)) if not V2 else ""
    out = oci.inside("cat /proc/self/cgroup; stat -f -c %t /sys/fs/cgroup; ls -d /sys/fs/cgroup/*/ | head -3")
    assert all(line.endswith(":/") for line in out.splitlines() if line[0].isdigit() and ":" in line and "::/" in line)
    assert (f"{const.CGROUP2_SUPER_MAGIC:x}" in out.splitlines()) == V2 or group


@pytest.mark.skipif(V2, reason="on v2 it is the whole tree, as under runc")
def test_without_a_cgroup_namespace_the_mount_shows_no_group_of_others(oci: Oci) -> None:
    def change(config: dict[str, Any]) -> None:
        config["linux"]["namespaces"] = [e for e in config["linux"]["namespaces"] if e["type"] != "cgroup"]

    out = oci.inside("ls /sys/fs/cgroup/pids; cat /sys/fs/cgroup/pids/cgroup.procs", change)
    assert "pids.max" in out and oci.host.paths.cgroup_parent not in out
    assert caps.get()[0]


@pytest.mark.skipif(not V2, reason="v1's kernel refuses by itself")
def test_a_limit_below_the_usage_is_refused_when_asked_to_check(oci: Oci) -> None:
    config = oci.config(
        "sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=20 2>/dev/null; echo done > /full; sleep 100"
    )
    config["linux"].update(resources={"memory": {"limit": 64 << 20}}, cgroupsPath=oci.group)
    oci.write(config)
    assert oci.cli("run", "-d", "--bundle", str(oci.path), "one").returncode == 0
    import time

    deadline = time.monotonic() + 20
    while not (oci.rootfs / "full").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    from pyctr.core import errors

    group = cgroups.manager(LAYOUT, oci.group)
    with pytest.raises(errors.Conflict, match=r"linux.resources.memory.limit: 1048576 is below the \d+ bytes in use"):
        group.update({"memory": {"limit": 1 << 20, "checkBeforeUpdate": True}})
    oci.cli("delete", "--force", "one")
