"""A launcher makes starts cheap and nothing else different."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core.linux import procfs
from pyctr.core.runtime import launch, launcher
from tests.support.bundle import Bundle, gone
from tests.support.host import Host


@pytest.fixture
def bundle(bare_host: Host) -> Iterator[Bundle]:
    yield Bundle(bare_host)
    left = bare_host.census()
    assert not left, f"left behind: {left}"


def launchers(bundle: Bundle) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                mine = bundle.host.base.encode() in (entry / "cmdline").read_bytes()
                if mine and (entry / "comm").read_text() == "pyctr-launcher\n":
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def test_the_second_shim_is_a_fork_of_the_launcher(bundle: Bundle) -> None:
    bundle.run("true")
    (one,) = launchers(bundle)
    launched = bundle.start(bundle.config("sleep", "100"), attach=True)
    assert procfs.stat(launched.shim_pid).ppid == one
    assert procfs.stat(launched.shim_pid).session == launched.shim_pid
    bundle.kill(launched)
    assert launchers(bundle) == [one]
    launcher.dismiss(bundle.host.paths.run)
    gone(one)
    assert bundle.run("true").code == 0


def test_a_killed_launcher_costs_nothing(bundle: Bundle) -> None:
    bundle.run("true")
    for pid in launchers(bundle):
        os.kill(pid, signal.SIGKILL)
        gone(pid)
    assert bundle.run("true").code == 0
    assert len(launchers(bundle)) == 1


def test_a_container_outlives_its_launcher(bundle: Bundle) -> None:
    bundle.run("true")
    launched = bundle.start(bundle.config("sleep", "100"), attach=True)
    for pid in launchers(bundle):
        os.kill(pid, signal.SIGKILL)
        gone(pid)
    assert bundle.execute("echo", "alive")[1] == "alive\n"
    assert bundle.kill(launched).code == 137


def test_another_limit_takes_another_launcher(bundle: Bundle) -> None:
    """What a container inherits is its own starter's, not somebody else's."""
    bundle.run("true")
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (4096, hard))
    try:
        assert bundle.shell("ulimit -c").out == "8\n"
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    assert bundle.shell("ulimit -c").out != "8\n"


def test_a_spawn_that_is_not_needed_leaves_no_process(bundle: Bundle) -> None:
    for _ in range(2):
        spawn = launch.prespawn(bundle.host.paths)
        spawn.cancel()
    bundle.run("true")
