"""The kernel's own words about whom it killed, as several versions write them."""

from __future__ import annotations

import os
from pathlib import Path

from pyctr.core.linux import kmsg

ID = "be340fa14a01bb9b8f4894ba3759d0321172fc09d5d8174ee3a7a8cf575b71d9"
GROUP = f"/pyctr/{ID}"


def choice(group: str, pid: int, task: str, constraint: str = "CONSTRAINT_MEMCG", whole: str = "") -> str:
    return (
        f"oom-kill:constraint={constraint},nodemask=(null),cpuset=x,mems_allowed=0,"
        f"{whole or f'oom_memcg={group}'},task_memcg={group},task={task},pid={pid},uid=0"
    )


def killed(pid: int, task: str, prefix: str = "Memory cgroup out of memory") -> str:
    return (
        f"{prefix}: Killed process {pid} ({task}) total-vm:67804kB, anon-rss:16128kB, file-rss:1264kB, shmem-rss:8kB,"
        " UID:0 pgtables:68kB oom_score_adj:0"
    )


def test_only_the_groups_own_kills_count() -> None:
    said = [
        (1.0, choice(GROUP, 8281, "dd")),
        (1.1, killed(8281, "dd")),
        (2.0, choice("/other/x", 9, "dd")),
        (2.1, killed(9, "dd")),
        (3.0, killed(8281, "dd")),  # whose choice was overwritten
    ]
    (kill,) = kmsg.oom_kills(GROUP, said)
    assert (kill["at"], kill["pid"], kill["name"], kill["whole_host"]) == (1.1, 8281, "dd", False)
    assert kill["rss"] == (16128 + 1264 + 8) * 1024


def test_groups_below_it_and_namespaced_paths_are_its_own() -> None:
    for group in (f"{GROUP}/worker", f"/machine.slice{GROUP}", f"/machine.slice{GROUP}/worker"):
        assert len(kmsg.oom_kills(GROUP, [(1.0, choice(group, 5, "a")), (1.1, killed(5, "a"))])) == 1
    assert not kmsg.oom_kills("/pyctr/be34", [(1.0, choice(GROUP, 5, "a")), (1.1, killed(5, "a"))])


def test_a_host_without_memory_is_told_from_a_limit() -> None:
    said = [
        (1.0, choice(GROUP, 5, "a", "CONSTRAINT_NONE", "global_oom")),
        (1.1, killed(5, "a", "Out of memory")),
    ]
    assert kmsg.oom_kills(GROUP, said)[0]["whole_host"]


def test_crashes_are_found_by_pid() -> None:
    said = [(1.0, "seg[31876]: segfault at 0 ip 000000000040007a"), (2.0, "seg[318]: segfault at 0")]
    assert kmsg.faults(31876, said) == ["seg[31876]: segfault at 0 ip 000000000040007a"]


def test_what_anybody_may_write_is_not_the_kernels(tmp_path: Path) -> None:
    fifo = str(tmp_path / "kmsg")
    os.mkfifo(fifo)
    keeper = os.open(fifo, os.O_RDWR)
    try:
        # one record for each read: so it is of the device, and of a pipe with one write in it
        os.write(keeper, b"12,7,99,-;oom-kill:forged")
        assert list(kmsg.records(fifo)) == []
        os.write(keeper, b"6,8,1500000,-;a word\n SUBSYSTEM=x")
        assert list(kmsg.records(fifo)) == [(1.5, "a word")]
    finally:
        os.close(keeper)
    assert list(kmsg.records(str(tmp_path / "none"))) == []
