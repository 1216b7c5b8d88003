"""The one process beside all shims: there is one, it is alone, and what goes wrong in it does not go wrong for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pyctr.core import repair
from pyctr.core.engine import Engine
from pyctr.core.linux import procfs
from pyctr.core.runtime import launcher
from pyctr.core.runtime import steward as work
from tests.kernel.test_history import dozes, eventually, find, recorded, steward
from tests.support.bundle import gone
from tests.support.host import REPOSITORY, Host
from tests.support.processes import named

PRELUDE = """
import os, sys, time
from pyctr.core.linux import inotify, process
from pyctr.core.paths import Paths
from pyctr.core.runtime import steward
from pyctr.core.runtime.children import Children
from pyctr.core.runtime.loop import Loop

paths = Paths(root=sys.argv[1] + "/r", run=sys.argv[1] + "/v", bridge="ptnone0", cgroup_parent="ptnone0")
for name in ("r/containers", "v/containers/one", "v/networks/ids"):
    os.makedirs(f"{sys.argv[1]}/{name}", exist_ok=True)
loop, children = Loop(), Children()
children.watch(loop)
"""


def rehearsed(host: Host, script: str) -> None:
    """In a process of its own, with roots on which nobody is."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script, f"{host.base}/alone"],
        cwd=REPOSITORY,
        env=host.env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_a_part_of_it_that_fails_is_tried_again_and_leaves_the_others_alone(host: Host) -> None:
    """As while an upgrade is being written."""
    rehearsed(
        host,
        """
os.mkdir(f"{paths.run}/networks/ids/one")
for name in ("flight", "ruleguard"):
    sys.modules[f"pyctr.core.runtime.{name}"] = None
one = steward.Steward(loop, children, paths)
assert (one._flight, one._rules) == (None, None)
del sys.modules["pyctr.core.runtime.flight"]
one._look()
assert one._flight and not one._rules
del sys.modules["pyctr.core.runtime.ruleguard"]
one._look()
assert one._rules
one.close()
""",
    )


def test_it_leaves_nothing_open_when_it_ends_and_begins_again(host: Host) -> None:
    rehearsed(
        host,
        """
os.mkdir(f"{paths.run}/networks/ids/one")
loop.turn(0)
def held():
    return len(os.listdir("/proc/self/fd"))
steward.Steward(loop, children, paths).close()
before = held()
for _ in range(3):
    one = steward.Steward(loop, children, paths)
    assert one._rules and one._flight and held() > before
    one.close()
assert held() == before, (held(), before)
""",
    )


def test_a_guard_that_has_gone_does_not_look_again(host: Host) -> None:
    rehearsed(
        host,
        """
from pyctr.core.runtime import ruleguard
guard = ruleguard.RuleGuard(loop, children, paths)
while not guard._child:
    loop.turn()
guard._soon()  # while it looks
looked = guard._last
guard.close()
deadline = time.monotonic() + 2
while time.monotonic() < deadline:
    loop.turn(deadline)
assert guard._last == looked and not children and not loop._alarms
""",
    )


def test_an_heir_that_could_not_be_had_is_had_later(host: Host) -> None:
    rehearsed(
        host,
        """
steward._LATER = 0.0
become, steward._become = steward._become, lambda *_: None  # no memory, no descriptors
one = steward.Steward(loop, children, paths)
heir = one._heir
while heir in children:
    loop.turn()
steward._become = become
one._look()
assert one._heir != heir and one._heir in children
one.close()
""",
    )


@pytest.mark.parametrize("adopts", [False, True])
def test_who_makes_it_adopts_orphans_afterwards_if_he_did_before(host: Host, adopts: bool) -> None:
    rehearsed(
        host,
        f"""
import ctypes
if {adopts}:
    process.subreaper()
steward.hire(lambda: None)
known = ctypes.c_int()
ctypes.CDLL(None).prctl(37, ctypes.byref(known), 0, 0, 0)  # PR_GET_CHILD_SUBREAPER
assert known.value == {adopts}
""",
    )


def test_one_that_ends_at_once_is_not_followed_at_once(host: Host) -> None:
    host.run("run", "-d", "--name", "first", "--network", "none", "base", "sleep", "1000")
    began = []
    for _ in range(2):
        killed = eventually(lambda: (found := steward(host)) and procfs.children(found) and found)
        began.append(os.stat(f"{host.paths.run}/steward").st_mtime)
        os.kill(killed, signal.SIGKILL)
        gone(killed)
    recorded(find(host, "first"))
    assert began[1] - began[0] > work._TENURE - 0.5, "as many as a processor can start"


def test_a_container_that_ends_and_starts_again_at_once_keeps_what_it_owes(host: Host) -> None:
    """Its shim was told to make one, and that nobody else would."""
    host.run("run", "-d", "--restart", "on-failure:1", "--network", "none", "base", "false")
    host.run("run", "-d", "--name", "second", "--network", "none", "base", "sleep", "1000")
    recorded(find(host, "second"))


def test_containers_that_were_killed_with_their_shims_are_settled_and_it_ends(host: Host) -> None:
    ids = [
        host.run("run", "-d", *words, "--network", "none", "base", "sleep", "1000").stdout.strip()
        for words in (("--name", "kept"), ("--name", "thrown", "--rm"))
    ]
    host.run("run", "-d", "--name", "first", "--network", "none", "base", "sleep", "1000")
    recorded(find(host, "first"))
    for name in ("kept", "thrown"):
        process = find(host, name).state.process
        assert process is not None
        for pid in (process.shim_pid, process.pid):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: not any(os.path.exists(host.paths.runtime(id)) for id in ids))
    # on record only when all of it is done
    kept = eventually(lambda: find(host, "kept").state.exit)
    assert (kept.code, kept.lost) == (255, True)
    left = [find(host, name).id for name in ("first", "kept")]
    eventually(lambda: host.run("ps", "-aq", "--no-trunc").stdout.split() == left)
    only = steward(host)
    host.run("rm", "-f", "first")
    gone(only)


def test_what_a_shim_leaves_that_is_killed_after_it_has_said_the_end_goes(host: Host) -> None:
    host.run("run", "-d", "--name", "short", "--network", "none", "base", "true")
    short = find(host, "short")
    assert host.run("wait", "short").stdout == "0\n"
    eventually(lambda: not short.reload().shim_alive)
    os.makedirs(host.paths.runtime(short.id))
    assert repair.finish(Engine(host.paths), short.id) and not os.path.exists(host.paths.runtime(short.id))
    assert not repair.finish(Engine(host.paths), short.id)


def groups(pid: int) -> list[str]:
    """Of a process, in each hierarchy."""
    return [line.split(":", 2)[2] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]


def removed(directory: str) -> bool:
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError:
        return False  # who has ended is in it until he is reaped (v1)
    return True


def test_it_is_not_in_the_groups_of_who_was_first(host: Host) -> None:
    """A unit of systemd's that is stopped, or a limit, would be everybody's."""
    layout, parent = Engine(host.paths).layout, host.paths.cgroup_parent
    shell = f"/{parent}-shell"
    own = [top + shell for top in {layout.unified, *map(layout.controllers.get, ("memory", "pids"))} if top]
    for directory in own:
        os.mkdir(directory)
    try:
        join = "".join(f"echo 0 > {directory}/cgroup.procs; " for directory in own)
        words = host.command("run", "-d", "--name", "first", "--network", "none", "base", "sleep", "1000")
        subprocess.run(
            ["sh", "-ec", f'{join} exec "$@"', "sh", *words], env=host.env, check=True, stdout=subprocess.DEVNULL
        )
        first = find(host, "first")
        recorded(first)
        only = steward(host)
        heir = eventually(lambda: [pid for pid in named(host, "pyctr-steward") if pid != only and dozes(pid)])[0]
        process = first.state.process
        assert process is not None and groups(process.shim_pid).count(shell) == len(own), "who started it ends it"
        for pid in (only, heir):
            assert shell not in groups(pid) and f"/{parent}" in {group[: len(parent) + 1] for group in groups(pid)}
        os.kill(only, signal.SIGKILL)
        recorded(first)
        host.run("rm", "-f", "first")
        gone(heir)
        assert host.groups() == []
    finally:
        host.run("rm", "-f", *host.run("ps", "-aq").stdout.split(), check=False)
        launcher.dismiss(host.paths.run)
        eventually(lambda: all(map(removed, own)))


def network(pid: int | str) -> int:
    return os.stat(f"/proc/{pid}/ns/net").st_ino


def test_the_firewall_is_watched_where_the_networks_are_whoever_was_first(host: Host) -> None:
    words = ["run", "-d", "--name", "first", "--network", "none", "base", "sleep", "1000"]
    subprocess.run(["unshare", "-n", *host.command(*words)], env=host.env, check=True, stdout=subprocess.DEVNULL)
    only = eventually(lambda: steward(host))
    assert network(only) != network("self")
    host.run("run", "-d", "--name", "second", "base", "sleep", "1000")
    eventually(lambda: network(only) == network("self"))
    subprocess.run(["nft", "delete", "table", "ip", host.paths.bridge], check=True)
    eventually(
        lambda: "repair" in host.run("events", "--since", "-1m", "--until", "0s", "--format", "{{.Action}}").stdout
    )
