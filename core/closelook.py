"""What costs a look at every process or file of a container: for one container in view, or for each now and then.

    fill(sample, pids, proc, known) ─> processes, threads, open files, tasks that wait uninterruptibly, and since when
    written(upper, most)            ─> bytes of a writable layer

Sources: proc_pid_stat(5), proc_pid_status(5), proc_pid_fd(5). A start path module: shims use it.
"""

from __future__ import annotations

import os

from pyctr.core.linux import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pyctr.core.cgroupstats import Sample

Sleep = tuple[int, int, int]
"""(task, when it began in ticks after boot, how often it had given its core away): one sleep of one task. Who has
slept twice has another number."""

PROCESSES = 500
"""Of which every one is looked at: a fork bomb must not take the viewer with it. Of more nothing is told."""
TASKS = 2000
ENTRIES = 20_000
"""Files and directories of one look at a layer, some 30 ms."""


def fill(
    sample: Sample,
    pids: Iterable[int],
    proc: str,
    known: Mapping[Sleep, float],
    now: float,
    seen: list[procfs.Stat] | None = None,
) -> dict[Sleep, float]:
    """Put into the sample what its processes tell; what cannot be known stays None.

    The answer is when each sleep that is uninterruptible was seen first, in seconds by the clock of `now`; the next
    look wants it as `known`. Who has slept since before the first look is told to sleep since then. `seen` is given the
    processes themselves.
    """
    asked = list(pids)
    sample.processes = len(asked)
    if len(asked) > PROCESSES:
        return {}
    threads = open_files = 0
    sleeping: list[str] = []
    readable = True
    for pid in asked:
        try:
            found = procfs.stat(pid, proc)
        except (OSError, ValueError, IndexError):
            continue  # it ended while we looked
        threads += found.threads
        if seen is not None:
            seen.append(found)
        if readable:
            try:
                open_files += _open_files(proc, pid)
            except OSError:
                # it has ended, and its files with it; or this is not ours to look at
                readable = not os.path.exists(f"{proc}/{pid}/stat")
        if found.threads > 1 and threads <= TASKS:
            sleeping += _sleepers(f"{proc}/{pid}/task")
        elif found.state == "D":
            sleeping.append(f"{proc}/{pid}/task/{pid}")
    sample.threads = threads
    sample.open_files = open_files if readable else None
    sample.waiting = len(sleeping)
    since = {sleep: known.get(sleep, now) for task in sleeping if (sleep := _sleep(task)) is not None}
    sample.stuck = max((now - seen for seen in since.values()), default=0.0)
    return since


def _open_files(proc: str, pid: int) -> int:
    """From Linux 6.2 on the size of the directory, where it is no recording of one."""
    size = os.stat(f"{proc}/{pid}/fd").st_size if proc == "/proc" else 0
    return size or len(os.listdir(f"{proc}/{pid}/fd"))


def _sleepers(directory: str) -> list[str]:
    found = []
    try:
        for task in os.listdir(directory):
            try:
                if procfs.stat(f"{task}", directory).state == "D":
                    found.append(f"{directory}/{task}")
            except (OSError, ValueError, IndexError):
                continue  # that thread ended meanwhile
    except OSError:
        pass  # all of it did
    return found


def _sleep(task: str) -> Sleep | None:
    directory, _, tid = task.rpartition("/")
    try:
        fields = procfs.status(tid, directory)
        given = int(fields["voluntary_ctxt_switches"]) + int(fields["nonvoluntary_ctxt_switches"])
        return int(tid), procfs.stat(tid, directory).start_time, given
    except (OSError, KeyError, ValueError, IndexError):
        return None  # it ended, or this is a recording without that file


def where(pids: Iterable[int], proc: str) -> str:
    """The kernel function that a task in state D waits in (proc_pid_wchan(5)), of the first there is; "" if none."""
    for pid in list(pids)[:PROCESSES]:
        for task in _sleepers(f"{proc}/{pid}/task"):
            try:
                with open(f"{task}/wchan", "rb", buffering=0) as file:
                    if (name := file.read(128).decode("ascii", "replace")) not in ("", "0"):
                        return name
            except OSError:
                continue  # it woke up and ended, or is not ours to look at
    return ""


def written(upper: str, most: int = ENTRIES) -> int | None:
    """Bytes on disk of a writable layer; None for one of more than `most` entries. Raises OSError if there is none."""
    size, left, waiting = 0, most, [upper]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    left -= 1
                    if left < 0:
                        return None
                    try:
                        found = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # the container is at work
                    size += found.st_blocks * 512 // max(1, found.st_nlink)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except FileNotFoundError:
            if not waiting and not size:
                raise
    return size


def logged(log: str) -> int | None:
    """Bytes on disk of a log with what was rotated away of it; None where there is none."""
    directory, _, name = log.rpartition("/")
    try:
        return sum(
            entry.stat(follow_symlinks=False).st_blocks * 512
            for entry in os.scandir(directory or ".")
            if entry.name == name or entry.name.startswith(f"{name}.")
        )
    except OSError:
        return None
