"""What makes no sense is refused in one line with a hint, and nothing of it stays behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.host import Host

RUN = (
    ("--memory", "1k"),
    ("--memory", "99999999999999999999"),
    ("--cpus", "100000"),
    ("--cpuset-cpus", "4095"),
    ("--network-alias", "two\nlines"),
    ("--network", "n" * 300),
    ("--network", "nosuchnet"),
    ("--network", "container:nosuch"),
    ("--ip", "1.2.3.4"),
    ("--domainname", "d" * 65),
    ("--user", "²"),
    ("--user", "99999999999"),
    ("--group-add", "nosuchgroup"),
    ("--workdir", "relative"),
    ("--workdir", "/etc/passwd"),
    ("--stop-signal", "²"),
    ("--device", "/"),
    ("--device", "/dev/nosuch"),
    ("--device-read-bps", "/dev/null:1m"),
    ("--sysctl", "kernel.hostname.nosuch=1"),
    ("--sysctl", "vm.swappiness=1"),
    ("--ulimit", "nofile=99999999999999999999999"),
    ("--cap-add", "EVERYTHING"),
    ("--security-opt", "seccomp=/nosuch"),
    ("--env-file", "/nosuch"),
    ("--expose", "http"),
    ("-v", "/nosuch-on-this-host/x:/x:rslave"),
    ("-p", "1-65535:1-65534"),
)


@pytest.mark.parametrize(("flag", "value"), RUN, ids=lambda text: repr(text)[1:24])
def test_a_bad_flag_of_run_leaves_nothing(host: Host, flag: str, value: str) -> None:
    done = host.run("run", "--rm", flag, value, "base", "true", check=False)
    assert done.returncode != 0
    lines = done.stderr.splitlines()
    assert len(lines) == 2, done.stderr
    assert lines[0].startswith("pyctr: ") and "defect" not in lines[0]
    assert lines[1].startswith("  hint: ")
    assert host.run("ps", "-aq").stdout == ""
    assert host.census() == {}


def test_a_bad_name_in_the_book_of_a_network_keeps_nobody_from_starting(host: Host) -> None:
    host.run("run", "-d", "--name", "web", "base", "sleep", "1000")
    book = Path(host.paths.run, "networks", "bridge.names")
    book.write_text(book.read_text() + "torn\n\nby hand\n")
    # others still find each other
    said = host.run("run", "--rm", "--name", "other", "base", "cat", "/etc/hosts").stdout
    assert "\tweb" in said or " web" in said
    host.run("rm", "-f", "web")
    assert "web" not in book.read_text()


def test_another_bridge_than_that_of_the_root_is_refused(host: Host) -> None:
    host.run("run", "--rm", "base", "true")
    done = host.run("--bridge", "ptother0", "run", "--rm", "base", "true", check=False)
    assert done.returncode == 125
    assert f"network 'bridge' is on bridge '{host.paths.bridge}', not 'ptother0'" in done.stderr
    assert not Path("/sys/class/net/ptother0").exists()


@pytest.mark.parametrize("limit", [("--cpus", "100000"), ("--memory", "1k"), ("--memory-high", "4096")])
def test_an_impossible_update_changes_nothing(host: Host, limit: tuple[str, str]) -> None:
    host.run("run", "-d", "--name", "web", "--cpus", "0.5", "--memory", "64m", "base", "sleep", "1000")
    before = host.run("inspect", "-f", "{{json .HostConfig}}", "web").stdout
    done = host.run("update", *limit, "web", check=False)
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 2
    assert host.run("inspect", "-f", "{{json .HostConfig}}", "web").stdout == before


def test_the_reason_is_told_however_far_the_host_is_with_its_part(host: Host) -> None:
    """The container's side dies while the host still makes its link: what it said counts, not what broke after it."""
    for _ in range(12):
        done = host.run("run", "--rm", "--mount", "type=bind,src=/nosuch,dst=/x", "base", "true", check=False)
        assert "'/nosuch' does not exist" in done.stderr, done.stderr
    assert host.census() == {}
