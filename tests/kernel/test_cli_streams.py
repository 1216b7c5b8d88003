"""Standard streams of the real command: pipes, terminals, logs that are followed, exec and attach."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
from types import TracebackType

import pytest

from tests.support.host import Host

pytestmark = pytest.mark.kernel


class Terminal:
    """A pyctr command on a pseudo-terminal of 30 rows and 90 columns."""

    def __init__(self, host: Host, *words: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 90, 0, 0))
        self.process = subprocess.Popen(
            host.command(*words), env=host.env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self.seen = b""

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def until(self, pattern: bytes, timeout: float = 30) -> re.Match[bytes]:
        """Read until the pattern is on the screen; what was read before it is forgotten."""
        while not (found := re.search(pattern, self.seen)):
            ready, _, _ = select.select([self.master], [], [], timeout)
            assert ready, f"no {pattern!r} in {self.seen!r}"
            try:
                self.seen += os.read(self.master, 65536)
            except OSError:
                raise AssertionError(f"ended without {pattern!r}: {self.seen!r}") from None
        self.seen = self.seen[found.end() :]
        return found

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)


def test_stdin_is_piped_through(host: Host) -> None:
    done = host.run("run", "--rm", "-i", "--network", "none", "base", "wc", "-c", input="x" * 300_000)
    assert done.stdout.strip() == "300000"


def test_without_i_stdin_is_empty(host: Host) -> None:
    assert host.run("run", "--rm", "--network", "none", "base", "wc", "-c", input="secret").stdout.strip() == "0"


def test_both_streams_stay_apart_and_whole(host: Host) -> None:
    script = "i=0; while [ $i -lt 2000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done"
    done = host.run("run", "--rm", "--network", "none", "base", "sh", "-c", script)
    assert done.stdout == "".join(f"out {i}\n" for i in range(2000))
    assert done.stderr == "".join(f"err {i}\n" for i in range(2000))


def test_an_interactive_shell_on_a_terminal(host: Host) -> None:
    with Terminal(host, "run", "--rm", "-it", "--network", "none", "base", "sh") as terminal:
        terminal.until(rb"[#$] ")
        terminal.type(b"stty size; tty; echo $((40+2))\n")
        terminal.until(rb"30 90\r\n/dev/(pts/\d+|console)\r\n42\r\n")
        terminal.resize(40, 100)
        terminal.type(b"stty size\n")
        terminal.until(rb"40 100")
        # said by the child: by then the shell has given it the foreground
        terminal.type(b"sh -c 'echo sl\"\"eeping; exec sleep 100'\n")
        terminal.until(rb"sleeping\r\n")
        terminal.type(b"\x03")
        terminal.until(rb"[#$] ")
        terminal.type(b"exit 9\n")
        assert terminal.process.wait(30) == 9
    assert host.census() == {}


def test_detach_keys_leave_it_running_and_attach_comes_back(host: Host) -> None:
    with Terminal(host, "run", "-it", "--name", "term", "--network", "none", "base", "sh") as terminal:
        terminal.until(rb"[#$] ")
        terminal.type(b"kept=here\n")
        terminal.until(rb"[#$] ")
        terminal.type(b"\x10\x11")
        assert terminal.process.wait(30) == 0
    assert host.run("ps", "--format", "{{.Names}}").stdout == "term\n"
    with Terminal(host, "attach", "--detach-keys", "ctrl-a,x", "term") as terminal:
        terminal.type(b"echo still $kept\n")
        terminal.until(rb"still here")
        terminal.type(b"\x01x")
        assert terminal.process.wait(30) == 0


def test_t_without_a_terminal_is_refused(host: Host) -> None:
    done = host.run("run", "--rm", "-it", "base", "sh", check=False, input="exit\n")
    assert done.returncode == 125
    assert "not a terminal" in done.stderr
    assert host.census() == {}


def test_logs_follow_until_it_stops(host: Host) -> None:
    script = "echo first; read line; echo got $line; echo oops >&2; printf unfinished"
    host.run("create", "-i", "--name", "talk", "--network", "none", "base", "sh", "-c", script)
    with subprocess.Popen(
        host.command("start", "-ai", "talk"), env=host.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as attached:
        assert attached.stdin is not None
        assert attached.stdout is not None
        assert attached.stdout.readline() == "first\n"
        with subprocess.Popen(
            host.command("logs", "-f", "talk"), env=host.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as follower:
            assert follower.stdout is not None
            assert follower.stdout.readline() == "first\n"
            attached.stdin.write("it\n")
            attached.stdin.close()
            out, err = follower.communicate(timeout=30)
        assert out == "got it\nunfinished"
        assert err == "oops\n"
        assert follower.returncode == 0
        assert attached.wait(30) == 0
    assert host.run("logs", "--tail", "1", "talk").stdout in ("unfinished", "")
    stamped = host.run("logs", "-t", "talk").stdout.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z first", stamped[0])
    assert host.run("logs", "--since", "1h", "--until", "30m", "talk").stdout == ""


def test_escape_sequences_in_logs_do_not_reach_a_terminal(host: Host) -> None:
    host.run("run", "--name", "evil", "--network", "none", "base", "printf", "a\\033[2Jb\\033]0;owned\\007c\\n")
    assert "\x1b[2J" in host.run("logs", "evil").stdout
    with Terminal(host, "logs", "evil") as terminal:
        found = terminal.until(rb"a(.*)c\r\n")
        assert b"\x1b" not in found.group(1)
        assert b"\\x1b[2J" in found.group(1)


def test_exec_runs_inside_with_its_own_settings(host: Host) -> None:
    host.run("run", "-d", "--name", "box", "--network", "none", "-e", "A=1", "base", "sleep", "60")
    done = host.run(
        "exec", "-e", "B=2", "-w", "/tmp", "-u", "7:8", "box", "sh", "-c", "echo $A $B $(pwd) $(id -u):$(id -g)"
    )
    assert done.stdout == "1 2 /tmp 7:8\n"
    assert host.run("exec", "-i", "box", "cat", input="through").stdout == "through"
    assert host.run("exec", "box", "sh", "-c", "exit 5", check=False).returncode == 5
    assert host.run("exec", "box", "nosuch", check=False).returncode == 127
    assert host.run("exec", "box", "/etc/passwd", check=False).returncode == 126
    assert host.run("exec", "box", "sh", "-c", "kill -9 $$", check=False).returncode == 137
    assert host.run("exec", "-d", "box", "touch", "/made").stdout == ""
    host.run("stop", "-t", "0", "box")
    stopped = host.run("exec", "box", "true", check=False)
    assert stopped.returncode == 1
    assert "hint: 'pyctr start box'" in stopped.stderr


def test_exec_on_a_terminal(host: Host) -> None:
    host.run("run", "-d", "--name", "box", "--network", "none", "base", "sleep", "60")
    with Terminal(host, "exec", "-it", "box", "sh") as terminal:
        terminal.until(rb"[#$] ")
        terminal.type(b"stty size; exit 4\n")
        terminal.until(rb"30 90")
        assert terminal.process.wait(30) == 4


def test_signals_are_handed_on(host: Host) -> None:
    script = "trap 'echo terminated; exit 6' TERM; echo ready; while :; do sleep 60 & wait $!; done"
    with subprocess.Popen(
        host.command("run", "--rm", "--network", "none", "base", "sh", "-c", script),
        env=host.env,
        stdout=subprocess.PIPE,
        text=True,
    ) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "ready\n"
        client.send_signal(signal.SIGTERM)
        assert client.communicate(timeout=30)[0] == "terminated\n"
        assert client.returncode == 6


def test_interrupting_a_listing_is_clean(host: Host) -> None:
    with subprocess.Popen(
        host.command("events", "--since", "1h"),
        env=host.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as events:
        assert events.stdout is not None
        host.run("run", "--rm", "--network", "none", "base", "true")
        assert "container create" in events.stdout.readline()
        events.send_signal(signal.SIGINT)
        _, err = events.communicate(timeout=30)
        assert events.returncode == 130
        assert err == ""


def test_events_end_at_until(host: Host) -> None:
    host.run("run", "--rm", "--network", "none", "base", "true")
    done = host.run("events", "--since", "1h", "--until", "0 seconds", check=False)
    assert done.returncode == 125 and "is not a point in time" in done.stderr
    done = host.run("events", "--since", "1h", "--until", "0s")
    assert "container destroy" in done.stdout
