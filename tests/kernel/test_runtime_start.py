"""A container's first process, seen from inside and from outside."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pyctr.core import errors
from pyctr.core.linux import procfs, seccomp
from pyctr.core.runtime import defaults
from tests.support.bundle import Bundle
from tests.support.host import Host

NAMESPACES = {"pid": "pid", "net": "network", "mnt": "mount", "uts": "uts", "ipc": "ipc", "cgroup": "cgroup"}


@pytest.fixture
def bundle(bare_host: Host) -> Iterator[Bundle]:
    yield Bundle(bare_host)
    left = bare_host.census()
    assert not left, f"left behind: {left}"


def test_output_exit_code_and_log(bundle: Bundle) -> None:
    result = bundle.shell("echo out; echo err >&2; exit 3")
    assert (result.code, result.out, result.err) == (3, "out\n", "err\n")
    assert sorted(bundle.log()) == ["stderr F err", "stdout F out"]
    record = bundle.record()
    assert record["exit"]["code"] == 3
    assert record["process"]["pid"] == result.launched.pid


def test_every_step_is_traced_in_order(bundle: Bundle) -> None:
    result = bundle.run("true")
    assert [step for step, *_ in result.launched.trace] == [
        "cgroup + limits",
        "namespaces",
        "network",
        "root filesystem",
        "privileges",
        "exec",
    ]
    assert all(at >= 0 and took >= 0 for _, _, at, took in result.launched.trace)


@pytest.mark.parametrize("name", NAMESPACES)
def test_each_namespace_is_the_containers_own(bundle: Bundle, name: str) -> None:
    launched = bundle.start(bundle.config("sh", "-c", f"readlink /proc/1/ns/{name}; sleep 100"), attach=True)
    bundle.hear(launched, "]")
    outside = os.readlink(f"/proc/{launched.pid}/ns/{name}")
    assert outside != os.readlink(f"/proc/self/ns/{name}")
    assert bundle.kill(launched).out.strip() == outside


@pytest.mark.parametrize("name", NAMESPACES)
def test_a_namespace_left_out_is_shared_with_the_host(bundle: Bundle, name: str) -> None:
    if name == "mnt":
        with pytest.raises(errors.UsageError):
            bundle.start(bundle.config("true", namespaces=[]))
        return
    kinds = [{"type": kind} for kind in defaults.NAMESPACES if kind != NAMESPACES[name]]
    changes = {"hostname": ""} if name == "uts" else {}
    config = bundle.config("sh", "-c", "sleep 100", namespaces=kinds, **changes)
    launched = bundle.start(config, attach=True)
    assert os.readlink(f"/proc/{launched.pid}/ns/{name}") == os.readlink(f"/proc/self/ns/{name}")
    bundle.kill(launched)


def test_privileges_are_the_default_set_and_no_more(bundle: Bundle) -> None:
    program = seccomp.compiled(seccomp.DEFAULT, frozenset(defaults.CAPABILITIES), bundle.host.paths.cache)
    launched = bundle.start(bundle.config("sleep", "100"), attach=True, seccomp=program)
    status = procfs.status(launched.pid)
    bundle.kill(launched)
    assert {key: int(status[key], 16) for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {
        "CapInh": 0,
        "CapPrm": 0xA80425FB,
        "CapEff": 0xA80425FB,
        "CapBnd": 0xA80425FB,
        "CapAmb": 0,
    }
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    # 32 and 33 belong to the C library, which sets them itself
    assert int(status["SigIgn"], 16) & ~(0b11 << 31) == 0
    assert int(status["SigBlk"], 16) == 0


def test_a_user_keeps_nothing_that_only_root_has(bundle: Bundle) -> None:
    user = {"uid": 1000, "gid": 1001, "additionalGids": [50], "umask": 0o027}
    launched = bundle.start(bundle.config("sleep", "100", user=user), attach=True)
    status = procfs.status(launched.pid)
    bundle.kill(launched)
    assert status["Uid"].split() == ["1000"] * 4
    assert status["Gid"].split() == ["1001"] * 4
    assert status["Groups"] == "50"
    assert status["Umask"] == "0027"
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapInh"], 16) == 0
    assert int(status["CapBnd"], 16) == 0xA80425FB


def test_a_user_by_name_is_looked_up_inside(bundle: Bundle) -> None:
    result = bundle.shell("id; echo $HOME", user={"username": "sam"})
    assert result.out == "uid=1000(sam) gid=1001(sam) groups=50(staff)\n/home/sam\n"
    with pytest.raises(errors.RuntimeFailure, match="no user 'nobody-here'"):
        bundle.run("true", user={"username": "nobody-here"})


def test_nothing_of_ours_is_open_inside(bundle: Bundle) -> None:
    result = bundle.shell("ls /proc/1/fd; ls /proc/self/fd")
    # the 3 of the second list is the directory that ls reads
    assert result.out.split() == ["0", "1", "2", "0", "1", "2", "3"]


def test_nothing_of_the_host_is_mounted_inside(bundle: Bundle) -> None:
    result = bundle.shell("cat /proc/self/mountinfo; readlink /proc/1/root; readlink /proc/1/cwd; cat /proc/1/environ")
    assert bundle.host.base not in result.out.replace(f"{bundle.rootfs} / ", "")
    assert [line for line in result.out.splitlines() if line.startswith("/")] == ["/", "/"]
    variables = result.out.splitlines()[-1].strip("\0").split("\0")
    assert {word.split("=")[0] for word in variables} - {"SHLVL", "PWD"} == {"PATH", "HOME"}


def test_masked_and_read_only_paths(bundle: Bundle) -> None:
    result = bundle.shell(
        "cat /proc/keys /proc/timer_list | head -c 100; ls /proc/acpi /sys/firmware 2>/dev/null | grep -v :;"
        "echo 1 > /proc/sys/kernel/panic && echo WROTE; echo x > /proc/sysrq-trigger && echo WROTE;"
        "touch /sys/x && echo WROTE; mkdir /sys/firmware/x && echo WROTE; echo done"
    )
    assert result.out.split() == ["done"]


def test_a_read_only_root_takes_no_file_but_its_tmpfs_does(bundle: Bundle) -> None:
    result = bundle.shell(
        "touch /x 2>/dev/null || echo refused; touch /dev/shm/y && echo fine", root={"path": "rootfs", "readonly": True}
    )
    assert result.out.split() == ["refused", "fine"]
    assert not (bundle.rootfs / "x").exists()


def test_devices_are_the_default_ones_and_work(bundle: Bundle) -> None:
    result = bundle.shell(
        "ls /dev; head -c 4 /dev/zero | wc -c 2>/dev/null; echo x > /dev/null; readlink /dev/ptmx; readlink /dev/fd"
    )
    names = set(result.out.split())
    assert {"null", "zero", "full", "random", "urandom", "tty", "pts", "shm", "mqueue", "fd", "stdin"} <= names
    assert {"pts/ptmx", "/proc/self/fd"} <= names
    assert "console" not in names


def test_hostname_sysctl_rlimits_and_oom_score(bundle: Bundle) -> None:
    before = procfs.open_verified("sys/net/ipv4/ip_default_ttl")
    ttl = os.read(before, 10)
    os.close(before)
    result = bundle.shell(
        "hostname; cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/msgmax; ulimit -n;"
        "cat /proc/self/oom_score_adj",
        sysctl={"net.ipv4.ip_default_ttl": "77", "kernel.msgmax": "4242"},
        rlimits=[{"type": "RLIMIT_NOFILE", "soft": 123, "hard": 456}],
        oomScoreAdj=321,
    )
    assert result.out.split() == ["inside", "77", "4242", "123", "321"]
    after = procfs.open_verified("sys/net/ipv4/ip_default_ttl")
    assert os.read(after, 10) == ttl
    os.close(after)


def test_the_working_directory_is_made_and_entered(bundle: Bundle) -> None:
    assert bundle.shell("pwd", cwd="/srv/app").out == "/srv/app\n"
    (bundle.rootfs / "etc/file").write_text("")
    with pytest.raises(errors.RuntimeFailure, match="working directory '/etc/file'"):
        bundle.run("true", cwd="/etc/file")


def test_bind_mounts_and_tmpfs(bundle: Bundle) -> None:
    source = bundle.path / "data"
    source.mkdir()
    (source / "f").write_text("content")
    mounts = [
        *bundle.config("x")["mounts"],
        {"destination": "/rw", "type": "bind", "source": str(source), "options": ["rbind", "rprivate"]},
        {"destination": "/ro", "type": "bind", "source": str(source), "options": ["rbind", "ro", "nosuid"]},
        {"destination": "/etc/one", "type": "bind", "source": str(source / "f"), "options": ["bind", "ro"]},
        {
            "destination": "/t",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "noexec", "size=1m", "mode=700"],
        },
    ]
    result = bundle.shell(
        "cat /ro/f /etc/one; touch /rw/new; touch /ro/x 2>/dev/null || echo ro;"
        "cp /bin/busybox /t/b 2>/dev/null || echo full; stat -c %a /t; grep ' /t ' /proc/mounts",
        mounts=mounts,
    )
    assert result.out.startswith("contentcontentro\nfull\n700\n")
    assert "nosuid" in result.out and "noexec" in result.out and "size=1024k" in result.out
    assert (source / "new").exists()
    assert not (source / "x").exists()


def test_stdin_reaches_the_process_and_ends(bundle: Bundle) -> None:
    content = os.urandom(300_000).hex().encode()
    result = bundle.run("cat", input=content)
    assert result.out.encode() == content


def test_without_stdin_it_is_empty(bundle: Bundle) -> None:
    assert bundle.run("cat").out == ""


def test_a_flood_of_output_arrives_whole(bundle: Bundle) -> None:
    result = bundle.shell("dd if=/dev/zero bs=1000 count=5000 2>/dev/null")
    assert len(result.out) == 5_000_000
    logged = sum(file.stat().st_size for file in (bundle.path / "log").iterdir())
    assert logged < 3 << 20, "the log rotates"


@pytest.mark.parametrize(
    ("args", "kind", "words"),
    [
        (["nothing-here"], errors.CommandNotFound, "not found in \\$PATH"),
        (["/bin/nothing"], errors.CommandNotFound, "no such file"),
        (["/etc/passwd"], errors.CannotInvoke, "permission denied"),
        (["/etc"], errors.CannotInvoke, "is a directory"),
        (["/etc/script"], errors.CommandNotFound, "no such file"),
        (["/etc/garbage"], errors.CannotInvoke, "exec format error"),
    ],
)
def test_what_cannot_be_executed(bundle: Bundle, args: list[str], kind: type[errors.PyctrError], words: str) -> None:
    (bundle.rootfs / "etc/script").write_text("#!/no/such/interpreter\n")
    (bundle.rootfs / "etc/garbage").write_bytes(b"\x7fELF garbage")
    for name in ("script", "garbage"):
        (bundle.rootfs / "etc" / name).chmod(0o755)
    with pytest.raises(kind, match=words):
        bundle.run(*args)
    assert bundle.record().get("process") is None


def test_death_by_a_signal_is_128_and_the_number(bundle: Bundle) -> None:
    launched = bundle.start(bundle.config("sleep", "100"), attach=True)
    result = bundle.kill(launched)
    assert (result.code, result.exit["signal"]) == (137, 9)
    assert bundle.record()["exit"]["signal"] == 9


def test_the_cgroup_is_entered_limited_and_hidden(bundle: Bundle) -> None:
    launched = bundle.start(
        bundle.config("sh", "-c", "cat /proc/self/cgroup; sleep 100", resources={"pids": {"limit": 7}}), attach=True
    )
    bundle.hear(launched, "0::/")
    with open(f"/proc/{launched.pid}/cgroup") as file:
        outside = [line.split(":", 2)[2] for line in file.read().splitlines()]
    assert bundle.group in outside and set(outside) <= {bundle.group, "/"}
    from pyctr.core.runtime.ops_cgroup import manager

    limits = manager(bundle.group, "/sys/fs/cgroup")
    with open(f"{limits.directory('pids')}/pids.max") as file:
        assert file.read().strip() == "7"
    inside = [line.split(":", 2)[2] for line in bundle.kill(launched).out.splitlines()]
    assert set(inside) == {"/"}


def test_an_out_of_memory_kill_is_told_from_any_other(bundle: Bundle) -> None:
    limit = {"memory": {"limit": 16 << 20, "swap": 16 << 20}}
    result = bundle.shell("exec tail -c 200m /dev/zero", resources=limit)
    assert result.code == 137
    assert result.exit["oom_killed"] is True
    from pyctr.core.events import Events

    assert [event.action for event in Events(bundle.host.paths).read()] == ["start", "oom", "die"]
