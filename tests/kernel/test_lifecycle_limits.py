"""Limits are the kernel's to enforce and ours to report."""

from __future__ import annotations

from pyctr.core import lifecycle
from pyctr.core.cgroupstats import Sampler, rates
from pyctr.core.spec import Limits
from tests.support.host import Host

from .lifecycle_help import eventually, finished, log, running


def test_pids_limit_stops_a_fork_bomb(host: Host) -> None:
    script = "n=0; while [ $n -lt 200 ]; do sleep 600 & n=$((n+1)); done; echo made $n"
    container = running(host, script, limits=Limits(pids=20))
    group = container.engine.group(container.state.group)
    eventually(lambda: len(group.pids()) >= 20 or not container.reload().running)
    assert len(group.pids()) <= 20


def test_a_memory_hog_is_killed_and_reported_so(host: Host) -> None:
    script = "x=0123456789abcdef; while :; do x=$x$x; done"
    container = finished(host, script, limits=Limits(memory=24 << 20, memory_swap=24 << 20))
    assert container.state.exit.oom_killed and container.state.exit.code == 137
    assert "oom" in [event.action for event in container.engine.events.read()]


def test_a_plain_sigkill_is_not_reported_as_oom(host: Host) -> None:
    container = running(host, limits=Limits(memory=64 << 20))
    lifecycle.kill(container.engine, container)
    assert not container.reload().state.exit.oom_killed


def test_a_spinner_is_throttled_to_its_quota(host: Host) -> None:
    container = running(host, "while :; do :; done", limits=Limits(cpus=0.2))
    sampler = Sampler(container.engine.layout)
    first = sampler.sample(container.state.group, container.pid)
    eventually(
        lambda: (
            (sampler.sample(container.state.group, container.pid).cpu_throttled or 0) > (first.cpu_throttled or 0) + 5
        )
    )
    found = rates(first, sampler.sample(container.state.group, container.pid))
    sampler.close()
    assert found.throttled_percent is not None and found.throttled_percent > 30
    assert found.cpu_percent is not None and found.cpu_percent < 40


def test_ulimits_and_a_read_only_root(host: Host) -> None:
    container = finished(
        host, "ulimit -n; touch /x || echo read-only", ulimits={"nofile": [77, 88]}, readonly_rootfs=True
    )
    assert log(container).split()[0] == b"77" and b"read-only\n" in log(container)
