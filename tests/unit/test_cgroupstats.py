"""Samples and rates: what a user sees for a group that is idle, limited, remade, gone, or only half readable."""

from __future__ import annotations

import os
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from pyctr.core import cgroups, cgroupstats
from pyctr.core.cgroupstats import HostSample, Sample, Sampler, host_rates, rates
from tests.support.record_host import unpack

GROUP = "/pyctr/web"

V2_FILES = {
    "cpu.stat": "usage_usec 1000000\nuser_usec 600000\nsystem_usec 400000\nnice_usec 0\ncore_sched.force_idle_usec 0\n"
    "nr_periods 40\nnr_throttled 10\nthrottled_usec 5000\nnr_bursts 0\nburst_usec 0\n",
    "cpu.max": "150000 100000\n",
    "memory.current": "5000\n",
    "memory.stat": "anon 1000\nfile 3000\nkernel 200\ninactive_anon 1\nactive_anon 2\ninactive_file 1500\n"
    "workingset_refault_anon 2\nworkingset_refault_file 40\n",
    "memory.events": "low 0\nhigh 2\nmax 3\noom 1\noom_kill 1\noom_group_kill 0\n",
    "memory.max": "8000\n",
    "memory.peak": "6000\n",
    "memory.swap.current": "0\n",
    "pids.current": "3\n",
    "pids.max": "max\n",
    "pids.events": "max 9\n",
    "io.stat": "254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n7:0 \n",
    "cpu.pressure": "some avg10=1.50 avg60=0.00 avg300=0.00 total=777\n"
    "full avg10=0.25 avg60=0.00 avg300=0.00 total=7\n",
}


def make_v2(root: Path, files: dict[str, str] | None = None) -> cgroups.Layout:
    (root / "cgroup.controllers").write_text("cpu io memory pids\n")
    group = root / GROUP.strip("/")
    group.mkdir(parents=True, exist_ok=True)
    for name, text in (V2_FILES if files is None else files).items():
        (group / name).write_text(text)
    return cgroups.detect(str(root))


def test_a_v2_group(tmp_path: Path) -> None:
    sampler = Sampler(make_v2(tmp_path))
    sample = sampler.sample(GROUP)
    sampler.close()
    assert (sample.cpu_usage_us, sample.cpu_user_us, sample.cpu_system_us) == (1_000_000, 600_000, 400_000)
    assert (sample.cpu_periods, sample.cpu_throttled, sample.cpu_throttled_us) == (40, 10, 5000)
    assert sample.cpu_limit == 1.5
    assert (sample.memory_current, sample.memory_working_set, sample.memory_cache) == (5000, 3500, 3000)
    assert (sample.memory_anon, sample.memory_kernel, sample.memory_peak) == (1000, 200, 6000)
    assert sample.memory_limit == 8000
    assert sample.memory_events == {"low": 0, "high": 2, "max": 3, "oom": 1, "oom_kill": 1, "oom_group_kill": 0}
    assert (sample.pids, sample.pids_limit, sample.pids_failures) == (3, None, 9)
    assert sample.memory_refaults == 42
    assert sample.io == {"254:0": (4096, 8192, 1, 2)}
    assert (sample.io_read_bytes, sample.io_write_bytes) == (4096, 8192)
    assert sample.psi == {"cpu": (1.5, 0.25, 777, 7)}
    assert sample.net is None


def test_what_the_host_does_not_tell_is_none_never_zero(tmp_path: Path) -> None:
    sampler = Sampler(make_v2(tmp_path, {"cpu.stat": "usage_usec 5\nuser_usec 3\nsystem_usec 2\n"}))
    sample = sampler.sample(GROUP)
    sampler.close()
    unknown = {name for name, value in sample.to_dict().items() if value is None}
    assert set(sample.to_dict()) - unknown == {"monotonic", "cpu_usage_us", "cpu_user_us", "cpu_system_us"}
    for name, value in rates(sample, sample).to_dict().items():
        assert value is None or name == "interval"


def test_a_group_that_is_not_there(tmp_path: Path) -> None:
    sampler = Sampler(make_v2(tmp_path))
    sample = sampler.sample("/pyctr/other", pid=1 << 22)
    assert not sample.known
    assert sample.net is None
    assert sampler.open == 0


def refaults(root: Path, version: int, text: str) -> int | None:
    layout = make_v2(root) if version == 2 else make_v1(root)
    (root / ("memory" if version == 1 else "") / GROUP.strip("/") / "memory.stat").write_text(text)
    sampler = Sampler(layout)
    sample = sampler.sample(GROUP)
    sampler.close()
    return sample.memory_refaults


@pytest.mark.parametrize(
    ("version", "text", "pages"),
    [
        (2, "anon 1\nworkingset_refault 7\nworkingset_activate 3\n", 7),
        (2, "anon 1\n", None),
        (
            1,
            "cache 1\nswapcached 0\ntotal_cache 1\ntotal_workingset_refault_anon 1\ntotal_workingset_refault_file 5\n",
            6,
        ),
        (1, "cache 1\ntotal_workingset_refault_anon 4096\ntotal_workingset_refault_file 20480\n", 6),
        (1, "cache 1\nworkingset_refault_file 9\ntotal_cache 1\n", None),
    ],
    ids=["before 5.9", "none", "v1", "v1 before 6.7 in bytes", "v1 not of its children"],
)
def test_refaults_are_pages_on_every_kernel(tmp_path: Path, version: int, text: str, pages: int | None) -> None:
    assert refaults(tmp_path, version, text) == pages


def test_what_the_pids_limit_refused_and_refaults_are_of_the_interval(tmp_path: Path) -> None:
    before, after = Sample(), Sample()
    before.monotonic, after.monotonic = 10.0, 14.0
    before.pids_failures, after.pids_failures = 3, 5
    before.memory_refaults, after.memory_refaults = 100, 180
    got = rates(before, after)
    assert (got.pids_failures, got.memory_refaults) == (2, 20.0)
    assert rates(after, before).memory_refaults is None, "it was made anew"


def test_unreadable_files_are_unknown_and_the_rest_is_read(tmp_path: Path) -> None:
    layout = make_v2(tmp_path)
    # reading a directory fails at the read, as a pressure file does where PSI is switched off
    pressure = tmp_path / GROUP.strip("/") / "memory.pressure"
    pressure.mkdir()
    sampler = Sampler(layout)
    assert sampler.sample(GROUP).psi == {"cpu": (1.5, 0.25, 777, 7)}
    sampler.close()


def test_values_follow_the_files_and_slow_ones_when_due_or_asked(tmp_path: Path) -> None:
    layout = make_v2(tmp_path)
    group = tmp_path / GROUP.strip("/")
    sampler = Sampler(layout, medium=3600, slow=3600)
    sampler.sample(GROUP)
    (group / "memory.current").write_text("7000\n")
    (group / "memory.max").write_text("max\n")
    (group / "io.stat").write_text("254:0 rbytes=5000 wbytes=8192 rios=3 wios=2 dbytes=0 dios=0\n")
    sample = sampler.sample(GROUP)
    assert (sample.memory_current, sample.memory_working_set, sample.memory_limit) == (7000, 5500, 8000)
    assert sample.io == {"254:0": (5000, 8192, 3, 2)}
    assert sample.pids == 3
    assert sampler.sample(GROUP, fresh=True).memory_limit is None
    (group / "memory.max").write_text("9000\n")
    sampler.forget(GROUP)
    assert sampler.sample(GROUP).memory_limit == 9000
    sampler.close()


def test_of_many_groups_only_some_are_read_in_full_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And every one when its time has come; few groups wait no longer than they are told."""
    monkeypatch.setattr(cgroupstats, "_SLOW_PER_SECOND", 2)
    layout = make_v2(tmp_path)
    names = [f"/many/{number}" for number in range(20)]
    for name in names:
        shutil.copytree(tmp_path / GROUP.strip("/"), tmp_path / name.strip("/"))
    now = 100.0
    sampler = Sampler(layout, slow=5, clock=lambda: now)
    for name in [*names, *names]:
        sampler.sample(name, fresh=True)
    for name in names:
        (tmp_path / name.strip("/") / "memory.max").write_text("9000\n")
    told = []
    for _ in range(13):
        now += 1
        told.append(sum(sampler.sample(name).memory_limit == 9000 for name in names))
    assert told[4] == 0 and told[-1] == 20, told
    assert all(later - earlier <= 5 for earlier, later in pairwise(told)), told
    few = Sampler(layout, slow=5, clock=lambda: now)
    few.sample(names[0])
    (tmp_path / names[0].strip("/") / "memory.max").write_text("7000\n")
    now += 5
    assert few.sample(names[0]).memory_limit == 7000
    sampler.close()
    few.close()


def test_a_group_that_runs_again_is_read_in_full_again(tmp_path: Path) -> None:
    layout = make_v2(tmp_path)
    group = tmp_path / GROUP.strip("/")
    sampler = Sampler(layout, medium=0, slow=3600)
    sampler.sample(GROUP)
    for usage, anon, pids in ((1_000_001, 2000, 4), (1_000_002, 2500, 5)):
        (group / "memory.stat").write_text(f"anon {anon}\nfile 3000\ninactive_file 1500\n")
        (group / "pids.current").write_text(f"{pids}\n")
        (group / "cpu.stat").write_text(f"usage_usec {usage}\nuser_usec 600000\nsystem_usec 400000\n")
        sample = sampler.sample(GROUP)
        assert (sample.cpu_usage_us, sample.memory_anon, sample.pids) == (usage, anon, pids)
    sampler.close()


def test_long_files_are_read_in_full(tmp_path: Path) -> None:
    layout = make_v2(tmp_path)
    disks = "".join(f"259:{disk} rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n" for disk in range(200))
    (tmp_path / GROUP.strip("/") / "io.stat").write_text(disks)
    sampler = Sampler(layout)
    for _ in range(2):  # opened, and kept
        assert sampler.sample(GROUP, fresh=True).io_write_bytes == 400
    sampler.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_descriptors_are_bounded_and_closed(tmp_path: Path) -> None:
    layout = make_v2(tmp_path)
    for index in range(10):
        group = tmp_path / "pyctr" / f"c{index}"
        group.mkdir()
        for name, text in V2_FILES.items():
            (group / name).write_text(text)
    before = descriptors()
    sampler = Sampler(layout, max_open=30)
    for _ in range(3):
        for index in range(10):
            assert sampler.sample(f"/pyctr/c{index}", fresh=True).pids == 3
    assert 0 < sampler.open <= 30
    assert descriptors() - before == sampler.open
    sampler.close()
    assert descriptors() == before


def test_idle_groups_give_their_descriptors_to_those_looked_at(tmp_path: Path) -> None:
    layout = make_v2(tmp_path)
    other = tmp_path / "pyctr" / "other"
    other.mkdir()
    for name, text in V2_FILES.items():
        (other / name).write_text(text)
    sampler = Sampler(layout, max_open=len(V2_FILES), idle=0)
    sampler.sample(GROUP)
    sampler.sample("/pyctr/other")
    sampler.sample("/pyctr/other")
    assert sampler._groups["/pyctr/other"].kept == len(V2_FILES)
    assert sampler._groups[GROUP].kept == 0
    assert sampler.sample(GROUP).pids == 3
    sampler.close()


V1_FILES = {
    "cpuacct/cpuacct.usage": "3000000\n",
    "cpuacct/cpuacct.usage_user": "2000000\n",
    "cpuacct/cpuacct.usage_sys": "1000000\n",
    "cpu/cpu.stat": "nr_periods 4\nnr_throttled 1\nthrottled_time 9000\nnr_bursts 0\nburst_time 0\n",
    "cpu/cpu.cfs_quota_us": "-1\n",
    "cpu/cpu.cfs_period_us": "100000\n",
    "memory/memory.usage_in_bytes": "9000\n",
    "memory/memory.max_usage_in_bytes": "9500\n",
    "memory/memory.failcnt": "6\n",
    "memory/memory.kmem.usage_in_bytes": "77\n",
    "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    "memory/memory.stat": "cache 1\nrss 2\nhierarchical_memory_limit 9223372036854771712\ntotal_cache 4000\n"
    "total_rss 3000\ntotal_swap 0\ntotal_inactive_file 1000\n",
    "pids/pids.current": "2\n",
    "pids/pids.max": "max\n",
    "blkio/blkio.throttle.io_service_bytes_recursive": "8:0 Read 10\n8:0 Write 20\n8:0 Sync 0\n8:0 Total 30\n\n",
    "blkio/blkio.throttle.io_serviced_recursive": "8:0 Read 1\n8:0 Write 2\n8:0 Total 3\nTotal 3\n",
}


def make_v1(root: Path) -> cgroups.Layout:
    for name, text in V1_FILES.items():
        controller, file = name.split("/")
        group = root / controller / GROUP.strip("/")
        group.mkdir(parents=True, exist_ok=True)
        (root / controller / "tasks").touch()
        (group / file).write_text(text)
    return cgroups.detect(str(root))


def test_a_v1_group_has_the_same_shape(tmp_path: Path) -> None:
    sampler = Sampler(make_v1(tmp_path))
    sample = sampler.sample(GROUP)
    sampler.close()
    assert (sample.cpu_usage_us, sample.cpu_user_us, sample.cpu_system_us) == (3000, 2000, 1000)
    assert (sample.cpu_periods, sample.cpu_throttled, sample.cpu_throttled_us) == (4, 1, 9)
    assert sample.cpu_limit is None
    assert (sample.memory_current, sample.memory_working_set, sample.memory_limit) == (9000, 8000, None)
    assert (sample.memory_cache, sample.memory_anon, sample.memory_kernel, sample.memory_peak) == (4000, 3000, 77, 9500)
    assert sample.memory_events == {"max": 6, "oom_kill": 2}
    assert (sample.pids, sample.pids_limit) == (2, None)
    assert sample.io == {"8:0": (10, 20, 1, 2)}
    assert sample.psi is None


def at(monotonic: float, **values: object) -> Sample:
    sample = Sample()
    sample.__dict__.update(values, monotonic=monotonic)
    return sample


def test_cpu_in_both_scales_and_throttling() -> None:
    before = at(10.0, cpu_usage_us=0, cpu_periods=10, cpu_throttled=0, cpu_limit=2.0)
    after = at(12.0, cpu_usage_us=3_000_000, cpu_periods=30, cpu_throttled=5, cpu_limit=2.0)
    between = rates(before, after)
    assert between.interval == 2.0
    assert between.cpu_percent == 150
    assert between.cpu_percent_of_limit == 75
    assert between.throttled_percent == 25


@pytest.mark.parametrize("later", [10.0, 9.0])
def test_no_rate_without_time_between(later: float) -> None:
    assert rates(at(10.0, cpu_usage_us=0), at(later, cpu_usage_us=5)).cpu_percent is None


def test_a_counter_that_fell_gives_no_rate_instead_of_a_negative_one() -> None:
    before = at(1, cpu_usage_us=500, io={"8:0": (9, 9, 9, 9)}, net={"eth0": (9,) * 8}, memory_events={"oom_kill": 3})
    after = at(2, cpu_usage_us=100, io={"8:0": (1, 10, 9, 9)}, net={"eth0": (1,) * 8}, memory_events={"oom_kill": 0})
    between = rates(before, after)
    assert between.cpu_percent is None
    assert (between.io_read, between.io_write) == (None, 1.0)
    assert between.net_rx is None
    assert between.oom_kills is None


def test_devices_and_interfaces_come_and_go() -> None:
    before = at(1, io={"8:0": (100, 0, 1, 0)}, net={"lo": (0,) * 8, "eth0": (10, 20, 1, 1, 0, 0, 0, 0)})
    after = at(3, io={"8:16": (50, 0, 1, 0)}, net={"lo": (999,) * 8, "eth0": (30, 60, 3, 3, 2, 2, 4, 4)})
    between = rates(before, after)
    assert between.io_read == 25
    assert (between.net_rx, between.net_tx, between.net_errors, between.net_dropped) == (10, 20, 2, 4)


def make_proc(root: Path, busy: int) -> str:
    (root / "pressure").mkdir(exist_ok=True)
    (root / "stat").write_text(f"cpu  {busy} 0 50 800 100 0 0 50 0 0\ncpu0 1 0 0 0\ncpu1 1 0 0 0\nintr 1\n")
    (root / "meminfo").write_text(
        "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 400 kB\nCached: 300 kB\n"
        "SwapCached: 5 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"
    )
    (root / "loadavg").write_text("0.50 0.25 0.10 2/345 6789\n")
    (root / "uptime").write_text("1234.56 99.0\n")
    (root / "pressure" / "cpu").write_text("some avg10=3.10 avg60=0.00 avg300=0.00 total=12\n")
    (root / "7" / "net").mkdir(parents=True, exist_ok=True)
    (root / "7" / "net" / "dev").write_text(
        "Inter-|   Receive  |  Transmit\n face |bytes packets\n"
        "    lo:       5       1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n"
        "  eth0:     100      10 1 2 0 0 0 0 200 20 3 4 0 0 0 0\n"
    )
    return str(root)


def test_the_host(tmp_path: Path) -> None:
    sampler = Sampler(cgroups.Layout(mode="v2"), proc=make_proc(tmp_path, 100))
    before = sampler.sample_host()
    make_proc(tmp_path, 200)
    after = sampler.sample_host()
    sampler.close()
    assert (before.cpus, before.memory_total, before.memory_used, before.memory_cache) == (2, 1024000, 614400, 307200)
    assert (before.load, before.tasks_running, before.tasks, before.uptime) == ((0.5, 0.25, 0.1), 2, 345, 1234.56)
    assert before.psi == {"cpu": (3.1, None, 12, None)}
    between = host_rates(before, after)
    assert between.cpu_percent == 100
    assert between.cpu_iowait_percent == 0
    assert between.memory_percent == 60


def test_network_counters_are_those_of_the_processs_namespace(tmp_path: Path) -> None:
    (tmp_path / "cgroup").mkdir()
    layout = make_v2(tmp_path / "cgroup")
    sampler = Sampler(layout, proc=make_proc(tmp_path, 0))
    assert sampler.sample(GROUP, pid=7).net == {
        "lo": (5, 5, 1, 1, 0, 0, 0, 0),
        "eth0": (100, 200, 10, 20, 1, 3, 2, 4),
    }
    assert sampler.sample(GROUP).net is None
    sampler.close()


def test_a_host_without_proc_is_unknown(tmp_path: Path) -> None:
    sample = Sampler(cgroups.Layout(mode="v2"), proc=str(tmp_path)).sample_host()
    assert {name for name, value in sample.to_dict().items() if value is not None} == {"monotonic"}
    assert host_rates(HostSample(), sample).cpu_percent is None


RECORDINGS = Path(__file__).parents[1] / "golden" / "cgroups"


@pytest.mark.parametrize("mode", ["v1", "hybrid", "v2"])
def test_recorded_hosts_tell_the_same_story(tmp_path: Path, mode: str) -> None:
    pids = unpack(RECORDINGS / f"{mode}.json", "before", tmp_path)
    layout = cgroups.detect(str(tmp_path / "cgroup"))
    assert layout.mode == mode
    sampler = Sampler(layout, proc=str(tmp_path / "proc"))
    before = {name: sampler.sample(f"/pyctr-recorded/{name}", pid, fresh=True) for name, pid in pids.items()}
    unpack(RECORDINGS / f"{mode}.json", "after", tmp_path)
    after = {name: sampler.sample(f"/pyctr-recorded/{name}", pid, fresh=True) for name, pid in pids.items()}
    sampler.close()
    for name in pids:
        before[name].monotonic, after[name].monotonic = 0.0, 2.0
    between = {name: rates(before[name], after[name]) for name in pids}

    busy, sample = between["busy"], after["busy"]
    assert (sample.cpu_limit, sample.pids, sample.pids_limit) == (0.3, 1, 64)
    assert busy.cpu_percent is not None and 20 < busy.cpu_percent < 45
    assert busy.throttled_percent is not None and busy.throttled_percent > 20
    assert sample.io_write_bytes is not None and sample.io_write_bytes >= 4 << 20
    assert sample.memory_limit is None

    hungry, sample = between["hungry"], after["hungry"]
    assert (sample.memory_limit, sample.memory_peak) == (48 << 20, 48 << 20)
    assert sample.memory_anon is not None and sample.memory_anon > 30 << 20
    assert sample.memory_events is not None and sample.memory_events["oom_kill"] == 1
    assert hungry.oom_kills == 0
    assert hungry.memory_percent_of_limit is not None and 60 < hungry.memory_percent_of_limit < 80
    assert (sample.cpu_limit, hungry.throttled_percent, hungry.cpu_percent_of_limit) == (None, None, None)

    idle, sample = between["idle"], after["idle"]
    assert idle.cpu_percent == 0
    assert (sample.memory_limit, sample.pids_limit) == (None, None)
    assert sample.net is not None and "lo" in sample.net
    assert (sample.psi is None) == (mode == "v1")
    assert cgroups.manager(layout, "/pyctr-recorded/hungry").oom_events()["oom_kill"] == 1
    if mode != "v1":
        assert cgroups.manager(layout, "/pyctr-recorded/idle").frozen()
        assert not cgroups.manager(layout, "/pyctr-recorded/busy").frozen()


def test_without_privilege_a_recorded_host_is_detected_and_sampled(tmp_path: Path) -> None:
    pids = unpack(RECORDINGS / "v2.json", "before", tmp_path)
    for directory, _, files in os.walk(tmp_path):
        for name in files:
            os.chmod(os.path.join(directory, name), 0o444)
    layout = cgroups.detect(str(tmp_path / "cgroup"))
    sampler = Sampler(layout, proc=str(tmp_path / "proc"))
    assert all(sampler.sample(f"/pyctr-recorded/{name}").known for name in pids)
    assert sampler.sample_host().memory_total
    sampler.close()
