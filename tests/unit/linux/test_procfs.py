import os
from pathlib import Path

from pyctr.core.linux import procfs


def test_a_command_with_parentheses_and_spaces_does_not_shift_the_fields(tmp_path: Path) -> None:
    (tmp_path / "42").mkdir()
    fields = "S 7 42 40 34816 42 4194304 1 2 3 4 11 12 13 14 20 0 3 0 987654 4096000 250 " + "0 " * 28
    (tmp_path / "42" / "stat").write_text(f"42 (a) S (b c) {fields}\n")
    found = procfs.stat(42, str(tmp_path))
    assert (found.pid, found.comm, found.state, found.ppid) == (42, "a) S (b c", "S", 7)
    assert (found.utime, found.stime, found.threads, found.start_time, found.rss) == (11, 12, 3, 987654, 250)


def test_alive_tells_a_reused_pid_and_a_zombie_from_the_process() -> None:
    me = os.getpid()
    started = procfs.start_time(me)
    assert started is not None
    assert procfs.alive(me, started)
    assert not procfs.alive(me, started - 1)
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    born = procfs.start_time(child)
    assert born is not None
    assert procfs.stat(child).state == "Z"
    assert not procfs.alive(child, born)
    os.waitpid(child, 0)
    assert procfs.start_time(child) is None
    assert not procfs.alive(child, born)


def test_children_are_found_both_ways() -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    try:
        assert child in procfs.children(os.getpid())
        assert child in procfs._children_by_parent(os.getpid(), "/proc")
    finally:
        os.close(writer)
        os.close(reader)
        os.waitpid(child, 0)
    assert child not in procfs.children(os.getpid())


def test_net_dev_columns() -> None:
    text = (
        b"Inter-|   Receive  |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes\n"
        b"    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\neth0.5:100 0 0 0 0 0 0 0 200 0 0 0 0 0 0 0\n"
    )
    assert procfs.parse_net_dev(text) == {
        "lo": (1, 2, 3, 4, 9, 10, 11, 12),
        "eth0.5": (100, 0, 0, 0, 200, 0, 0, 0),
    }


def test_status_and_boot_id() -> None:
    assert procfs.status("self")["Pid"] == str(os.getpid())
    assert len(procfs.boot_id()) == 36
