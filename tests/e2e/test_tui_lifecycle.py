"""The real TUI in a real terminal: a container from nothing to gone by keys, and a terminal left as it was."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.host import Host
from tests.support.terminal import Terminal

COMMAND = [sys.executable, "-m", "pyctr.tui.main"]


@pytest.fixture
def screens() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()


@pytest.mark.parametrize(("columns", "rows"), [(120, 40), (80, 24)])
def test_a_container_from_nothing_to_gone_by_keys(host: Host, screens: list[Terminal], columns: int, rows: int) -> None:
    terminal = Terminal(COMMAND, env=host.env, columns=columns, rows=rows)
    screens.append(terminal)

    terminal.wait_for(r"q quit")
    terminal.press("n")
    terminal.wait_for(r"Create and start")
    terminal.type("life")
    terminal.press("Tab")
    terminal.type("""sh -c "trap 'exit 3' TERM; while :; do sleep 1; done" """)
    terminal.press("Tab", "Tab", "Tab", "Tab")
    terminal.type("none")
    terminal.wait_for(r"nothing is made yet")
    assert host.run("ps", "-aq").stdout == ""
    terminal.press("C-s")
    terminal.wait_for(r"◌ life")
    assert status(host) == "created"

    terminal.press("u")
    terminal.wait_for(r"● life")
    assert status(host) == "running"

    terminal.press("p")
    terminal.wait_for(r"‖ life")
    assert status(host) == "paused"

    terminal.press("p")
    terminal.wait_for(r"● life")
    assert status(host) == "running"

    terminal.press("s")
    terminal.wait_for(r"Stop life")
    terminal.press("Right", "Enter")
    terminal.wait_for(r"○ life.*exited 3")
    assert status(host) == "exited"

    terminal.press("d")
    terminal.wait_for(r"Remove .*life")
    terminal.press("Enter")  # the default is Cancel
    terminal.wait_for(r"Remove .*life", gone=True)
    assert status(host) == "exited"

    terminal.press("d")
    terminal.wait_for(r"Remove .*life")
    terminal.press("Right", "Enter")
    terminal.wait_for(r"○ life", gone=True)
    assert host.run("ps", "-aq").stdout == ""
    assert host.census() == {}

    terminal.press("q")
    assert terminal.exit_status() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("when", ["● stays", "Overview"])
def test_a_signal_leaves_the_terminal_as_it_was_and_containers_running(
    host: Host, screens: list[Terminal], number: signal.Signals, when: str
) -> None:
    """`when`: on the first frame, before Textual has taken over, and in the running app."""
    host.run("run", "-d", "--name", "stays", "--network", "none", "localhost/base", "sleep", "60")
    script = f"{host.base}/script"
    words = f"stty -g > {script}.before; {' '.join(COMMAND)}; stty -g > {script}.after; echo back; cat"
    terminal = Terminal(["bash", "-c", words], env=host.env)
    screens.append(terminal)
    terminal.wait_for(when)
    [child] = Path(f"/proc/{terminal.pid()}/task/{terminal.pid()}/children").read_text().split()
    os.kill(int(child), number)
    terminal.wait_for(r"^back$")
    assert Path(f"{script}.after").read_text() == Path(f"{script}.before").read_text()
    assert status(host, "stays") == "running"


def status(host: Host, name: str = "life") -> str:
    return host.run("inspect", "-f", "{{.State.Status}}", name).stdout.strip()
