"""What a look at every process and file of a container tells, and what it does not claim to know."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyctr.core import closelook
from pyctr.core.cgroupstats import Sample
from tests.support.enginetree import EngineTree


@pytest.fixture
def tree(tmp_path: Path) -> EngineTree:
    """70 with three threads, the second in state D, and two files; 71 alone, with one."""
    made = EngineTree(tmp_path)
    for pid, threads, files in ((70, (70, 72, 73), 2), (71, (71,), 1)):
        made.process(pid, "httpd (x)", group="/docker/a")
        stat = made.top / f"proc/{pid}/stat"
        stat.write_text(stat.read_text().replace(" 0 0 20 0 1 0 ", f" 0 0 20 0 {len(threads)} 0 "))
        for number in range(files):
            made.write(f"/proc/{pid}/fd/{number}", "")
        for task in threads:
            state = "D" if task == 72 else "S"
            made.write(f"/proc/{pid}/task/{task}/stat", stat.read_text().replace(") S ", f") {state} "))
            given(made, pid, task, 5)
    made.write("/proc/70/task/72/wchan", "rpc_wait_bit_killable")
    return made


def given(tree: EngineTree, pid: int, task: int, times: int) -> None:
    text = f"Name:\thttpd\nvoluntary_ctxt_switches:\t{times}\nnonvoluntary_ctxt_switches:\t1\n"
    tree.write(f"/proc/{pid}/task/{task}/status", text)


def look(
    tree: EngineTree, *pids: int, known: dict[closelook.Sleep, float] | None = None, now: float = 100.0
) -> tuple[Sample, dict[closelook.Sleep, float]]:
    sample = Sample()
    return sample, closelook.fill(sample, pids, tree.paths.proc, known or {}, now)


def test_processes_threads_files_and_who_waits_are_counted(tree: EngineTree) -> None:
    sample, sleeps = look(tree, 70, 71, 1 << 22)
    assert (sample.processes, sample.threads, sample.open_files, sample.waiting) == (3, 4, 3, 1)
    assert sleeps == {(72, 1000, 6): 100.0} and sample.stuck == 0
    assert closelook.where((71, 70), tree.paths.proc) == "rpc_wait_bit_killable"
    assert closelook.where((71,), tree.paths.proc) == ""


def test_a_sleep_lasts_until_its_task_has_slept_again(tree: EngineTree) -> None:
    _, sleeps = look(tree, 70)
    sample, sleeps = look(tree, 70, known=sleeps, now=140.0)
    assert sample.stuck == 40.0
    given(tree, 70, 72, 6)  # it woke up, and sleeps again
    sample, sleeps = look(tree, 70, known=sleeps, now=150.0)
    assert (sample.waiting, sample.stuck) == (1, 0.0)
    stat = tree.top / "proc/70/task/72/stat"
    stat.write_text(stat.read_text().replace(") D ", ") R "))
    sample, sleeps = look(tree, 70, known=sleeps, now=160.0)
    assert (sample.waiting, sample.stuck, sleeps) == (0, 0.0, {})


def test_what_may_not_be_seen_is_unknown_and_so_is_what_a_recording_lacks(tree: EngineTree) -> None:
    for file in (tree.top / "proc/71/fd").iterdir():
        file.unlink()
    (tree.top / "proc/71/fd").rmdir()
    sample, _ = look(tree, 70, 71)
    assert sample.open_files is None and sample.threads == 4


def test_a_fork_bomb_is_counted_and_not_looked_at(tree: EngineTree) -> None:
    sample, _ = look(tree, *range(70, 70 + closelook.PROCESSES + 1))
    assert sample.processes == closelook.PROCESSES + 1
    assert (sample.threads, sample.open_files, sample.waiting) == (None, None, None)


def test_the_kernels_own_count_of_files_is_that_of_a_listing() -> None:
    script = "import sys; f = [open('/dev/null') for _ in range(40)]; print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline()
        sample = Sample()
        closelook.fill(sample, (child.pid,), "/proc", {}, 0.0)
        assert sample.open_files == len(os.listdir(f"/proc/{child.pid}/fd")) > 40
        child.communicate()


def test_a_layer_is_measured_to_a_bound_and_a_log_with_what_was_rotated(tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    (upper / "etc").mkdir(parents=True)
    (upper / "etc" / "big").write_bytes(b"x" * 40960)
    os.link(upper / "etc" / "big", upper / "again")
    blocks = (upper / "again").stat().st_blocks * 512
    whole = closelook.written(str(upper))
    assert whole is not None and blocks <= whole < 2 * blocks
    assert closelook.written(str(upper), 2) is None
    with pytest.raises(FileNotFoundError):
        closelook.written(str(tmp_path / "none"))
    assert closelook.logged(str(tmp_path / "log" / "ctr.log")) is None
    (tmp_path / "log").mkdir()
    for name in ("ctr.log", "ctr.log.1", "other.log"):
        (tmp_path / "log" / name).write_bytes(b"y" * 8192)
    one = (tmp_path / "log" / "ctr.log").stat().st_blocks * 512
    assert closelook.logged(str(tmp_path / "log" / "ctr.log")) == 2 * one
