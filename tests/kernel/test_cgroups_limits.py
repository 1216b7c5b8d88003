"""Limits are enforced by the kernel, on whatever kind of cgroup host the tests run."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pyctr.core import cgroups, errors
from pyctr.core.cgroupstats import Sampler, rates
from tests.support.groups import Subtree

pytestmark = pytest.mark.kernel
MiB = 1 << 20


def test_pids_limit_stops_a_fork_bomb(subtree: Subtree) -> None:
    group = subtree.create({"pids": {"limit": 10}})
    child = subtree.spawn(
        group,
        "made = 0\n"
        "while True:\n"
        "    try:\n"
        "        if os.fork() == 0: time.sleep(600)\n"
        "    except BlockingIOError: break\n"
        "    made += 1\n"
        "say(made); time.sleep(600)",
    )
    assert child.hear() == "9"
    assert len(group.pids()) == 10
    sampler = Sampler(subtree.layout)
    sample = sampler.sample(group.group)
    sampler.close()
    assert (sample.pids, sample.pids_limit) == (10, 10)
    group.kill()
    assert child.wait() == -signal.SIGKILL
    assert group.wait_empty()


def test_a_memory_hog_is_oom_killed_and_reported(subtree: Subtree) -> None:
    group = subtree.create({"memory": {"limit": 32 * MiB, "swap": 32 * MiB}})
    assert not group.oom_events().get("oom_kill")
    child = subtree.spawn(group, "hog = b'x' * (200 << 20); say('survived')")
    assert child.hear() == ""
    assert child.wait() == -signal.SIGKILL
    assert group.oom_events()["oom_kill"] == 1
    sampler = Sampler(subtree.layout)
    sample = sampler.sample(group.group)
    sampler.close()
    assert sample.memory_limit == 32 * MiB
    assert sample.memory_events is not None and sample.memory_events["oom_kill"] == 1


def test_an_oom_kill_in_an_inner_group_counts_for_the_container(subtree: Subtree) -> None:
    group = subtree.create({"memory": {"limit": 32 * MiB, "swap": 32 * MiB}})
    inner = subtree.create(name="a/inner")
    child = subtree.spawn(inner, "hog = b'x' * (200 << 20)")
    assert child.wait() == -signal.SIGKILL
    assert group.oom_events()["oom_kill"] == 1


def test_a_spinner_is_throttled_to_its_quota(subtree: Subtree) -> None:
    group = subtree.create({"cpu": {"quota": 20_000, "period": 100_000}})
    child = subtree.spawn(group, "say('up')\nwhile True: pass")
    child.hear()
    sampler = Sampler(subtree.layout)
    before = sampler.sample(group.group)
    assert before.cpu_limit == 0.2
    # one second of the group's periods, however long that takes
    while True:
        after = sampler.sample(group.group)
        assert after.cpu_periods is not None and before.cpu_periods is not None
        if after.cpu_periods - before.cpu_periods >= 15:
            break
        subtree_tick()
    between = rates(before, after)
    sampler.close()
    assert between.cpu_percent is not None and between.cpu_percent < 40
    assert between.throttled_percent is not None and between.throttled_percent > 50
    child.kill()


def subtree_tick() -> None:
    """Give the other processes a moment; the counters polled here have no event."""
    import time

    time.sleep(0.02)


def test_live_updates_raise_and_lower_memory_with_its_swap(subtree: Subtree) -> None:
    group = subtree.create(
        {"memory": {"limit": 32 * MiB, "swap": 32 * MiB}, "cpu": {"quota": 50_000, "period": 50_000}}
    )
    sampler = Sampler(subtree.layout)
    for limit in (128 * MiB, 24 * MiB, 64 * MiB):
        group.update({"memory": {"limit": limit, "swap": limit * 2}})
        assert sampler.sample(group.group, fresh=True).memory_limit == limit
    group.update({"cpu": {"quota": 25_000}})
    assert sampler.sample(group.group, fresh=True).cpu_limit == 0.5
    group.update({"cpu": {"quota": -1}, "pids": {"limit": 5}})
    sample = sampler.sample(group.group, fresh=True)
    assert (sample.cpu_limit, sample.pids_limit) == (None, 5)
    sampler.close()


def test_cpuset_pins_processes(subtree: Subtree) -> None:
    last = max(os.sched_getaffinity(0))
    group = subtree.create({"cpu": {"cpus": str(last)}})
    child = subtree.spawn(group, "say(os.sched_getaffinity(0))")
    assert child.hear() == f"{{{last}}}"
    child.wait()


def test_an_update_can_pin_what_already_runs(subtree: Subtree) -> None:
    group = subtree.create()
    child = subtree.spawn(group, "say('up'); time.sleep(600)")
    child.hear()
    last = max(os.sched_getaffinity(0))
    group.update({"cpu": {"cpus": str(last)}})
    assert os.sched_getaffinity(child.pid) == {last}
    assert group.pids() == [child.pid]


def test_block_io_throttles_reach_the_kernel(subtree: Subtree) -> None:
    numbers = [tuple(map(int, file.read_text().split(":"))) for file in sorted(Path("/sys/block").glob("*/dev"))]
    if not numbers:
        pytest.skip("no block device on this host")
    major, minor = numbers[0]
    group = subtree.create({"blockIO": {"throttleReadBpsDevice": [{"major": major, "minor": minor, "rate": 1 << 20}]}})
    if subtree.layout.version("io") == 2:
        text = Path(f"{group.directory('io')}/io.max").read_text()
        assert f"{major}:{minor} rbps=1048576 wbps=max" in text
    else:
        text = Path(f"{group.directory('blkio')}/blkio.throttle.read_bps_device").read_text()
        assert text == f"{major}:{minor} 1048576\n"


def test_a_refused_limit_names_file_and_value_and_leaves_nothing(subtree: Subtree) -> None:
    with pytest.raises(errors.UsageError) as refused:
        subtree.create({"pids": {"limit": 5}, "cpu": {"cpus": "4000"}})
    assert "'4000'" in str(refused.value)
    assert "cpuset.cpus'" in str(refused.value)
    assert not subtree.manager().exists()


PROBE = """
def can(path, flags):
    try:
        os.close(os.open(path, flags))
        return True
    except PermissionError:
        return False
say([can('/dev/null', 2), can('/dev/zero', 0), can('/dev/zero', 1), can('/dev/full', 0)])
"""


@pytest.mark.parametrize(
    ("rules", "allowed"),
    [
        (
            [
                {"allow": False, "access": "rwm"},
                {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
                {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "r"},
            ],
            [True, True, False, False],
        ),
        # no rule about everything: the rest is denied all the same
        ([{"allow": True, "type": "c", "major": 1, "minor": 7, "access": "rwm"}], [False, False, False, True]),
        ([{"allow": True, "access": "rwm"}], [True, True, True, True]),
    ],
)
def test_device_rules(subtree: Subtree, rules: list[dict[str, object]], allowed: list[bool]) -> None:
    group = subtree.create({"devices": rules})
    # the interpreter itself may need /dev/urandom
    child = subtree.spawn(group, PROBE)
    assert child.hear() == str(allowed)
    child.wait()


def test_device_rules_are_replaced_by_an_update(subtree: Subtree) -> None:
    group = subtree.create({"devices": [{"allow": False, "access": "rwm"}]})
    group.update({"devices": [{"allow": True, "type": "c", "major": 1, "minor": 5, "access": "r"}]})
    child = subtree.spawn(group, PROBE)
    assert child.hear() == "[False, True, False, False]"
    child.wait()


def test_unified_limits_where_the_host_has_them(subtree: Subtree) -> None:
    if subtree.layout.version("memory") != 2:
        with pytest.raises(errors.Unsupported, match=r"memory\.high"):
            subtree.create({"unified": {"memory.high": "1000000"}})
        return
    group = subtree.create({"unified": {"memory.high": "1048576"}})
    assert Path(f"{group.directory('memory')}/memory.high").read_text() == "1048576\n"


def test_detection_agrees_with_the_mount_table() -> None:
    layout = cgroups.detect()
    mounted = {line.split()[1]: line.split()[2] for line in Path("/proc/self/mounts").read_text().splitlines()}
    for controller, mountpoint in layout.controllers.items():
        assert mounted[mountpoint] == ("cgroup" if layout.version(controller) == 1 else "cgroup2")
    assert not layout.unified or mounted[layout.unified] == "cgroup2"
