"""What is counted is what was done: loads of a known size, and the numbers that must come out."""

from __future__ import annotations

import shutil
import socket
import threading
from pathlib import Path

import pytest

from pyctr.core import containers
from pyctr.core.cgroupstats import Sample, Sampler, rates
from pyctr.core.containers import Container
from pyctr.core.engine import Engine
from tests.support.host import Host

MiB = 1 << 20


def sample(host: Host, name: str) -> tuple[Container, Sample]:
    container = containers.find(Engine(host.paths), name)
    sampler = Sampler(container.engine.layout)
    try:
        return container, sampler.sample(container.state.group, container.pid, fresh=True)
    finally:
        sampler.close()


def test_a_hundred_megabytes_are_a_hundred_megabytes(host: Host) -> None:
    host.run("run", "-d", "--name", "mem", "--network", "none", "--shm-size", "200m", "base", "sleep", "1000")
    _, before = sample(host, "mem")
    host.run("exec", "mem", "sh", "-c", "head -c 104857600 /dev/zero >/dev/shm/x")
    _, after = sample(host, "mem")
    assert before.memory_working_set is not None and after.memory_working_set is not None
    assert after.memory_working_set - before.memory_working_set == pytest.approx(100 * MiB, rel=0.03)


def test_fifty_megabytes_to_a_disk_are_counted_as_written(host: Host) -> None:
    where = Path(host.base, "io")
    where.mkdir()
    host.run("run", "-d", "--name", "io", "--network", "none", "-v", f"{where}:/io", "base", "sleep", "1000")
    container, before = sample(host, "io")
    if before.io is None:
        pytest.skip("this host counts no block I/O of cgroups")
    device = where.stat().st_dev
    for _ in range(3):
        host.run("exec", "io", "dd", "if=/dev/zero", "of=/io/f", "bs=1M", "count=50", "conv=fsync")
        _, after = sample(host, "io")
        if after.io_write_bytes == before.io_write_bytes:
            pytest.skip(f"device {device:#x} below the tests is no disk (tmpfs, overlay)")
        written = (after.io_write_bytes or 0) - (before.io_write_bytes or 0)
        if written == pytest.approx(50 * MiB, rel=0.03):
            break
        before = after  # with v1 pages that somebody else's sync writes are not the container's
    assert written == pytest.approx(50 * MiB, rel=0.03)
    assert container.pid


def test_bytes_over_the_veth_are_counted_once_and_in_the_containers_direction(host: Host) -> None:
    if shutil.which("busybox") is None:
        pytest.skip("the base image has its nc from the host's busybox")
    host.run("run", "-d", "--name", "net", "base", "sleep", "1000")
    container, before = sample(host, "net")
    got = []
    with socket.create_server((str(container.state.network["gateway"]), 0)) as server:

        def take() -> None:
            connection, _ = server.accept()
            with connection:
                while data := connection.recv(1 << 20):
                    got.append(len(data))

        taker = threading.Thread(target=take, daemon=True)
        taker.start()
        gateway, port = server.getsockname()
        host.run("exec", "net", "sh", "-c", f"head -c {20 * MiB} /dev/zero | nc {gateway} {port}")
        taker.join(30)
    assert sum(got) == 20 * MiB
    _, after = sample(host, "net")
    assert before.net is not None and after.net is not None
    sent = after.net["eth0"][1] - before.net["eth0"][1]
    received = after.net["eth0"][0] - before.net["eth0"][0]
    # headers of packets as large as segmentation offload makes them
    assert 20 * MiB < sent < 20 * MiB * 1.06
    assert received < sent / 10, "only acknowledgements came back"


def test_a_quota_of_half_a_core_is_half_a_core(host: Host) -> None:
    host.run(
        "run", "-d", "--name", "half", "--network", "none", "--cpus", "0.5", "base", "sh", "-c", "while :; do :; done"
    )
    container = containers.find(Engine(host.paths), "half")
    sampler = Sampler(container.engine.layout)
    before = sampler.sample(container.state.group, container.pid, fresh=True)
    # so long that a period more or less is within the tolerance
    host.run("exec", "half", "sleep", "4")
    after = sampler.sample(container.state.group, container.pid, fresh=True)
    rate = rates(before, after)
    assert rate.cpu_percent is not None
    # a busy host may give it less, nothing may give it more
    assert rate.cpu_percent < 54
    assert after.cpu_throttled is not None and before.cpu_throttled is not None
    if after.cpu_throttled - before.cpu_throttled > 30:
        assert rate.cpu_percent > 40
