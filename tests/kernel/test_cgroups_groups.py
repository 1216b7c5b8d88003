"""Groups as such: joining, freezing, killing, listing, removing, and keeping out of what is not ours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable

import pytest

from pyctr.core import cgroups, errors
from pyctr.core.cgroupstats import Sampler
from tests.support.groups import Subtree

pytestmark = pytest.mark.kernel

COUNTER = "n = 0\nwhile True:\n    n += 1\n    os.pwrite(3, n.to_bytes(8, 'little'), 0)\n    time.sleep(0.001)\n"


def count(path: str) -> int:
    with open(path, "rb") as file:
        return int.from_bytes(file.read(8), "little")


def grows(path: str, seconds: float) -> bool:
    start, deadline = count(path), time.monotonic() + seconds
    while time.monotonic() < deadline:
        if count(path) > start:
            return True
        time.sleep(0.01)
    return False


def test_freeze_stops_progress_and_thaw_resumes_it(subtree: Subtree, tmp_path: os.PathLike[str]) -> None:
    group = subtree.create()
    path = os.path.join(tmp_path, "count")
    child = subtree.spawn(group, f"os.dup2(os.open({path!r}, 66), 3); say('up')\n" + COUNTER)
    child.hear()
    assert grows(path, 30)
    assert not group.frozen()
    group.freeze()
    assert group.frozen()
    assert not grows(path, 0.3)
    group.thaw()
    assert not group.frozen()
    assert grows(path, 30)
    child.kill()


FAMILY = """
def family(depth):
    for _ in range(2):
        if depth and os.fork() == 0:
            family(depth - 1)
            time.sleep(600)
family(3)
"""


@pytest.mark.parametrize("frozen", [False, True])
def test_kill_kills_all(subtree: Subtree, frozen: bool) -> None:
    group = subtree.create()
    child = subtree.spawn(group, FAMILY + "say('up'); time.sleep(600)")
    child.hear()
    deadline = time.monotonic() + 60
    while len(group.pids()) < 15 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(group.pids()) == 15
    if frozen:
        group.freeze()
    group.kill()
    assert child.wait() == -signal.SIGKILL
    assert group.wait_empty()
    assert group.pids() == []


def test_kill_reaches_what_somebody_inside_has_frozen(subtree: Subtree) -> None:
    """A container in the container that was paused."""
    group = subtree.create()
    inner = cgroups.manager(subtree.layout, f"{group.group}/inner")
    inner.create(counted=True)
    child = subtree.spawn(inner, "say('up'); time.sleep(600)")
    child.hear()
    inner.freeze()
    group.kill()
    assert child.wait() == -signal.SIGKILL
    assert group.wait_empty()


def test_kill_reaches_what_forks_all_the_time(subtree: Subtree) -> None:
    group = subtree.create({"pids": {"limit": 50}})
    child = subtree.spawn(
        group,
        "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN); say('up')\n"
        "while True:\n"
        "    try: os.fork()\n"
        "    except OSError: time.sleep(0.001)\n"
        "    if os.getpid() % 3 == 0: os._exit(0)\n",
    )
    child.hear()
    group.kill()
    child.wait()
    assert group.wait_empty()


def test_a_polite_signal_reaches_every_process(subtree: Subtree) -> None:
    group = subtree.create()
    child = subtree.spawn(group, "pid = os.fork()\nif pid: say('up'); os.waitpid(pid, 0)\ntime.sleep(600)")
    child.hear()
    group.kill(signal.SIGTERM)
    assert child.wait() == -signal.SIGTERM
    assert group.wait_empty()


def test_remove_waits_for_the_dying_and_takes_inner_groups(subtree: Subtree) -> None:
    group = subtree.create()
    inner = subtree.create(name="a/inner/deep")
    child = subtree.spawn(inner, "say('up'); time.sleep(600)")
    child.hear()
    assert group.pids() == [child.pid]
    assert group.pids(all=False) == []
    with pytest.raises(errors.Conflict, match=f"still has processes.* {child.pid}"):
        group.remove(timeout=0.05)
    group.kill()
    group.remove()
    child.wait()
    assert not group.exists()
    assert not inner.exists()
    group.remove()  # what is gone is fine
    assert group.pids() == []
    assert not group.frozen()
    assert group.oom_events() == {}


def test_an_empty_group_left_behind_is_replaced_and_a_living_one_is_not(subtree: Subtree) -> None:
    group = subtree.create({"pids": {"limit": 3}})
    subtree.create(name="a/left")
    group.create()
    sampler = Sampler(subtree.layout)
    assert sampler.sample(group.group).pids_limit is None
    sampler.close()
    child = subtree.spawn(group, "say('up'); time.sleep(600)")
    child.hear()
    with pytest.raises(errors.Conflict, match="already has processes"):
        group.create()
    assert group.pids() == [child.pid]


def test_the_sampler_sees_a_group_go_and_come_back(subtree: Subtree) -> None:
    group = subtree.create({"pids": {"limit": 3}})
    sampler = Sampler(subtree.layout)
    assert sampler.sample(group.group).pids_limit == 3
    group.remove()
    gone = sampler.sample(group.group)
    assert not gone.known
    assert gone.pids_limit is None
    assert sampler.open == 0
    group.create({"pids": {"limit": 4}})
    assert sampler.sample(group.group).pids_limit == 4
    sampler.close()


def in_child(action: Callable[[], object]) -> int:
    """Run in a forked process; its pid. It exits 0 if the action returned, 1 with a traceback otherwise."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            action()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def test_parallel_first_starts_do_not_disturb_each_other(subtree: Subtree) -> None:
    def start_and_stop(number: int) -> None:
        for round in range(3):
            group = subtree.manager(f"{number}-{round}")
            group.create({"pids": {"limit": 9}, "cpu": {"cpus": "0"}})
            member = in_child(lambda group=group: (group.join(), time.sleep(600)))  # type: ignore[misc]
            deadline = time.monotonic() + 60
            while not group.pids() and time.monotonic() < deadline:
                time.sleep(0.001)
            group.kill()
            os.waitpid(member, 0)
            group.remove()

    workers = [in_child(lambda number=number: start_and_stop(number)) for number in range(8)]  # type: ignore[misc]
    assert [os.waitpid(pid, 0)[1] for pid in workers] == [0] * 8
    assert not [path for path in subtree.directories() if os.path.basename(path)[0].isdigit()]


def test_without_privilege_groups_can_be_looked_at_but_not_changed(subtree: Subtree) -> None:
    group = subtree.create({"pids": {"limit": 7}})

    def look() -> None:
        os.setgid(65534)
        os.setuid(65534)
        layout = subtree.layout
        assert cgroups.detect().mode == layout.mode or layout.mode == "v1"
        sampler = Sampler(layout)
        assert sampler.sample(group.group, os.getpid()).pids_limit == 7
        assert sampler.sample_host().memory_total
        assert not group.frozen()
        for refused in (group.create, group.freeze, lambda: group.update({"pids": {"limit": 8}})):
            try:
                refused()
            except errors.PermissionDenied:
                continue
            raise AssertionError(f"{refused} was not refused")

    assert os.waitpid(in_child(look), 0)[1] == 0


START = """
import json, os, sys
from pyctr.core import cgroups
from pyctr.core.linux import namespaces

touched = []
def watch(event, arguments):
    if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        touched.append(arguments[0])
    elif event in ("os.mkdir", "os.rmdir"):
        touched.append(arguments[0])

manager = cgroups.manager(cgroups.Layout.from_dict(json.loads(sys.argv[2])), sys.argv[1])
sys.addaudithook(watch)
manager.create({"pids": {"limit": 5}, "memory": {"limit": 64 << 20}, "cpu": {"shares": 512}})
fd = manager.open_for_clone()
read, write = os.pipe()
made, touched[:] = list(touched), []
pid, pidfd = namespaces.clone3(0, cgroup_fd=fd)
if pid == 0:
    manager.join()
    os.write(write, json.dumps([touched, open("/proc/self/cgroup").read()]).encode())
    os._exit(0)
os.waitpid(pid, 0)
joined, groups = json.loads(os.read(read, 65536))
touched[:] = []
manager.freeze(); manager.thaw(); manager.kill(); manager.remove()
print(json.dumps({"made": made, "joined": joined, "groups": groups, "after": touched}))
"""


def test_a_start_never_writes_outside_its_subtree_nor_where_it_would_wait(subtree: Subtree) -> None:
    # our own top is there and hands its controllers down, as after any first start
    subtree.create(name="warm").remove()
    command = [sys.executable, "-c", START, f"{subtree.parent}/a", json.dumps(subtree.layout.to_dict())]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    seen = json.loads(done.stdout)
    mounts = set(subtree.layout.controllers.values()) | ({subtree.layout.unified} - {""})
    ours = tuple(f"{mount}{subtree.parent}/" for mount in mounts)
    for path in seen["made"] + seen["joined"] + seen["after"]:
        assert path.startswith(ours), path
    # every write to a cgroup.procs costs an RCU grace period
    assert not [path for path in seen["joined"] if os.path.basename(path) != "tasks"]
    spared = {"cpuset", "name=systemd"} | ({"cpuacct", "freezer"} if subtree.layout.mode == "hybrid" else set())
    joined = {}
    for line in seen["groups"].splitlines():
        hierarchy, controllers, path = line.split(":", 2)
        joined["unified" if hierarchy == "0" else controllers] = path
    for hierarchy in subtree.manager().paths():
        assert joined[hierarchy] == f"{subtree.parent}/a" or hierarchy in spared, hierarchy
