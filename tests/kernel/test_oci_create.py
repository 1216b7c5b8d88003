"""`pyctr-runtime create`, `start`, `delete` as conmon and containerd call them: nothing of ours stays between them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.caller import Console, parent, subreaper, wait
from tests.support.host import Host
from tests.support.oci import Oci


@pytest.fixture
def oci(bare_host: Host) -> Iterator[Oci]:
    oci = Oci(bare_host)
    yield oci
    for line in oci.cli("list", "-q").stdout.split():
        oci.cli("delete", "--force", line)
    left = bare_host.census()
    assert not left, f"left behind: {left}"
    root = Path(bare_host.paths.run) / "runtime"
    assert not root.exists() or not list(root.iterdir())


def create(oci: Oci, config: dict[str, Any], *flags: str, id: str = "one") -> int:
    """The pid of a created container."""
    oci.write(config)
    pid_file = oci.path / f"pid.{id}"
    done = oci.cli("create", "--bundle", str(oci.path), "--pid-file", str(pid_file), *flags, id)
    assert done.returncode == 0, done.stderr
    return int(pid_file.read_text())


def state(oci: Oci, id: str = "one") -> dict[str, Any]:
    done = oci.cli("state", id)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_the_nearest_subreaper_is_the_parent_and_sees_the_exit_code(oci: Oci) -> None:
    with subreaper():
        pid = create(oci, oci.config("sh", "-c", "exit 42"))
        assert parent(pid) == os.getpid()
        assert oci.cli("start", "one").returncode == 0
        assert wait(pid) == 42


def test_the_subreaper_sees_the_signal_that_killed_it(oci: Oci) -> None:
    with subreaper():
        pid = create(oci, oci.config("sleep", "100"))
        assert oci.cli("start", "one").returncode == 0
        assert oci.cli("kill", "one", "KILL").returncode == 0
        assert wait(pid) == -9


def test_after_create_there_is_one_process_and_it_is_the_containers(oci: Oci) -> None:
    with subreaper():
        pid = create(oci, oci.config("sleep", "100"))
        processes = oci.host.processes()
        assert [line.split()[0] for line in processes] == [str(pid)]
        # it has nothing open but what the command gets, and the two FIFOs it waits at
        targets = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        foreign = [
            target for target in targets if target not in ("/dev/null", str(oci.path / "out"), str(oci.path / "err"))
        ]
        assert len(foreign) == 2 and all(target.endswith(".fifo") for target in foreign), targets
        assert Path(f"/proc/{pid}/comm").read_text() == "pyctr-init\n"
        oci.cli("delete", "--force", "one")
        assert wait(pid) == -9


def test_a_waiting_init_cannot_be_looked_into_by_its_user(oci: Oci) -> None:
    """CVE-2016-9962: another process of that uid could take over what it has open."""
    with subreaper():
        pid = create(oci, oci.config("sleep", "100", user={"uid": 1000, "gid": 1000}))
        assert os.stat(f"/proc/{pid}/mem").st_uid == 0
        oci.cli("delete", "--force", "one")
        wait(pid)


def maps(pid: int) -> set[str]:
    """Files in a process's memory."""
    lines = [line.split(maxsplit=5) for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    return {line[5] for line in lines if len(line) == 6 and line[5][0] != "["}


def test_a_created_container_holds_nothing_of_the_host_and_nothing_of_ours_runs(oci: Oci) -> None:
    """Neither the interpreter nor a library in its memory or behind its exe, no process beside it, no memory."""
    with subreaper():
        pid = create(oci, oci.config("sleep", "100"))
        assert maps(pid) == {"/memfd:pyctr-gate (deleted)"}
        assert os.readlink(f"/proc/{pid}/exe") == "/memfd:pyctr-gate (deleted)"
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        pss = int(rollup.partition("\nPss:")[2].split()[0])
        assert pss < 64, f"{pss} kB"
        opened = {
            os.readlink(f"/proc/{pid}/fd/{fd.name}") for fd in Path(f"/proc/{pid}/fd").iterdir() if int(fd.name) > 2
        }
        assert {Path(place).name for place in opened} == {"exec.fifo", "said.fifo"}
        ours = [line for line in oci.host.processes() if not line.startswith(f"{pid} ")]
        assert not ours
        assert oci.cli("delete", "--force", "one").returncode == 0
        wait(pid)


@pytest.mark.parametrize("verb", ["create", "run"])
def test_the_runtime_executed_from_inside_does_no_harm(oci: Oci, verb: str) -> None:
    """CVE-2019-5736: the image's command is a script whose interpreter is whatever made the container."""
    script = oci.rootfs / "bin/evil"
    script.write_text("#!/proc/self/exe\n")
    script.chmod(0o755)
    if verb == "run":
        assert oci.run_config(oci.config("/bin/evil")).returncode == 1
        return
    with subreaper():
        pid = create(oci, oci.config("/bin/evil"))
        assert oci.cli("start", "one").returncode == 0
        assert wait(pid) == 1


@pytest.mark.parametrize("verb", ["create", "run"])
def test_a_command_that_cannot_be_executed_is_told(oci: Oci, verb: str) -> None:
    """Found only by execve, when no interpreter of ours is left to say so."""
    script = oci.rootfs / "bin/lost"
    script.write_text("#!/nowhere\n")
    script.chmod(0o755)
    config = oci.config("/bin/lost")
    expected = "pyctr-runtime: '/bin/lost': no such file or directory"
    if verb == "run":
        done = oci.run_config(config)
    else:
        with subreaper():
            pid = create(oci, config)
            done = oci.cli("start", "one")
            wait(pid)
    assert done.returncode == 1 and done.stderr.splitlines()[0] == expected, done.stderr


@pytest.mark.parametrize("last", [True, False])
def test_the_filter_is_in_force_after_a_start(oci: Oci, last: bool) -> None:
    """With no_new_privs it comes last, else before the capabilities go and has to let the waiting happen."""
    config = oci.config("sh", "-c", "mkdir /tmp/x; grep Seccomp: /proc/self/status", noNewPrivileges=last)
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
    config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    oci.write(config)
    with subreaper():
        out = oci.path / "said"
        with open(out, "w") as file:
            command = oci.command("create", "--bundle", str(oci.path), "--pid-file", str(oci.path / "pid"), "one")
            subprocess.run(command, env=oci.host.env, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=True)
        pid = int((oci.path / "pid").read_text())
        assert maps(pid) == {"/memfd:pyctr-gate (deleted)"}
        assert oci.cli("start", "one").returncode == 0
        wait(pid)
    assert "Function not implemented" in out.read_text() and "Seccomp:\t2" in out.read_text()


def test_a_group_that_is_another_containers_stays_its_own(oci: Oci) -> None:
    """Two containers with one cgroupsPath: the second is refused, and taking it back harms nobody."""
    group = f"/{oci.host.paths.cgroup_parent}/shared"
    config = oci.config("sleep", "100")
    config["linux"]["cgroupsPath"] = group
    with subreaper():
        pid = create(oci, config)
        assert oci.cli("start", "one").returncode == 0
        done = oci.cli("create", "--bundle", str(oci.path), "two")
        assert done.returncode == 1 and "already has processes" in done.stderr
        assert state(oci)["status"] == "running"
        assert str(pid) in " ".join(Path(f"{directory}/cgroup.procs").read_text() for directory in oci.host.groups())
        assert oci.cli("delete", "--force", "one").returncode == 0
        wait(pid)


def test_a_signal_ends_a_created_container_that_would_be_pid_1(oci: Oci) -> None:
    with subreaper():
        pid = create(oci, oci.config("sleep", "100"))
        assert oci.cli("kill", "one", "TERM").returncode == 0
        assert wait(pid) == 128 + 15
        assert state(oci)["status"] == "stopped"
        refused = oci.cli("start", "one")
        assert refused.returncode == 1 and "stopped" in refused.stderr


def test_states_of_a_life(oci: Oci) -> None:
    with subreaper():
        config = oci.config("sleep", "100")
        config["annotations"] = {"a": "b"}
        pid = create(oci, config)
        found = state(oci)
        assert found.pop("created").endswith("Z")
        assert found == {
            "ociVersion": "1.2.0",
            "id": "one",
            "pid": pid,
            "status": "created",
            "bundle": str(oci.path),
            "rootfs": str(oci.rootfs),
            "owner": "root",
            "annotations": {"a": "b"},
        }
        assert oci.cli("start", "one").returncode == 0
        assert state(oci)["status"] == "running"
        again = oci.cli("start", "one")
        assert again.returncode == 1 and "running" in again.stderr
        assert oci.cli("pause", "one").returncode == 0
        assert state(oci)["status"] == "paused"
        assert "paused" in oci.cli("exec", "one", "true").stderr
        assert oci.cli("resume", "one").returncode == 0
        refused = oci.cli("delete", "one")
        assert refused.returncode == 1 and "not stopped: running" in refused.stderr
        oci.cli("kill", "one", "9")
        wait(pid)
        assert (state(oci)["status"], state(oci)["pid"]) == ("stopped", 0)
        assert "container not running" in oci.cli("kill", "one").stderr
        assert oci.cli("delete", "one").returncode == 0
        gone = oci.cli("delete", "one")
        assert gone.returncode == 1 and "does not exist" in gone.stderr
        assert oci.cli("delete", "--force", "one").returncode == 0


@pytest.mark.skipif(not os.path.exists("/usr/sbin/runc"), reason="runc is not installed")
def test_state_and_list_have_the_keys_that_runc_has(oci: Oci, tmp_path: Path) -> None:
    runc = ["runc", "--root", str(tmp_path)]
    config = oci.config("sleep", "100", cgroupsPath=f"/{oci.host.paths.cgroup_parent}/runc")
    config["annotations"] = {"a": "b"}
    oci.write(config)
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*runc, "create", "--bundle", str(oci.path), "one"], check=True, **quiet)
    try:
        theirs = json.loads(subprocess.run([*runc, "state", "one"], capture_output=True, check=True).stdout)
        listed = json.loads(subprocess.run([*runc, "list", "-f", "json"], capture_output=True, check=True).stdout)
    finally:
        subprocess.run([*runc, "delete", "--force", "one"], check=True, **quiet)
    del config["linux"]["cgroupsPath"]
    create(oci, config)
    ours = state(oci)
    assert set(ours) == set(theirs)
    for key in ("id", "status", "bundle", "rootfs", "annotations"):
        assert ours[key] == theirs[key], key
    (entry,) = json.loads(oci.cli("list", "--format", "json").stdout)
    assert set(entry) == set(listed[0])


def test_a_terminal_goes_to_the_console_socket(oci: Oci) -> None:
    console = Console(str(oci.path / "console"))
    with subreaper():
        script = "stty size; tty; read line; echo got $line"
        config = oci.config("sh", "-c", script, terminal=True)
        config["process"]["consoleSize"] = {"height": 33, "width": 101}
        pid = create(oci, config, "--console-socket", console.path)
        console.accept()
        oci.cli("start", "one")
        console.read(b"33 101")
        console.read(b"/dev/pts/0")
        os.write(console.master, b"hello\n")
        console.read(b"got hello")
        assert wait(pid) == 0
    console.close()


def test_a_terminal_nobody_serves_is_refused(oci: Oci) -> None:
    oci.write(oci.config("true", terminal=True))
    assert "--console-socket" in oci.cli("create", "--bundle", str(oci.path), "one").stderr
    done = oci.cli("create", "--bundle", str(oci.path), "--console-socket", "/nowhere", "one")
    assert done.returncode == 1 and "'/nowhere'" in done.stderr


def failing(oci: Oci) -> dict[str, tuple[dict[str, Any], tuple[str, ...], str]]:
    """name -> (config, flags, words of the error)."""
    nowhere = oci.config("true")
    nowhere["mounts"].append(oci.mount("/x", "bind", "/no/such", "bind"))
    hook = oci.config("true")
    hook["hooks"] = {"createContainer": [{"path": "/bin/false"}]}
    return {
        "command": (oci.config("nope"), (), "executable file not found in $PATH"),
        "file": (oci.config("/bin/nope"), (), "no such file or directory"),
        "permission": (oci.config("/etc/passwd"), (), "permission denied"),
        "mount": (nowhere, (), "'/no/such' does not exist"),
        "hook": (hook, (), "hooks.createContainer[0]"),
        "pid file": (oci.config("true"), ("--pid-file", "/no/such/pid"), "--pid-file"),
        "descriptor": (oci.config("true"), ("--preserve-fds", "9"), "--preserve-fds"),
    }


@pytest.mark.parametrize("case", ["command", "file", "permission", "mount", "hook", "pid file", "descriptor"])
def test_a_failed_create_is_one_line_in_both_places_and_leaves_nothing(oci: Oci, case: str) -> None:
    """The fixture counts processes, cgroups, mounts and state directories."""
    config, flags, words = failing(oci)[case]
    oci.write(config)
    log = oci.path / "log.json"
    done = oci.cli("--log", str(log), "--log-format", "json", "create", "--bundle", str(oci.path), *flags, "one")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and words in done.stderr
    # podman reads the file as one document
    entry = json.loads(log.read_text())
    assert entry["level"] == "error" and entry["time"].endswith("Z")
    assert f"pyctr-runtime: {entry['msg']}\n" == done.stderr
    assert oci.cli("list", "--quiet").stdout == ""


def test_a_text_log_has_levels_and_quotes(oci: Oci) -> None:
    log = oci.path / "log.txt"
    oci.cli("--log", str(log), "start", "none")
    assert "level=error msg=\"container 'none' does not exist\"" in log.read_text()


def test_an_execve_that_fails_is_told_by_start(oci: Oci) -> None:
    (oci.rootfs / "bin/odd").write_bytes(b"\x7fELF and no more")
    (oci.rootfs / "bin/odd").chmod(0o755)
    with subreaper():
        pid = create(oci, oci.config("odd"))
        done = oci.cli("start", "one")
        assert done.returncode == 1 and "exec format error" in done.stderr
        assert wait(pid) == 1
        assert state(oci)["status"] == "stopped"


def test_a_creator_that_is_killed_leaves_nothing_running(oci: Oci) -> None:
    config = oci.config("sleep", "100")
    config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "kill -9 $PPID; sleep 1"]}]}
    oci.write(config)
    with subreaper():
        assert oci.cli("create", "--bundle", str(oci.path), "one").returncode == -9
        pid = json.loads((Path(oci.host.paths.run) / "runtime/one/state.json").read_text())["pid"]
        # of its creator's death, or of what it hears first: that nobody speaks to it any more
        assert wait(pid) in (-9, 1)
        while True:
            try:
                os.waitpid(-1, 0)  # the hook
            except ChildProcessError:
                break
        assert state(oci)["status"] == "stopped"
        assert oci.cli("delete", "one").returncode == 0


def test_descriptors_are_preserved_when_asked_for(oci: Oci) -> None:
    through, out = oci.path / "through", oci.path / "out"
    oci.write(oci.config("sh", "-c", "echo three >&3; echo four >&4; (echo five >&5); echo $LISTEN_FDS $LISTEN_PID"))
    run = oci.command("run", "--bundle", str(oci.path), "--preserve-fds", "1", "one")
    with open(out, "w") as file:
        subprocess.run(
            ["sh", "-c", 'exec 3>"$0.3" 4>"$0.4" 5>"$0.5"; exec "$@"', str(through), *run],
            env={**oci.host.env, "LISTEN_FDS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            check=True,
            timeout=60,
        )
    said = [(oci.path / f"through.{number}").read_text() for number in (3, 4, 5)]
    assert said == ["three\n", "four\n", ""]
    assert out.read_text() == "1 1\n"


def test_no_pivot_still_shows_nothing_of_the_host(oci: Oci) -> None:
    oci.write(oci.config("sh", "-c", "ls /; cat /proc/self/mounts | grep -c /sys/fs/cgroup/unified"))
    done = oci.cli("run", "--no-pivot", "--bundle", str(oci.path), "one")
    assert set(done.stdout.split()[:-1]) == {"bin", "dev", "etc", "proc", "sys", "tmp"}, done.stderr


def test_concurrent_starts_and_deletes_each_happen_once(oci: Oci) -> None:
    with subreaper():
        pid = create(oci, oci.config("sleep", "100"))
        results: list[int] = []

        def together(*words: str) -> list[int]:
            results.clear()
            threads = [
                threading.Thread(
                    target=lambda: results.append(
                        subprocess.run(
                            oci.command(*words), env=oci.host.env, capture_output=True, timeout=60
                        ).returncode
                    )
                )
                for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return sorted(results)

        assert together("start", "one") == [0, 1, 1, 1]
        assert together("delete", "--force", "one") == [0, 0, 0, 0]
        assert wait(pid) == -9


def test_a_plain_container_is_started_and_deleted_without_an_interpreter(oci: Oci) -> None:
    script = oci.path / "pyctr-runtime"
    shutil.copy(oci.command()[0], script)
    (oci.path / "pyctr-runtime-python").write_text("#!/bin/sh\nexit 7\n")
    (oci.path / "pyctr-runtime-python").chmod(0o755)

    def alone(*words: str) -> int:
        return subprocess.run([str(script), *words], env=oci.host.env, timeout=60).returncode

    with subreaper():
        pid = create(oci, oci.config("sh", "-c", "exit 42"))
        assert alone("delete", "one") == 7, "it has not been started"
        assert alone("start", "one") == 0
        assert alone("start", "one") == 7
        assert wait(pid) == 42
        assert alone("delete", "one") == 0
        assert not oci.host.groups() and alone("delete", "one") == 7
        pid = create(oci, oci.config("sleep", "100"))
        assert alone("start", "one") == 0
        assert alone("delete", "one") == 7 and alone("delete", "--force", "one") == 7, "it runs"
        assert oci.cli("delete", "--force", "one").returncode == 0
        wait(pid)


def test_a_pid_that_is_somebody_elses_now_is_not_the_containers(oci: Oci) -> None:
    """The script cannot know; the interpreter compares when they started."""
    with subreaper():
        wait_for = create(oci, oci.config("true"))
        oci.cli("start", "one")
        wait(wait_for)
        directory = Path(oci.host.paths.run) / "runtime/one"
        for name in ("plain", "state.json"):
            text = (directory / name).read_text()
            (directory / name).write_text(text.replace(str(wait_for), str(os.getpid())))
        assert oci.cli("delete", "one").returncode == 0
        assert not directory.exists()


def test_groups_that_an_update_has_made_are_deleted_too(oci: Oci) -> None:
    with subreaper():
        pid = create(oci, oci.config("sleep", "100"))
        oci.cli("start", "one")
        done = oci.cli("update", "--cpuset-cpus", "0", "one")
        assert done.returncode == 0, done.stderr
        oci.cli("kill", "one", "KILL")
        wait(pid)
        assert oci.cli("delete", "one").returncode == 0
        assert not oci.host.groups()


def test_a_start_and_a_delete_at_the_same_time_leave_nothing(oci: Oci) -> None:
    with subreaper():
        for _ in range(5):
            pid = create(oci, oci.config("sleep", "100"))
            words = [("start", "one"), ("delete", "--force", "one"), ("delete", "--force", "one")]
            calls = [subprocess.Popen(oci.command(*each), env=oci.host.env, stderr=subprocess.PIPE) for each in words]
            said = [call.communicate(timeout=60)[1].decode() for call in calls]
            assert [call.returncode for call in calls[1:]] == [0, 0], said
            assert calls[0].returncode in (0, 1) and "Traceback" not in said[0]
            wait(pid)
            assert not oci.host.groups() and not oci.cli("list", "-q").stdout


def test_hooks_after_start_and_after_delete(oci: Oci) -> None:
    log = oci.path / "hooks"
    config = oci.config("sleep", "100")
    config["hooks"] = {
        name: [
            {
                "path": "/bin/sh",
                "args": ["sh", "-c", f"(printf '{name} '; cat; echo) >> {log}"],
                "env": ["PATH=/bin:/usr/bin"],
            }
        ]
        for name in ("poststart", "poststop")
    }
    with subreaper():
        pid = create(oci, config)
        assert not log.exists()
        oci.cli("start", "one")
        name, _, text = log.read_text().partition(" ")
        assert name == "poststart"
        assert (json.loads(text)["status"], json.loads(text)["pid"]) == ("running", pid)
        oci.cli("delete", "--force", "one")
        wait(pid)
        name, _, text = log.read_text().splitlines()[1].partition(" ")
        assert (name, json.loads(text)["status"]) == ("poststop", "stopped")


def test_the_state_directory_is_private(oci: Oci) -> None:
    with subreaper():
        pid = create(oci, oci.config("sleep", "100"))
        root = Path(oci.host.paths.run) / "runtime"
        assert [oct(path.stat().st_mode & 0o777) for path in (root, root / "one")] == ["0o700", "0o700"]
        oci.cli("delete", "one")
        wait(pid)
