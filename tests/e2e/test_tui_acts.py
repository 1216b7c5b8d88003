"""Keys of the real TUI on real containers, in a real terminal: several at once, signals, attaching, refusals."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyctr.core.linux import inotify
from tests.kernel.lifecycle_help import eventually
from tests.support.host import REPOSITORY, Host
from tests.support.terminal import Terminal

IDLE = "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done"

Opener = Callable[..., Terminal]


@pytest.fixture
def open_tui(host: Host) -> Iterator[Opener]:
    """Opens the TUI in a terminal and waits until its keys work."""
    opened: list[Terminal] = []

    def opener(*words: str, columns: int = 120, rows: int = 40, **env: str) -> Terminal:
        argv = [sys.executable, "-m", "pyctr.tui.main", *words]
        terminal = Terminal(argv, env={**host.env, **env}, columns=columns, rows=rows, cwd=REPOSITORY)
        opened.append(terminal)
        terminal.wait_for(r"q quit")
        return terminal

    yield opener
    for terminal in opened:
        terminal.close()


def run(host: Host, name: str, script: str = IDLE, *words: str) -> None:
    host.run("run", "-d", "--name", name, "--network", "none", *words, "base", "sh", "-c", script)


def statuses(host: Host) -> dict[str, str]:
    """Name -> state of every container, as the command line tells it."""
    lines = host.run("ps", "-a", "--format", "{{.Names}} {{.State}}").stdout.splitlines()
    return dict(line.split() for line in lines)


def test_marked_containers_are_acted_on_together_and_no_other(host: Host, open_tui: Opener) -> None:
    for name in ("one", "three", "two", "zero"):
        run(host, name)
    terminal = open_tui()
    terminal.wait_for(r"● zero")
    terminal.press("g", "Space", "Space", "Space")
    terminal.wait_for(r"3 marked")
    terminal.press("b")
    terminal.wait_for(r"pause +3 containers")
    terminal.press("Down", "Enter")  # stop, pause
    terminal.wait_for(r"‖ two")
    assert statuses(host) == {"one": "paused", "three": "paused", "two": "paused", "zero": "running"}

    terminal.wait_for(r"z undo")
    terminal.press("z")
    terminal.wait_for(r"‖ two", gone=True)
    assert set(statuses(host).values()) == {"running"}

    terminal.press("b")
    terminal.wait_for(r"stop +3 containers")
    terminal.press("Enter")
    terminal.wait_for(r"Stop 3 containers\?")
    terminal.press("Right", "Enter")
    for name in ("one", "three", "two"):
        terminal.wait_for(rf"○ {name}\b")
    assert statuses(host)["zero"] == "running"

    terminal.press("b")
    terminal.wait_for(r"remove +3 containers")
    terminal.press("End", "Enter")
    terminal.wait_for(r"Remove 3 containers\?")
    terminal.press("Enter")  # Cancel is the default
    terminal.wait_for(r"Remove 3 containers\?", gone=True)
    assert len(statuses(host)) == 4

    terminal.press("b")
    terminal.wait_for(r"remove +3 containers")
    terminal.press("End", "Enter")
    terminal.wait_for(r"Remove 3 containers\?")
    terminal.press("Right", "Enter")
    terminal.wait_for(r"(one|two|three)\b +base", gone=True)
    assert statuses(host) == {"zero": "running"}


def test_kill_sends_the_signal_that_was_chosen(host: Host, open_tui: Opener) -> None:
    run(host, "talker", f"trap 'echo got usr1' USR1; {IDLE}")
    terminal = open_tui()
    terminal.wait_for(r"● talker")
    terminal.press("l")
    terminal.wait_for(r"Esc back")
    terminal.press("Escape")
    terminal.wait_for(r"s stop")
    terminal.press("K")
    terminal.wait_for(r"SIGTERM +ask it to end")
    terminal.press("Down", "Down", "Down", "Down", "Down", "Enter")
    terminal.wait_for(r"sent SIGUSR1 to talker")
    terminal.wait_for(r"got usr1")
    assert statuses(host) == {"talker": "running"}

    terminal.press("K")
    terminal.wait_for(r"SIGKILL +end it now")
    terminal.press("Down", "Enter")
    terminal.wait_for(r"○ talker.*killed by SIGKILL")


def test_killing_all_shows_cgroup_kill_before_and_writes_it(host: Host, open_tui: Opener) -> None:
    """A container that forks and ignores what it can."""
    run(host, "hydra", "trap '' HUP INT TERM; while :; do (trap '' TERM; sleep 1000) & sleep 0.05; done")
    [group] = [Path(path) for path in host.groups() if os.path.exists(f"{path}/cgroup.kill") and _living(path)]
    terminal = open_tui()
    terminal.wait_for(r"● hydra")
    watch = inotify.init()
    try:
        inotify.add_watch(watch, str(group / "cgroup.kill"), inotify.IN_MODIFY)
        terminal.press("K")
        terminal.wait_for(r"SIGKILL to all")
        terminal.press("End", "Up", "Enter")
        terminal.wait_for(r"cgroup\.kill: 1")
        assert not inotify.drain(watch) and statuses(host) == {"hydra": "running"}
        terminal.press("Right", "Enter")
        terminal.wait_for(r"○ hydra.*killed by SIGKILL")
        assert inotify.drain(watch)
    finally:
        os.close(watch)
    assert not _living(str(group))


def _living(group: str) -> str:
    try:
        return Path(f"{group}/cgroup.procs").read_text()
    except OSError:
        return ""  # it is gone


def test_kill_reaches_one_process_that_was_chosen_and_confirmed(host: Host, open_tui: Opener) -> None:
    run(host, "talker", f"sleep 1234 & wait $!; echo it ended; {IDLE}")
    terminal = open_tui()
    terminal.wait_for(r"● talker")
    terminal.press("K")
    terminal.wait_for(r"SIGTERM +ask it to end")
    terminal.press(*["Down"] * 12, "Enter")
    terminal.wait_for(r"Process of talker[\s\S]*sleep 1234")
    terminal.press("Down", "Enter")
    terminal.wait_for(r"Send to \d+ of talker")
    terminal.press("Enter")
    terminal.wait_for(r"Send SIGTERM to process \d+\?[\s\S]*sleep 1234")
    assert "sleep 1234" in host.run("top", "talker").stdout  # not before it is confirmed
    terminal.press("Right", "Enter")
    terminal.wait_for(r"sent SIGTERM to process \d+ of talker")
    terminal.press("l")
    terminal.wait_for(r"it ended")
    assert statuses(host) == {"talker": "running"}


def test_a_limit_shows_its_file_before_and_is_taken_back(host: Host, open_tui: Opener) -> None:
    run(host, "talker")
    terminal = open_tui()
    terminal.wait_for(r"● talker")
    pids = "cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max"

    def limit() -> str:
        return host.run("exec", "talker", "sh", "-c", pids).stdout.strip()

    before = limit()
    terminal.press("m")
    terminal.wait_for(r"processes +now \d+ of unlimited")
    terminal.press("Down", "Down", "Enter")
    terminal.wait_for(r"Limit of processes, talker")
    terminal.type("lots")
    terminal.press("Enter")
    terminal.wait_for(r"a number such as 200")
    terminal.press("C-u")
    terminal.type("50")
    terminal.press("Enter")
    terminal.wait_for(r"pids\.max: unlimited -> 50")
    assert limit() == before  # not before it is said
    terminal.press("Right", "Enter")
    terminal.wait_for(r"limit of processes of talker changed")
    assert limit() == "50"
    terminal.press("z")
    terminal.wait_for(r"talker as before")
    assert limit() == before

    terminal.press("m")
    terminal.wait_for(r"Limits of talker")
    terminal.press("Down", "Down", "Enter")
    terminal.wait_for(r"Limit of processes, talker")
    terminal.press("C-u")
    terminal.type("40")
    terminal.press("Enter")
    terminal.wait_for(r"For 10 min")
    terminal.press("Right", "Right", "Enter")
    terminal.wait_for(r"talker changed for")
    assert "pids.max unlimited" in host.run("revert").stdout
    terminal.press("Z")
    terminal.wait_for(r"talker stays as it is")
    assert limit() == "40" and host.run("revert").stdout.count("talker") == 0


def test_a_freeze_for_a_time_ends_by_itself_or_by_hand(host: Host, open_tui: Opener) -> None:
    run(host, "talker")
    terminal = open_tui()
    terminal.wait_for(r"● talker")
    terminal.press("P")
    terminal.wait_for(r"Freeze talker for")
    terminal.wait_for(r"cgroup\.freeze: 0 -> 1|freezer\.state: THAWED -> FROZEN")
    terminal.press("Enter")
    terminal.wait_for(r"‖ talker")
    assert "thawed" in host.run("revert").stdout
    terminal.wait_for(r"z undo")
    terminal.press("z")
    terminal.wait_for(r"● talker")
    assert "thawed" not in host.run("revert").stdout and statuses(host) == {"talker": "running"}


def test_attach_talks_to_the_first_process_and_detaches(host: Host, open_tui: Opener) -> None:
    host.run("run", "-dit", "--name", "cat", "--network", "none", "base", "cat")
    terminal = open_tui()
    terminal.wait_for(r"● cat")
    terminal.press("a")
    terminal.wait_for(r"attached to cat")
    terminal.type("are you there\n")
    # the terminal of the container says it once, cat says it again
    terminal.wait_for(r"are you there\s+are you there")
    terminal.press("C-p", "C-q")
    terminal.wait_for(r"1 Containers")
    terminal.wait_for(r"● cat")
    assert statuses(host) == {"cat": "running"}
    terminal.press("j", "q")
    assert terminal.exit_status() == 0


def test_what_the_first_process_ends_while_attached_ends_the_attachment_too(host: Host, open_tui: Opener) -> None:
    host.run("run", "-dit", "--name", "cat", "--network", "none", "base", "cat")
    terminal = open_tui()
    terminal.wait_for(r"● cat")
    terminal.press("a")
    terminal.wait_for(r"attached to cat")
    terminal.type("last words\n")
    terminal.wait_for(r"last words\s+last words")
    terminal.press("C-d")
    terminal.wait_for(r"1 Containers")
    terminal.wait_for(r"○ cat.*exited 0")


def test_a_shell_is_followed_when_the_terminal_changes_its_size(host: Host, open_tui: Opener) -> None:
    run(host, "web")
    terminal = open_tui()
    terminal.wait_for(r"● web")
    terminal.press("e")
    terminal.wait_for(r"shell in web")
    terminal.type("stty size\n")
    terminal.wait_for(r"40 120$")
    terminal.resize(100, 30)
    terminal.type("stty size\n")
    terminal.wait_for(r"30 100$")
    terminal.type("exit 7\n")
    terminal.wait_for(r"q quit")
    terminal.wait_for(r"● web")


def test_what_fails_is_said_with_what_to_try_and_nothing_is_left_half_made(host: Host, open_tui: Opener) -> None:
    host.run("create", "--name", "wrong", "--network", "none", "base", "/no/such/program")
    terminal = open_tui()
    terminal.wait_for(r"◌ wrong")
    terminal.press("u")
    screen = terminal.wait_for(r"cannot start wrong")
    assert "/no/such/program" in screen
    terminal.wait_for(r"wrong +.*(failed|created|exited 127)")
    assert host.processes() == []


def test_another_name_and_another_limit_can_be_taken_back(host: Host, open_tui: Opener) -> None:
    run(host, "web", IDLE, "-m", "64m")
    terminal = open_tui()
    terminal.wait_for(r"● web")
    terminal.press("R")
    terminal.wait_for(r"Rename web")
    terminal.type("2")
    terminal.press("Enter")
    terminal.wait_for(r"● web2")
    terminal.press("z")
    terminal.wait_for(r"● web\b")
    terminal.press("m")
    terminal.wait_for(r"Limits of web")
    terminal.press("Enter")
    terminal.wait_for(r"Limit of memory, web")
    terminal.press("C-u")
    terminal.type("96m")
    terminal.press("Enter")
    terminal.wait_for(r"Change web\?")
    terminal.press("Right", "Enter")
    terminal.wait_for(r"limit of memory of web changed")
    assert host.run("inspect", "-f", "{{.HostConfig.Memory}}", "web").stdout.strip() == str(96 << 20)
    terminal.press("z")
    terminal.wait_for(r"limit 64M")
    # the screen shows the kernel's limit, which changes before the record
    eventually(lambda: host.run("inspect", "-f", "{{.HostConfig.Memory}}", "web").stdout.strip() == str(64 << 20))


def test_it_lives_in_any_window_and_finds_its_picture_again(host: Host, open_tui: Opener) -> None:
    run(host, "web")
    terminal = open_tui()
    terminal.wait_for(r"● web")
    for columns, rows in ((80, 24), (60, 15), (40, 10), (20, 4), (10, 2)):
        terminal.resize(columns, rows)
        # no Escape right before a letter: terminals send Alt and the letter as these two
        for key in ("2", "3", "4", "5", "6", "1", "Enter", "]", "?", "?", "j"):
            terminal.press(key)
    terminal.resize(40, 10)
    # on a busy host the keys come faster than screens close, and the last may find the help still there
    terminal.press("Escape")
    terminal.wait_for(r"● web")
    terminal.resize(120, 40)
    screen = terminal.wait_for(r"web( running)? ─ \w+|─  Keys  ─")
    if "─  Keys  ─" in screen:
        terminal.press("Escape")
        screen = terminal.wait_for(r"web( running)? ─ \w+")
    assert "Traceback" not in screen
    terminal.press("q")
    assert terminal.exit_status() == 0


UNPRIVILEGED = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]


def can_run_unprivileged(host: Host) -> bool:
    import subprocess

    argv = [*UNPRIVILEGED, sys.executable, "-c", "import pyctr.tui.main, textual"]
    return subprocess.run(argv, env=host.env, capture_output=True, cwd="/").returncode == 0


def test_without_root_it_says_so_and_shows_what_may_be_seen(host: Host) -> None:
    if not can_run_unprivileged(host):
        pytest.skip("user 65534 may not run this interpreter")
    run(host, "web")
    id = host.run("ps", "-q").stdout.strip()
    env = {**host.env, "HOME": "/nonexistent"}
    argv = [*UNPRIVILEGED, sys.executable, "-m", "pyctr.tui.main"]
    terminal = Terminal(argv, env=env, columns=120, rows=40)
    try:
        terminal.wait_for(r"q quit")
        terminal.wait_for(rf"● {id}")
        screen = terminal.wait_for(r"names, images and logs are root's")
        assert "read-only" in screen
        assert "s stop" not in screen
        terminal.press("s")
        terminal.wait_for(r"nothing is changed from here")
        for digit, word in (("2", "images"), ("4", "volumes"), ("6", "journal")):
            terminal.press(digit)
            terminal.wait_for(rf"the {word} cannot be read")
        terminal.press("5")
        terminal.wait_for(r"not root: ")
        terminal.press("q")
        assert terminal.exit_status() == 0
        assert statuses(host) == {"web": "running"}
    finally:
        terminal.close()


def colours(terminal: Terminal) -> set[str]:
    """Every colour code on the screen: 30-37, 38;..., 90-97 and their backgrounds."""
    import re

    found = set()
    for codes in re.findall(r"\x1b\[([0-9;]*)m", terminal.coloured()):
        words = codes.split(";")
        while words:
            word = words.pop(0)
            if word in ("38", "48"):
                found.add(f"{word};{words[0]}")
                del words[: 4 if words[0] == "2" else 2]
            elif word and (30 <= int(word) <= 49 or 90 <= int(word) <= 107) and word not in ("39", "49"):
                found.add(word)
    return found


def test_no_color_means_none(host: Host, open_tui: Opener) -> None:
    run(host, "web")
    terminal = open_tui(NO_COLOR="1")
    terminal.wait_for(r"● web running")
    assert colours(terminal) == set()


def test_the_theme_of_sixteen_colours_uses_only_the_terminals_own(host: Host, open_tui: Opener) -> None:
    run(host, "web")
    terminal = open_tui("--theme", "sixteen")
    terminal.wait_for(r"● web running")
    found = colours(terminal)
    assert found
    assert not [code for code in found if code.startswith(("38", "48"))]


def test_killed_without_a_word_it_still_gives_the_terminal_back(host: Host) -> None:
    before, after = f"{host.base}/before", f"{host.base}/after"
    program = f"'{sys.executable}' -m pyctr.tui.main"
    script = f"stty -g > {before}; {program}; cat -; stty -g > {after}; echo looked; cat"
    terminal = Terminal(["bash", "-c", script], env=host.env, cwd=REPOSITORY)
    try:
        terminal.wait_for(r"q quit")
        shell = terminal.pid()
        with open(f"/proc/{shell}/task/{shell}/children") as file:
            [child] = file.read().split()
        os.kill(int(child), 9)
        terminal.wait_for(r"^pyctr-tui was killed")  # on the normal screen again
        assert "q quit" not in terminal.screen()
        terminal.type("typed\n")
        terminal.wait_for(r"^typed\ntyped")  # echo, and line by line
        terminal.press("C-d")
        terminal.wait_for(r"^looked")
        with open(before) as one, open(after) as two:
            assert one.read() == two.read()
        assert terminal.mouse() == "0"
    finally:
        terminal.close()


def test_keys_of_the_users_own_work_and_a_clash_is_said_at_the_start(host: Host, open_tui: Opener) -> None:
    import subprocess

    run(host, "web")
    folder = f"{host.base}/config/pyctr"
    os.makedirs(folder)
    with open(f"{folder}/keys.toml", "w") as file:
        file.write('[containers]\nstop = "x"\n')
    terminal = open_tui(XDG_CONFIG_HOME=f"{host.base}/config")
    terminal.wait_for(r"x stop")
    terminal.press("x")
    terminal.wait_for(r"Stop web\?")
    terminal.press("Escape")

    with open(f"{folder}/keys.toml", "w") as file:
        file.write('[containers]\nstop = "d"\n')
    argv = [sys.executable, "-m", "pyctr.tui.main", "--once"]
    env = {**host.env, "XDG_CONFIG_HOME": f"{host.base}/config"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 2
    assert "'d' is both containers.stop and containers.remove" in done.stderr
