"""What somebody who knows `docker run` by heart relies on, and what no other test has as its subject."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.host import Host


def test_who_shares_a_network_has_the_host_name_of_its_owner(host: Host) -> None:
    host.run("run", "-d", "--name", "owner", "--hostname", "box", "base", "sleep", "1000")
    script = "hostname; cat /etc/hostname; echo $HOSTNAME"
    host.run("run", "-d", "--name", "middle", "--network", "container:owner", "base", "sleep", "1000")
    for network in ("owner", "middle"):
        said = host.run("run", "--rm", "--network", f"container:{network}", "base", "sh", "-c", script).stdout
        assert said.split() == ["box"] * 3


@pytest.mark.parametrize(
    ("flags", "below"),
    [
        (("-v", "{}:/h:ro"), "read-only"),
        (("--mount", "type=bind,source={},target=/h,ro,bind-recursive=writable"), "writable"),
        (("--mount", "type=bind,source={},target=/h,bind-recursive=disabled"), "hidden"),
    ],
    ids=("ro", "writable", "disabled"),
)
def test_what_a_read_only_bind_says_of_mounts_below_it(
    host: Host, tmp_path: Path, flags: tuple[str, str], below: str
) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "inner", inner], check=True)
    try:
        (inner / "there").touch()
        script = "test -e /h/inner/there || { echo hidden; exit; }; touch /h/inner/x && echo writable || echo read-only"
        flag, value = flags
        done = host.run("run", "--rm", "--network", "none", flag, value.format(tmp_path), "base", "sh", "-c", script)
        assert done.stdout == f"{below}\n"
    finally:
        subprocess.run(["umount", inner], check=True)


def test_ancestors_are_found_by_every_name_and_through_what_was_made_on_top(bare_host: Host) -> None:
    first = bare_host.run("create", "--name", "first", "base").stdout.strip()
    bare_host.run("commit", "first", "mine:1")
    second = bare_host.run("create", "mine:1").stdout.strip()
    for name in ("base", "localhost/base", "localhost/base:latest"):
        assert set(bare_host.run("ps", "-aq", "--no-trunc", "-f", f"ancestor={name}").stdout.split()) == {first, second}
    assert bare_host.run("ps", "-aq", "--no-trunc", "-f", "ancestor=mine:1").stdout.split() == [second]
    assert bare_host.run("ps", "-aq", "-f", "ancestor=nosuch").stdout == ""


def test_the_birth_certificate_tells_what_comes_after_the_filter(host: Host) -> None:
    done = host.run("run", "--rm", "--trace", "--network", "none", "base", "echo", "hello")
    steps = {line[7:24].strip(): line for line in done.stderr.splitlines()[1:]}
    assert "seccomp" in steps["privileges"]
    assert "echo hello" in steps["exec"]


def test_a_port_that_can_never_be_published_is_refused_before_anything_is_made(host: Host) -> None:
    done = host.run("run", "-d", "-p", "[::1]:8080:80/sctp", "base", "sleep", "1000", check=False)
    assert done.returncode == 125
    assert "an SCTP port cannot be published on '::1'" in done.stderr and "hint: use 127.0.0.1" in done.stderr
    assert host.run("ps", "-aq").stdout == ""


def test_a_limit_below_what_the_kernel_counts_is_refused_before_anything_is_made(host: Host) -> None:
    cpus = os.cpu_count() or 1
    for flags in (("--cpu-quota", "999"), ("--cpuset-cpus", f"0-{cpus + 7}")):
        done = host.run("run", "-d", *flags, "base", "sleep", "1000", check=False)
        assert done.returncode == 125
        assert flags[0] in done.stderr
    assert host.run("ps", "-aq").stdout == ""
