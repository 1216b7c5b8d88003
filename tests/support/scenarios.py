"""What users of podman and docker do, the same for both: their command lines are alike.

A class `Scenarios` is derived by a test module that has a fixture `manager`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core import cgroups

from .manager import Manager

TRAP = "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.1; done"

SIZED = "until [ \"$(stty size 2>/dev/null)\" = '33 99' ]; do sleep 0.05; done; tty"
"""The name of the terminal, once the manager has told it the size of its own."""

LOOK = r"""
grep -E '^(Cap|NoNew|Seccomp|Groups|Uid|Gid|Umask|SigIgn|SigBlk)' /proc/self/status
sed -E 's/^[^ ]+ [^ ]+ [^ ]+ [^ ]+ ([^ ]+) ([^ ]+) .*- ([^ ]+) .*/\1 \2 \3/' /proc/self/mountinfo |
    grep -vE '^/sys/fs/cgroup|^/proc/(keys|timer_list|kcore|sched_debug|latency_stats) ' | sort
cd /dev; stat -c '%n %A %u:%g %t:%T' *; readlink fd stdin stdout stderr ptmx
ls /proc/self/fd; ulimit -a; ulimit -Ha; env | grep -v ^HOSTNAME | sort; id; pwd; hostname
cat /proc/self/oom_score_adj /proc/self/personality /proc/sys/kernel/domainname
for file in /proc/kcore /proc/keys /proc/timer_list /sys/firmware; do head -c 1 $file 2>&1; done
for file in /proc/sys/kernel/panic /proc/sysrq-trigger /sys/kernel/profiling; do (: >$file) 2>&1; done
stat -c '%n %A %u:%g' /* /deep /deep/er
"""
"""All that a process can see of how it was started. The masks lie over the same files, with another null device."""


class Scenarios:
    @pytest.fixture(scope="class")
    def running(self, manager: Manager) -> Iterator[str]:
        """A container with limits that uses some CPU time, shared by those who only look."""
        # its process 1 ignores TERM
        limits = (
            "--stop-signal",
            "KILL",
            "--memory",
            "64m",
            "--memory-swap",
            "64m",
            "--pids-limit",
            "33",
            "--cpus",
            "0.2",
        )
        manager.run("-d", "--name", "shared", *limits, "--cpu-shares", "512", "box", "sh", "-c", "while :; do :; done")
        yield "shared"
        manager.remove("shared")

    def test_input_output_and_exit_code_are_the_commands(self, manager: Manager) -> None:
        script = "cat; echo wrong >&2; exit 3"
        done = manager.run("--rm", "-i", "box", "sh", "-c", script, check=False, input="in\n")
        assert (done.returncode, done.stdout, done.stderr) == (3, "in\n", "wrong\n")

    @pytest.mark.parametrize(
        ("command", "code", "words"),
        [
            ("nothere", 127, ": executable file not found in $PATH"),
            ("/etc/passwd", 126, "permission denied"),
        ],
    )
    def test_a_command_that_cannot_be_run_has_its_code_and_their_words(
        self, manager: Manager, command: str, code: int, words: str
    ) -> None:
        done = manager.run("--rm", "box", command, check=False)
        assert done.returncode == code, done.stderr
        assert command in done.stderr and words in done.stderr
        manager.clear()

    def test_a_failed_start_leaves_nothing(self, manager: Manager) -> None:
        done = manager.run("--rm", "--sysctl", "net.ipv4.nothing=1", "box", "true", check=False)
        assert done.returncode in (125, 126, 127) and "net.ipv4.nothing" in done.stderr, done
        manager.clear()

    def test_the_end_is_reported_logged_and_the_container_starts_again(self, manager: Manager) -> None:
        manager.run("-d", "--name", "trapped", "box", "sh", "-c", TRAP)
        manager.until(lambda: manager("logs", "trapped").stdout == "up\n", "the first line in the log")
        manager("stop", "trapped")
        assert manager.state("trapped", "{{.State.Status}} {{.State.ExitCode}}") == "exited 7"
        assert manager("logs", "trapped").stdout == "up\nbye\n"
        manager("start", "trapped")
        manager.until(lambda: manager("logs", "trapped").stdout == "up\nbye\nup\n", "the log of the second start")
        manager("restart", "-t", "20", "trapped")
        assert manager.state("trapped", "{{.State.Running}}") == "true"
        manager("kill", "trapped")
        assert manager("wait", "trapped").stdout == "137\n"
        manager("rm", "trapped")
        assert manager("inspect", "trapped", check=False).returncode != 0

    def test_limits_are_the_kernels(self, manager: Manager, running: str) -> None:
        layout = cgroups.detect()
        group = manager.groups()[0].partition(manager.group)[2]

        def read(controller: str, v1: str, v2: str) -> str:
            file = v1 if layout.version(controller) == 1 else v2
            return Path(f"{layout.controllers[controller]}{manager.group}{group}/{file}").read_text().strip()

        assert read("memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
        assert read("pids", "pids.max", "pids.max") == "33"
        assert read("cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "20000"
        assert read("cpu", "cpu.shares", "cpu.weight") in ("512", "20")
        manager("update", "--cpus", "0.1", running)
        assert read("cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "10000"

    def test_top_and_stats_know_the_processes_and_what_they_use(self, manager: Manager, running: str) -> None:
        lines = manager("top", running).stdout.splitlines()
        assert len(lines) == 2 and lines[1].rstrip().endswith("while :; do :; done"), lines
        template = "{{.CPUPerc}} {{.MemUsage}} {{.PIDs}}"
        words = manager("stats", "--no-stream", "--format", template, running).stdout.split()
        assert 1 < float(words[0].rstrip("%")) < 100, words
        assert words[1] not in ("0B", "--") and words[3].startswith(("64MiB", "67.1")) and words[-1] == "1", words

    def test_exec_is_another_process_of_the_same_container(self, manager: Manager, running: str) -> None:
        script = "id -u; id -g; pwd; echo $A; exit 4"
        done = manager("exec", "-e", "A=b", "-u", "sam", "-w", "/tmp", running, "sh", "-c", script, check=False)
        assert (done.returncode, done.stdout.split()) == (4, ["1000", "1001", "/tmp", "b"])
        look = "for kind in cgroup ipc mnt net pid uts; do readlink /proc/{0}/ns/$kind; done; cat /proc/{0}/cgroup"
        first, own = (manager("exec", running, "sh", "-c", look.format(pid)).stdout for pid in ("1", "self"))
        assert first == own and first.count(":[") == 6, (first, own)
        assert manager("exec", "-i", running, "cat", input="hello").stdout == "hello"
        manager("exec", "-d", running, "sh", "-c", "echo there >/tmp/detached")
        read = ("exec", running, "cat", "/tmp/detached")
        manager.until(lambda: manager(*read, check=False).stdout == "there\n", "the file of a detached exec")

    def test_an_exec_that_cannot_be_says_why(self, manager: Manager, running: str) -> None:
        for command, words in (("nothere", "executable file not found in $PATH"), ("/etc/passwd", "permission denied")):
            done = manager("exec", running, command, check=False)
            assert done.returncode in (126, 127), done
            assert command in done.stdout + done.stderr and words in done.stdout + done.stderr, done

    def test_a_terminal_has_the_size_of_the_users(self, manager: Manager, running: str) -> None:
        script = f"{SIZED}; ls /dev/pts; exit 5"
        for words in (
            ("run", *manager.run_words, "--rm", "-it", "box", "sh", "-c", script),
            ("exec", "-it", running, "sh", "-c", script),
        ):
            code, said = manager.with_terminal(*words)
            assert code == 5, said
            assert said.split() == ["/dev/pts/0", "0", "ptmx"], said

    def test_a_paused_container_stands_still_until_it_goes_on(self, manager: Manager, running: str) -> None:
        pid = manager.state(running, "{{.State.Pid}}")

        def used() -> str:
            return Path(f"/proc/{pid}/schedstat").read_text().split()[0]

        manager("pause", running)
        assert manager.state(running, "{{.State.Status}}") == "paused"
        before = used()
        assert manager("exec", running, "true", check=False).returncode != 0
        assert used() == before
        manager("unpause", running)
        assert manager.state(running, "{{.State.Status}}") == "running"
        manager.until(lambda: used() != before, "CPU time after the pause")

    def test_volumes_and_tmpfs_and_a_root_that_cannot_be_written(self, manager: Manager) -> None:
        shared = Path(manager.base) / "shared"
        shared.mkdir()
        (shared / "given").write_text("from outside\n")
        script = """
            cat /v/given; echo inside >/v/made; echo kept >/named/made
            touch /ro/x 2>&1; touch /x 2>&1; touch /t/x && df -k /t | tail -n 1
            touch /bin/one 2>&1; cat /f
        """
        said = manager.inside(
            script,
            *("-v", f"{shared}:/v", "-v", f"{shared}:/ro:ro", "-v", f"{shared}/given:/f", "-v", "named:/named"),
            *("--read-only", "--tmpfs", "/t:size=1m"),
        ).splitlines()
        assert said[0] == said[-1] == "from outside"
        assert [line for line in said if "Read-only file system" in line] == [
            "touch: /ro/x: Read-only file system",
            "touch: /x: Read-only file system",
            "touch: /bin/one: Read-only file system",
        ]
        assert said[3].split()[1] == "1024"
        assert (shared / "made").read_text() == "inside\n"
        assert manager.inside("cat /n/made", "-v", "named:/n") == "kept\n"
        manager("volume", "rm", "named")

    def test_mounts_of_the_host_appear_in_a_volume_that_asks_for_it(self, manager: Manager) -> None:
        shared = Path(manager.base) / "follow"
        (shared / "below").mkdir(parents=True)
        flags = ("-v", f"{shared}:/v:rslave")
        manager.run(
            "-d", "--name", "follower", *flags, "box", "sh", "-c", "until [ -e /v/below/x ]; do sleep 0.05; done"
        )
        tmpfs = manager.enter("mount", "-t", "tmpfs", "none", f"{shared}/below")
        assert os.spawnvp(os.P_WAIT, tmpfs[0], tmpfs) == 0
        try:
            file = manager.enter("touch", f"{shared}/below/x")
            assert os.spawnvp(os.P_WAIT, file[0], file) == 0
            assert manager("wait", "follower").stdout == "0\n"
        finally:
            manager.remove("follower")
            away = manager.enter("umount", f"{shared}/below")
            assert os.spawnvp(os.P_WAIT, away[0], away) == 0

    def test_users_and_capabilities(self, manager: Manager) -> None:
        script = "id -u; id -g; grep CapEff /proc/self/status; grep CapBnd /proc/self/status; umask"
        uid, gid, effective, bounding, umask = manager.inside(script, "--user", "sam").splitlines()
        assert (uid, gid, umask) == ("1000", "1001", "0022")
        assert int(effective.split()[1], 16) == 0 != int(bounding.split()[1], 16)
        flags = ("--cap-drop", "all", "--cap-add", "net_admin")
        said = manager.inside("grep Cap /proc/self/status", *flags).split()[1::2]
        assert [int(word, 16) for word in said] == [0, 1 << 12, 1 << 12, 1 << 12, 0]

    def test_a_privileged_container_may_all(self, manager: Manager) -> None:
        script = """
            grep -E 'CapEff|Seccomp:' /proc/self/status
            mount -t tmpfs none /tmp && echo mounted; [ -c /dev/full ] && ls -l /dev/ptmx | grep -o 'pts/ptmx'
            cat /proc/sys/kernel/panic >/proc/sys/kernel/panic && echo writable
            """
        said = manager.inside(script, "--privileged").splitlines()
        assert int(said[0].split()[1], 16) & 1 << 21 and said[1].split()[1] == "0"  # CAP_SYS_ADMIN
        assert said[2:] == ["mounted", "pts/ptmx", "writable"]

    def test_seccomp_and_new_privileges_are_as_asked(self, manager: Manager) -> None:
        script = "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status"
        for flags, wanted in (
            (("--security-opt", "seccomp=unconfined"), ["0", "0"]),
            (("--security-opt", "no-new-privileges"), ["1", "2"]),
        ):
            assert manager.inside(script, *flags).split()[1::2] == wanted

    def test_what_a_user_sets_is_set(self, manager: Manager) -> None:
        script = """
            hostname; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; stat -c %t:%T /dev/zwei; ulimit -n; ulimit -Hn
            df -k /dev/shm | tail -n 1; cat /proc/self/oom_score_adj; echo $A; pwd; cat /etc/hosts | grep -c 192.0.2.7
        """
        flags: tuple[str, ...] = (
            "--hostname",
            "named",
            "--sysctl",
            "net.ipv4.ip_unprivileged_port_start=81",
            "--shm-size",
            "2m",
        )
        flags += (
            "--device",
            "/dev/zero:/dev/zwei",
            "--ulimit",
            "nofile=100:200",
            "--ulimit",
            "nproc=99",
            "--oom-score-adj",
            "500",
        )
        flags += ("-e", "A=b", "-w", "/tmp", "--add-host", "other:192.0.2.7")
        said = manager.inside(script, *flags).splitlines()
        assert said[:5] == ["named", "81", "1:5", "100", "200"]
        assert said[5].split()[1] == "2048"
        assert said[6:] == ["500", "b", "/tmp", "1"]

    def test_too_much_memory_is_the_end(self, manager: Manager) -> None:
        flags = ("--name", "greedy", "--memory", "16m", "--memory-swap", "16m")
        done = manager.run(*flags, "box", "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", check=False)
        assert done.returncode == 137
        # podman's conmon does not see it on hybrid hosts, with runc neither; docker's daemon may hear of it late
        seen = "true" if manager.name == "docker" else "false"
        manager.until(lambda: manager.state("greedy", "{{.State.OOMKilled}}") == seen, f"OOMKilled is {seen}")
        manager("rm", "greedy")

    def test_containers_share_namespaces(self, manager: Manager) -> None:
        manager.run("-d", "--name", "first", "--ipc", "shareable", "box", "sleep", "1000")
        flags = [word for kind in ("network", "pid", "ipc") for word in (f"--{kind}", "container:first")]
        words = [word for word in manager.run_words if word != "--network=none"]
        script = "for pid in 1 self; do for kind in net pid ipc; do readlink /proc/$pid/ns/$kind; done; done; ps"
        said = manager("run", *words, "--rm", *flags, "box", "sh", "-c", script).stdout.splitlines()
        assert said[:3] == said[3:6] and said[0].startswith("net:[")
        assert said[7].endswith("sleep 1000")
        manager.remove("first")

    def test_a_container_is_what_runc_would_have_made(self, manager: Manager) -> None:
        flags = ("--rm", "--hostname", "same", "--tmpfs", "/deep/er", "--user", "sam", "--group-add", "50")
        ours = manager.run(*flags, "box", "sh", "-c", LOOK).stdout
        words = manager.with_runc()
        theirs = manager(*words, *flags, "box", "sh", "-c", LOOK).stdout
        assert "Seccomp:\t2" in ours and "/deep/er" in ours
        assert ours.splitlines() == theirs.splitlines()

    def test_an_init_process_reaps_for_the_command(self, manager: Manager) -> None:
        said = manager.inside("ps -o pid,comm | grep -c init; echo $$", "--init").split()
        assert said[0] == "1" and said[1] != "1"

    def test_nothing_is_left_of_a_container(self, manager: Manager) -> None:
        before = manager.left()
        manager.run("--rm", "-v", "gone:/v", "--tmpfs", "/t", "box", "true")
        manager.until(lambda: manager.left() == before, "the state before")
        manager("volume", "rm", "gone")
