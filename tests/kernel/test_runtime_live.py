"""A running container: terminal, exec, attach, signals, restarts, and what happens when somebody is killed."""

from __future__ import annotations

import json
import marshal
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core import errors
from pyctr.core.linux import procfs
from pyctr.core.runtime import sync
from pyctr.core.runtime.launch import Launched
from tests.support.bundle import Bundle, gone
from tests.support.host import REPOSITORY, Host


@pytest.fixture
def bundle(bare_host: Host) -> Iterator[Bundle]:
    yield Bundle(bare_host)
    left = bare_host.census()
    assert not left, f"left behind: {left}"


def test_a_terminal_has_a_size_a_job_control_and_a_console(bundle: Bundle) -> None:
    config = bundle.config(
        "sh", "-c", "tty; stty size; ls -l /dev/console; read x; stty size; echo got $x", terminal=True
    )
    launched = bundle.start(config, attach=True, winsize=[33, 101])
    bundle.hear(launched, "/dev/console\r\n")
    launched.channel.send(sync.winsize(44, 55))
    launched.channel.send(sync.frame(sync.STDIN, b"typed\n"))
    result = bundle.finish(launched)
    assert result.out.startswith("/dev/pts/0\r\n33 101\r\n")
    assert "44 55\r\n" in result.out
    assert result.out.endswith("got typed\r\n")
    assert result.err == ""


def test_ctrl_c_on_a_terminal_is_a_signal_inside(bundle: Bundle) -> None:
    config = bundle.config(
        "sh", "-c", "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.1; done", terminal=True
    )
    launched = bundle.start(config, attach=True)
    bundle.hear(launched, "ready")
    launched.channel.send(sync.frame(sync.STDIN, b"\x03"))
    result = bundle.finish(launched)
    assert (result.code, "caught" in result.out) == (9, True)


def sleeper(bundle: Bundle, **wishes: object) -> Launched:
    return bundle.start(bundle.config("sleep", "1000"), attach=True, **wishes)


def test_exec_runs_beside_the_first_process_in_all_its_namespaces(bundle: Bundle) -> None:
    launched = sleeper(bundle)
    code, out, err = bundle.execute(
        "sh", "-c", "hostname; cat /proc/1/cmdline; echo; cat /proc/self/cgroup; echo e >&2; exit 5"
    )
    assert (code, err) == (5, "e\n")
    lines = out.splitlines()
    assert lines[0] == "inside"
    assert lines[1] == "sleep\x001000\x00"
    assert {line.split(":", 2)[2] for line in lines[2:]} == {"/"}
    connection = bundle.connect()
    pid = connection.execute(["sleep", "77"])["pid"]
    for name in ("pid", "mnt", "net", "uts", "ipc", "cgroup"):
        assert os.readlink(f"/proc/{pid}/ns/{name}") == os.readlink(f"/proc/{launched.pid}/ns/{name}"), name
    status, first = procfs.status(pid), procfs.status(launched.pid)
    for key in ("CapEff", "CapBnd", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp", "Uid"):
        assert status[key] == first[key], key
    connection.close()
    assert os.path.exists(f"/proc/{pid}"), "a client that goes away takes nothing along"
    bundle.kill(launched)
    gone(pid)


@pytest.mark.parametrize(
    ("args", "kind"),
    [(["nope"], errors.CommandNotFound), (["/etc/passwd"], errors.CannotInvoke), (["/etc"], errors.CannotInvoke)],
)
def test_exec_of_what_cannot_be_executed(bundle: Bundle, args: list[str], kind: type[errors.PyctrError]) -> None:
    launched = sleeper(bundle)
    with pytest.raises(kind):
        bundle.execute(*args)
    assert bundle.execute("sh", "-c", "kill -9 $$")[0] == 137
    bundle.kill(launched)


def test_exec_as_another_user_with_environment_and_directory(bundle: Bundle) -> None:
    launched = sleeper(bundle)
    code, out, _ = bundle.execute("sh", "-c", "id -un; pwd; echo $A $HOME", user="sam", env=["A=1"], cwd="/tmp")
    assert (code, out) == (0, "sam\n/tmp\n1 /home/sam\n")
    bundle.kill(launched)


def test_exec_leaks_no_descriptor_and_has_stdin(bundle: Bundle) -> None:
    launched = sleeper(bundle)
    connection = bundle.connect()
    connection.execute(["sh", "-c", "ls /proc/self/fd; cat"], stdin=True)
    connection.input(b"to the process")
    connection.input(b"")
    code, out, _ = connection.result()
    connection.close()
    assert (code, out) == (0, b"0\n1\n2\n3\nto the process")
    bundle.kill(launched)


def test_exec_with_a_terminal_of_its_own(bundle: Bundle) -> None:
    launched = sleeper(bundle)
    code, out, _ = bundle.execute("sh", "-c", "tty; stty size", tty=True, winsize=(12, 34))
    assert (code, out) == (0, "/dev/pts/0\r\n12 34\r\n")
    bundle.kill(launched)


def test_exec_output_never_reaches_the_containers_log(bundle: Bundle) -> None:
    launched = sleeper(bundle)
    bundle.execute("echo", "private")
    bundle.kill(launched)
    assert bundle.log() == []


def test_a_paused_container_refuses_exec(bundle: Bundle) -> None:
    from pyctr.core.runtime.ops_cgroup import manager

    launched = sleeper(bundle)
    group = manager(bundle.group, "/sys/fs/cgroup")
    group.freeze()
    with pytest.raises(errors.IllegalTransition, match="paused"):
        bundle.execute("true")
    group.thaw()
    assert bundle.execute("true")[0] == 0
    bundle.kill(launched)


def test_attach_hears_types_and_leaves_without_harm(bundle: Bundle) -> None:
    script = "echo ready; while read x; do echo got $x; done; exit 4"
    launched = bundle.start(bundle.config("sh", "-c", script), attach=True, open_stdin=True)
    bundle.hear(launched, "ready")
    launched.close()
    first = bundle.connect()
    first.attach()
    first.input(b"one\n")
    assert first.receive() == (sync.STDOUT, b"got one\n")
    second = bundle.connect()
    second.attach()
    first.close()
    second.input(b"two\n")
    assert second.receive() == (sync.STDOUT, b"got two\n")
    second.input(b"")
    kind, payload = second.receive()
    assert (kind, marshal.loads(payload)["code"]) == (sync.EXITED, 4)
    second.close()
    bundle.wait_for_shim(launched)
    assert bundle.log() == ["stdout F ready", "stdout F got one", "stdout F got two"]


def test_a_viewer_that_stopped_reading_holds_nobody_up(bundle: Bundle) -> None:
    script = "read x; dd if=/dev/zero bs=64k count=400 2>/dev/null; exit 6"
    launched = bundle.start(bundle.config("sh", "-c", script), open_stdin=True)
    launched.close()
    viewer = bundle.connect()
    viewer.attach()
    viewer.input(b"go\n")
    gone(launched.pid)
    bundle.wait_for_shim(launched)
    assert bundle.record()["exit"]["code"] == 6
    viewer.close()


def test_another_user_cannot_connect(bundle: Bundle) -> None:
    launched = sleeper(bundle)
    path = f"{bundle.run_directory}/shim.sock"
    code = f"import os, socket; os.setuid(1000); socket.socket(socket.AF_UNIX).connect({path!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "PermissionError" in done.stderr
    bundle.kill(launched)


def test_an_init_of_ours_reaps_and_forwards_and_shows_nothing(bundle: Bundle) -> None:
    script = "trap 'echo term; exit 21' TERM; (sleep 0 & exec sh -c 'sleep 0 & exit 0'); cat /proc/1/comm; "
    script += "ls /proc/1/fd | wc -c; readlink /proc/1/exe; echo ready; while :; do sleep 1000 & wait; done"
    (bundle.rootfs / "bin/wc").symlink_to("busybox")
    launched = bundle.start(bundle.config("sh", "-c", script), attach=True, init=True)
    bundle.hear(launched, "ready")
    deadline = time.monotonic() + 20
    while [pid for pid in procfs.children(launched.pid) if procfs.stat(pid).state == "Z"]:
        assert time.monotonic() < deadline, "a zombie stays"
        os.sched_yield()
    os.kill(launched.pid, signal.SIGTERM)
    result = bundle.finish(launched)
    assert result.code == 21
    assert result.out.splitlines()[1:] == ["0", "/memfd:pyctr-init (deleted)", "ready", "term"]


def test_with_init_a_missing_command_is_still_told(bundle: Bundle) -> None:
    with pytest.raises(errors.CommandNotFound):
        bundle.run("nope", wishes={"init": True})


def test_with_init_death_by_signal_is_a_code(bundle: Bundle) -> None:
    assert bundle.shell("kill -9 $$", noNewPrivileges=True).code == 0, "PID 1 cannot kill itself"
    assert bundle.run("sh", "-c", "kill -9 $$", wishes={"init": True}).code == 137


def test_on_failure_restarts_as_often_as_said(bundle: Bundle) -> None:
    volume = bundle.path / "v"
    volume.mkdir()
    mounts = [
        *bundle.config("x")["mounts"],
        {"destination": "/v", "type": "bind", "source": str(volume), "options": ["bind"]},
    ]
    config = bundle.config("sh", "-c", "echo x >> /v/runs; exit 8", mounts=mounts)
    launched = bundle.start(config, spec={"restart": "on-failure:2"})
    launched.close()
    bundle.wait_for_shim(launched)
    record = bundle.record()
    assert (volume / "runs").read_text() == "x\n" * 3
    assert (record["restarts"], record["exit"]["code"], record["restarting"]) == (2, 8, False)


def test_a_stop_during_the_back_off_is_final(bundle: Bundle) -> None:
    launched = bundle.start(bundle.config("false"), spec={"restart": "always"})
    launched.close()
    connection = bundle.connect()
    connection.stop_restarting()
    connection.close()
    bundle.wait_for_shim(launched)
    record = bundle.record()
    assert record["restarting"] is False
    assert record["exit"]["code"] == 1


def test_the_users_last_word_beats_the_policy(bundle: Bundle) -> None:
    launched = bundle.start(bundle.config("sleep", "1000"), spec={"restart": "always"})
    launched.close()
    record = bundle.record()
    record["desired"] = "stopped"
    bundle.state.write_text(json.dumps(record))
    os.kill(launched.pid, signal.SIGKILL)
    bundle.wait_for_shim(launched)
    assert not bundle.record().get("restarts")


def test_cleanup_runs_at_the_end_unless_the_client_does_it(bundle: Bundle, tmp_path: Path) -> None:
    argv = ["/bin/busybox", "touch", str(tmp_path / "cleaned")]
    launched = bundle.start(bundle.config("true"), attach=True, cleanup=argv)
    launched.take_cleanup()
    bundle.finish(launched)
    assert not (tmp_path / "cleaned").exists()
    launched = bundle.start(bundle.config("true"), cleanup=argv)
    launched.close()
    bundle.wait_for_shim(launched)
    assert (tmp_path / "cleaned").exists()


def test_the_container_outlives_its_killed_client(bundle: Bundle) -> None:
    code = f"""
import os, sys
sys.path.insert(0, {str(REPOSITORY)!r})
from tests.support.bundle import Bundle, gone
bundle = Bundle.__new__(Bundle)
bundle.__dict__.update(__import__('pickle').loads({__import__("pickle").dumps(bundle.__dict__)!r}))
launched = bundle.start(bundle.config("sh", "-c", "sleep 1000"), attach=True)
print(launched.pid, launched.shim_pid, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    pid, shim = map(int, done.stdout.split())
    assert bundle.execute("echo", "alive")[1] == "alive\n"
    assert bundle.record()["process"]["pid"] == pid
    os.kill(pid, signal.SIGKILL)
    gone(shim)
    assert bundle.record()["exit"]["code"] == 137


def test_a_killed_shim_leaves_the_container_running_and_writing(bundle: Bundle) -> None:
    from pyctr.core.runtime.ops_cgroup import manager

    script = "echo ready; read x < /run/go; echo more; exit 0"
    (bundle.rootfs / "run").mkdir()
    os.mkfifo(bundle.rootfs / "run/go")
    launched = bundle.start(bundle.config("sh", "-c", script), attach=True)
    bundle.hear(launched, "ready")
    os.kill(launched.shim_pid, signal.SIGKILL)
    bundle.wait_for_shim(launched)
    assert procfs.alive(launched.pid, launched.start_time), "it does not die with its shim"
    assert bundle.record()["exit"] is None
    reader = os.open(f"/proc/{launched.pid}/fd/1", os.O_RDONLY)
    (bundle.rootfs / "run/go").write_text("x\n")
    assert os.read(reader, 100) == b"more\n", "no SIGPIPE: what it writes can be read again"
    os.close(reader)
    gone(launched.pid)
    launched.close()
    group = manager(bundle.group, "/sys/fs/cgroup")
    group.remove()
    os.unlink(f"{bundle.run_directory}/shim.sock")
    os.rmdir(bundle.run_directory)
