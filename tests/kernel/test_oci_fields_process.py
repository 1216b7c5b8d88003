"""The fields of `process`, asserted by what the process inside finds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyctr.core.linux import caps
from tests.support.oci import Oci


def process(**fields: Any) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        config["process"].update(fields)

    return change


def status(oci: Oci, **fields: Any) -> dict[str, str]:
    text = oci.inside("cat /proc/self/status", process(**fields))
    return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


def test_user_groups_and_umask(oci: Oci) -> None:
    change = process(user={"uid": 1000, "gid": 1001, "additionalGids": [7, 8], "umask": 0o027})
    out = oci.inside("id -u; id -g; id -G; umask; touch /tmp/x; stat -c %a /tmp/x", change, mounts=_tmp(oci))
    assert out.split() == ["1000", "1001", "1001", "7", "8", "0027", "640"]


def _tmp(oci: Oci) -> list[dict[str, Any]]:
    return [*oci.config()["mounts"], oci.mount("/tmp", "tmpfs", "tmpfs", "mode=1777")]


def test_the_umask_is_022_unless_named(oci: Oci) -> None:
    assert oci.inside("umask") == "0022\n"


def test_every_rlimit_arrives(oci: Oci) -> None:
    from pyctr.core.linux.process import RLIMITS, getrlimit

    limits = []
    for name in RLIMITS:
        _, hard = getrlimit(name)
        high = 1 << 40 if hard == -1 else hard
        # lower than ours, and no hindrance for a shell
        limits.append({"type": name, "soft": high // 2, "hard": high - 1 if high else 0})
    out = oci.inside("cat /proc/self/limits", process(rlimits=limits))
    found = [line[26:].split()[:2] for line in out.splitlines()[1:]]
    titles = ["CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS"]
    titles += ["SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME"]
    wanted = {limit["type"].removeprefix("RLIMIT_"): [str(limit["soft"]), str(limit["hard"])] for limit in limits}
    assert dict(zip(titles, found, strict=True)) == wanted


def test_a_low_limit_does_not_hinder_the_start(oci: Oci) -> None:
    limits = [
        {"type": "RLIMIT_NOFILE", "soft": 4, "hard": 4},
        {"type": "RLIMIT_AS", "soft": 8 << 20, "hard": 8 << 20},
    ]
    assert oci.inside("ulimit -n", process(rlimits=limits)) == "4\n"


@pytest.mark.skipif(caps.get()[0] >> caps.number("CAP_SYS_RESOURCE") & 1 == 1, reason="may raise every limit")
def test_a_limit_that_cannot_be_raised_is_named(oci: Oci) -> None:
    from pyctr.core.linux.process import getrlimit

    hard = getrlimit("RLIMIT_NOFILE")[1]
    said = oci.refused(process(rlimits=[{"type": "RLIMIT_NOFILE", "soft": 1, "hard": hard + 1}]))
    assert "process.rlimits[0]: 'RLIMIT_NOFILE 1" in said and "not permitted" in said


def test_the_five_capability_sets(oci: Oci) -> None:
    names = ["CAP_CHOWN", "CAP_NET_RAW", "CAP_KILL"]
    sets = {
        "bounding": names,
        "permitted": names,
        "inheritable": names[:2],
        "effective": names[:2],
        "ambient": names[:1],
    }
    # as another user execve keeps only what is ambient; as root it gives what is in the bounding set
    found = status(oci, user={"uid": 1000, "gid": 1000}, capabilities=sets, noNewPrivileges=False)
    masks = {name: int(found[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    assert masks == {
        "CapInh": caps.mask(names[:2]),
        "CapPrm": caps.mask(names[:1]),
        "CapEff": caps.mask(names[:1]),
        "CapBnd": caps.mask(names),
        "CapAmb": caps.mask(names[:1]),
    }


def test_no_capabilities_are_none(oci: Oci) -> None:
    found = status(oci, capabilities={})
    assert {int(found[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}


def test_ambient_beyond_inheritable_is_left_out_with_a_warning_at_most(oci: Oci) -> None:
    sets = {"bounding": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"], "ambient": ["CAP_CHOWN"]}
    found = status(oci, user={"uid": 1000, "gid": 1000}, capabilities=sets)
    assert int(found["CapAmb"], 16) == 0 and int(found["CapEff"], 16) == 0


def test_unknown_and_missing_capabilities_warn_and_do_not_stop(oci: Oci) -> None:
    names = ["CAP_CHOWN", "CAP_FLY", "CAP_SYS_RESOURCE"]
    config = oci.config("grep", "CapPrm", "/proc/self/status")
    config["process"]["capabilities"] = {"bounding": names, "permitted": names, "effective": names}
    done = oci.run_config(config)
    assert done.returncode == 0, done.stderr
    assert "warning: process.capabilities: unknown, ignored: 'CAP_FLY'" in done.stderr
    assert int(done.stdout.split()[1], 16) == caps.mask(["CAP_CHOWN", "CAP_SYS_RESOURCE"]) & caps.get()[1]


@pytest.mark.parametrize("on", [True, False])
def test_no_new_privileges(oci: Oci, on: bool) -> None:
    assert status(oci, noNewPrivileges=on)["NoNewPrivs"] == str(int(on))


def test_oom_score_adj(oci: Oci) -> None:
    with open("/proc/self/oom_score_adj") as file:
        ours = int(file.read())
    assert oci.inside("cat /proc/self/oom_score_adj", process(oomScoreAdj=ours + 77)) == f"{ours + 77}\n"
    assert oci.inside("cat /proc/self/oom_score_adj") == f"{ours}\n"


def test_io_priority(oci: Oci) -> None:
    for word, level, said in (
        ("IOPRIO_CLASS_BE", 3, "best-effort: prio 3"),
        ("IOPRIO_CLASS_IDLE", 0, "idle"),
        ("IOPRIO_CLASS_RT", 1, "realtime: prio 1"),
    ):
        change = process(ioPriority={"class": word, "priority": level})
        assert oci.inside("busybox ionice -p $$", change).strip() == said


def _realtime(oci: Oci, config: dict[str, Any]) -> None:
    """With CONFIG_RT_GROUP_SCHED a v1 group has no real-time budget of its own, and gives none that it has not."""
    root = Path("/sys/fs/cgroup/cpu")
    if not (root / "cpu.rt_runtime_us").exists():
        return
    parent = root / oci.host.paths.cgroup_parent
    parent.mkdir(exist_ok=True)
    (parent / "cpu.rt_runtime_us").write_text("20000")
    config["linux"]["resources"]["cpu"] = {"realtimeRuntime": 10000, "realtimePeriod": 1000000}


def _scheduling(oci: Oci, scheduler: dict[str, Any]) -> list[str]:
    """Policy, nice and priority of the process inside: fields 41, 19 and 40 of proc_pid_stat(5)."""
    config = oci.config("cat", "/proc/1/stat")
    config["process"]["scheduler"] = scheduler
    if scheduler["policy"] in ("SCHED_FIFO", "SCHED_RR"):
        _realtime(oci, config)
    done = oci.run_config(config)
    assert done.returncode == 0, done.stderr
    text = done.stdout
    fields = text.rpartition(")")[2].split()
    return [fields[38], fields[16], fields[37]]


def test_scheduler_policies(oci: Oci) -> None:
    nice = str(os.nice(0))  # real-time policies leave it as it is
    assert _scheduling(oci, {"policy": "SCHED_OTHER", "nice": 7}) == ["0", "7", "0"]
    assert _scheduling(oci, {"policy": "SCHED_BATCH", "nice": 3}) == ["3", "3", "0"]
    assert _scheduling(oci, {"policy": "SCHED_IDLE"})[0] == "5"
    assert _scheduling(oci, {"policy": "SCHED_FIFO", "priority": 5}) == ["1", nice, "5"]
    assert _scheduling(oci, {"policy": "SCHED_RR", "priority": 9}) == ["2", nice, "9"]


def test_scheduler_flag_reset_on_fork_holds_for_children_only(oci: Oci) -> None:
    config = oci.config("sh", "-c", "cat /proc/1/stat; cat /proc/self/stat; true")
    config["process"]["scheduler"] = {
        "policy": "SCHED_FIFO",
        "priority": 5,
        "flags": ["SCHED_FLAG_RESET_ON_FORK"],
    }
    _realtime(oci, config)
    done = oci.run_config(config)
    assert [line.rpartition(")")[2].split()[38] for line in done.stdout.splitlines()] == ["1", "0"], done.stderr


def test_deadline_scheduling(oci: Oci) -> None:
    scheduler = {
        "policy": "SCHED_DEADLINE",
        "flags": ["SCHED_FLAG_RESET_ON_FORK"],
        "runtime": 10_000_000,
        "deadline": 50_000_000,
        "period": 100_000_000,
    }
    assert _scheduling(oci, scheduler)[0] == "6"
    said = oci.refused(process(scheduler={**scheduler, "runtime": 60_000_000}))
    assert "process.scheduler: 'SCHED_DEADLINE' cannot be set: " in said and "invalid argument" in said


def test_utilisation_clamps_are_passed_to_the_kernel(oci: Oci) -> None:
    scheduler = {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_UTIL_CLAMP_MIN", "SCHED_FLAG_UTIL_CLAMP_MAX"]}
    config = oci.config("true")
    config["process"]["scheduler"] = scheduler
    done = oci.run_config(config)
    # a kernel without CONFIG_UCLAMP_TASK says so
    assert done.returncode == 0 or "process.scheduler: 'SCHED_OTHER' cannot be set: " in done.stderr


@pytest.mark.parametrize(
    ("field", "absent"),
    [
        ("apparmorProfile", not os.path.exists("/sys/module/apparmor")),
        ("selinuxLabel", not os.path.exists("/sys/fs/selinux/enforce")),
    ],
)
def test_labels_without_their_security_module_are_refused(oci: Oci, field: str, absent: bool) -> None:
    if not absent:
        pytest.skip("this host has the module")
    said = oci.refused(process(**{field: "system_u:system_r:container_t:s0"}))
    assert f"process.{field}: " in said and "this host" in said


def test_apparmor_unconfined_is_what_a_host_without_it_is(oci: Oci) -> None:
    assert oci.inside("echo fine", process(apparmorProfile="unconfined")) == "fine\n"


def test_console_size(oci: Oci) -> None:
    config = oci.config("stty", "size")
    config["process"].update(terminal=True, consoleSize={"height": 33, "width": 111})
    done = oci.run_config(config)
    assert (done.returncode, done.stdout.strip()) == (0, "33 111"), done.stderr


def test_console_size_without_a_terminal_is_ignored(oci: Oci) -> None:
    assert oci.inside("tty || true", process(consoleSize={"height": 33, "width": 111})) == "not a tty\n"


def test_a_terminal_is_the_containers_own(oci: Oci) -> None:
    config = oci.config("sh", "-c", "tty; ls -l /dev/console | cut -c1; id -u > /dev/console")
    config["process"].update(terminal=True)
    done = oci.run_config(config)
    assert done.stdout.split() == ["/dev/pts/0", "c", "0"], done.stderr


def test_exec_cpu_affinity_is_for_further_processes_only(oci: Oci) -> None:
    ours = sorted(os.sched_getaffinity(0))
    if len(ours) < 2:
        pytest.skip("one processor")
    config = oci.config("sleep", "100")
    config["process"]["execCPUAffinity"] = {"initial": str(ours[0]), "final": str(ours[1])}
    oci.write(config)
    assert oci.cli("run", "-d", "--bundle", str(oci.path), "one").returncode == 0
    see = ["exec", "one", "grep", "Cpus_allowed_list", "/proc/1/status", "/proc/self/status"]
    found = [line.split()[-1] for line in oci.cli(*see).stdout.splitlines()]
    oci.cli("delete", "--force", "one")
    assert found[1] == str(ours[1]) and found[0] != found[1]


def test_personality(oci: Oci) -> None:
    assert oci.inside("uname -m", _uname(oci)) == f"{os.uname().machine}\n"
    change = _uname(oci)

    def linux32(config: dict[str, Any]) -> None:
        change(config)
        config["linux"]["personality"] = {"domain": "LINUX32"}

    assert oci.inside("uname -m", linux32) == ("i686\n" if os.uname().machine == "x86_64" else "armv8l\n")


def _uname(oci: Oci) -> Callable[[dict[str, Any]], None]:
    link = oci.rootfs / "bin/uname"
    if not link.is_symlink():
        link.symlink_to("busybox")
    return lambda config: None


def test_memory_policy(oci: Oci) -> None:
    if not os.path.exists("/proc/self/numa_maps"):
        pytest.skip("a kernel without NUMA")

    def policy(mode: str, nodes: str, *flags: str) -> Callable[[dict[str, Any]], None]:
        return lambda config: config["linux"].update(memoryPolicy={"mode": mode, "nodes": nodes, "flags": list(flags)})

    # the policy of the process, seen through a mapping without one of its own
    assert "bind:0 " in oci.inside("cat /proc/self/numa_maps", policy("MPOL_BIND", "0"))
    assert "interleave=static:0 " in oci.inside(
        "cat /proc/self/numa_maps", policy("MPOL_INTERLEAVE", "0", "MPOL_F_STATIC_NODES")
    )
    said = oci.refused(policy("MPOL_BIND", "4000"))
    assert "linux.memoryPolicy: 'MPOL_BIND 4000' cannot be set: " in said
