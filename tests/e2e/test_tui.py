"""The real program in a real terminal on real containers: what a person does in the first minutes, and how it ends."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
from collections.abc import Iterator

import pytest

from tests.support.host import REPOSITORY, Host
from tests.support.terminal import Terminal

IDLE = "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done"


@pytest.fixture
def busy_host(host: Host) -> Host:
    """One running container called web, one created called batch."""
    script = f"echo hello there; {IDLE}"
    host.run("run", "-d", "--name", "web", "--network", "none", "-m", "64m", "base", "sh", "-c", script)
    host.run("create", "--name", "batch", "--network", "none", "base", "sh", "-c", IDLE)
    return host


def open_tui(host: Host, *words: str, columns: int = 120, rows: int = 40) -> Terminal:
    argv = [sys.executable, "-m", "pyctr.tui.main", *words]
    # some shells export a size, which is wrong after the first resize
    return Terminal(argv, env={**host.env, "COLUMNS": "80", "LINES": "24"}, columns=columns, rows=rows, cwd=REPOSITORY)


@pytest.fixture
def terminal(busy_host: Host) -> Iterator[Terminal]:
    terminal = open_tui(busy_host)
    try:
        terminal.wait_for(r"● web\b")
        terminal.wait_for(r"q quit")
        yield terminal
    finally:
        terminal.close()


def put_cursor(terminal: Terminal, name: str) -> None:
    """The frame of the details names the container under the cursor."""
    terminal.press("g")
    for _ in range(5):
        if re.search(rf" {name}( +\w+)? ─ Overview", terminal.screen()):
            return
        terminal.press("j")
    terminal.wait_for(rf" {name}( +\w+)? ─ Overview")


def test_a_life_from_start_to_removal_by_keys(busy_host: Host, terminal: Terminal) -> None:
    put_cursor(terminal, "batch")
    terminal.press("u")
    terminal.wait_for(r"● batch\b")
    assert busy_host.run("inspect", "-f", "{{.State.Status}}", "batch").stdout.strip() == "running"
    terminal.press("p")
    terminal.wait_for(r"‖ batch\b")
    assert busy_host.run("inspect", "-f", "{{.State.Status}}", "batch").stdout.strip() == "paused"
    terminal.press("p")
    terminal.wait_for(r"● batch\b")
    terminal.press("s")
    terminal.wait_for(r"Stop batch\?")
    terminal.press("Right", "Enter")
    terminal.wait_for(r"○ batch\b")
    terminal.press("d")
    terminal.wait_for(r"Remove batch\?")
    terminal.press("Enter")  # Cancel is the default
    terminal.wait_for(r"Remove batch\?", gone=True)
    assert "batch" in busy_host.run("ps", "-a").stdout
    terminal.press("d")
    terminal.wait_for(r"Remove batch\?")
    terminal.press("Right", "Enter")
    terminal.wait_for(r"[○●] batch\b", gone=True)
    assert "batch" not in busy_host.run("ps", "-a").stdout
    assert "web" in busy_host.run("ps").stdout


def test_undo_starts_again_what_was_stopped(terminal: Terminal) -> None:
    put_cursor(terminal, "web")
    terminal.press("s")
    terminal.wait_for(r"Stop web\?")
    terminal.press("Right", "Enter")
    terminal.wait_for(r"○ web\b")
    terminal.wait_for(r"z undo")
    terminal.press("z")
    terminal.wait_for(r"● web\b")


def test_a_shell_takes_the_terminal_and_gives_it_back(terminal: Terminal) -> None:
    put_cursor(terminal, "web")
    terminal.press("e")
    terminal.wait_for(r"shell in web")
    terminal.type("echo in-$((40+2)); stty size\n")
    terminal.wait_for(r"^in-42")
    terminal.wait_for(r"40 120$")
    terminal.type("exit\n")
    terminal.wait_for(r"1 Containers")
    terminal.press("l")
    terminal.wait_for(r"hello there")


def test_a_small_terminal_shows_the_list_and_enter_drills_in(busy_host: Host) -> None:
    terminal = open_tui(busy_host, columns=80, rows=24)
    try:
        terminal.wait_for(r"● web\b")
        terminal.wait_for(r"q quit")
        terminal.press("g", "Enter")
        terminal.wait_for(r"Overview .* Logs")
        terminal.resize(160, 45)
        terminal.wait_for(r"Containers  2")
    finally:
        terminal.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_leaves_the_containers_and_the_terminal(busy_host: Host, number: signal.Signals) -> None:
    argv = ["sh", "-c", f"'{sys.executable}' -m pyctr.tui.main; echo ended $?; stty -a; sleep 60"]
    terminal = Terminal(argv, env=busy_host.env, columns=120, rows=40, cwd=REPOSITORY)
    try:
        terminal.wait_for(r"q quit")
        shell = terminal.pid()
        with open(f"/proc/{shell}/task/{shell}/children") as file:
            os.kill(int(file.read().split()[0]), number)
        terminal.wait_for(rf"ended {128 + number}")
        screen = terminal.wait_for(r"icanon")
        assert " -icanon" not in screen
        assert " -echo " not in screen
        assert "web" in busy_host.run("ps").stdout
    finally:
        terminal.close()


def test_without_the_right_to_change_anything_it_looks_and_says_so(busy_host: Host) -> None:
    terminal = open_tui(busy_host, "--read-only")
    try:
        terminal.wait_for(r"read-only")
        terminal.wait_for(r"q quit")
        put_cursor(terminal, "web")
        terminal.press("s")
        terminal.wait_for(r"nothing is changed from here")
        assert "web" in busy_host.run("ps").stdout
    finally:
        terminal.close()


def test_one_frame_to_a_pipe_is_text_data_or_a_picture(busy_host: Host) -> None:
    import json
    import subprocess

    def once(*words: str) -> str:
        argv = [sys.executable, "-m", "pyctr.tui.main", "--once", *words]
        return subprocess.run(argv, env=busy_host.env, capture_output=True, text=True, check=True, timeout=60).stdout

    assert "● web" in once("--text", "--size", "80x24")
    document = json.loads(once("--json"))
    web = next(row for row in document["containers"] if row["name"] == "web")
    assert web["status"] == "running" and web["memory_limit"] == 64 << 20
    assert once("--svg", "--size", "80x24").startswith("<svg")
    # what threads of its own read is waited for: the newest event, the whole log
    busy_host.run("exec", "web", "true")
    assert "exec_die" in once("--screen", "events").splitlines()[4]
    busy_host.run("run", "--name", "wordy", "--network", "none", "base", "seq", "1000")
    assert any("1000" in line for line in once("--select", "wordy", "--tab", "logs").splitlines())
    for flag, near in (("--tab", "processes"), ("--screen", "events")):
        argv = [sys.executable, "-m", "pyctr.tui.main", "--once", flag, "nosuch"]
        done = subprocess.run(argv, env=busy_host.env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        assert "'nosuch'" in done.stderr and near in done.stderr


def test_a_terminal_that_went_away_takes_it_along(busy_host: Host) -> None:
    terminal = open_tui(busy_host)
    terminal.wait_for(r"q quit")
    pidfd = os.pidfd_open(terminal.pid())
    try:
        terminal.close()

        assert select.select([pidfd], [], [], 20)[0], "it outlived its terminal"
    finally:
        os.close(pidfd)
    assert "web" in busy_host.run("ps").stdout


def test_quitting_in_the_middle_of_a_stop_says_so_first(host: Host) -> None:
    script = "trap '' TERM; while :; do sleep 1; done"
    host.run("run", "-d", "--name", "deaf", "--network", "none", "base", "sh", "-c", script)
    terminal = open_tui(host)
    try:
        terminal.wait_for(r"q quit")
        terminal.press("s")
        terminal.wait_for(r"Stop deaf\?")
        terminal.press("Right", "Enter")
        terminal.wait_for(r"deaf +.*stopping")
        terminal.press("q")
        terminal.wait_for(r"q again leaves")
    finally:
        terminal.close()
