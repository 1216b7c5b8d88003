"""A real terminal for end-to-end tests: a program in a tmux server of its own, driven by keys, read as text."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


class Terminal:
    """One tmux pane of a given size, on a private socket, without anybody's configuration."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        env: Mapping[str, str],
        columns: int = 120,
        rows: int = 40,
        cwd: Path | None = None,
    ) -> None:
        self.socket = f"pyctr-test-{secrets.token_hex(4)}"
        self.env = {key: value for key, value in env.items() if key != "TMUX"} | {"COLORTERM": "truecolor"}
        self._tmux(
            *("-f", "/dev/null", "set-option", "-g", "default-terminal", "tmux-256color", ";"),
            *("set-option", "-g", "remain-on-exit", "on", ";"),
            *("new-session", "-d", "-x", str(columns), "-y", str(rows)),
            *(("-c", str(cwd)) if cwd else ()),
            *words,
        )

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self.socket, *words], capture_output=True, text=True, timeout=60, env=self.env
        )
        if done.returncode:
            raise RuntimeError(f"tmux {words[0]}: {done.stderr.strip()}")
        return done.stdout

    def screen(self) -> str:
        """What a person would see now, one line per row."""
        return self._tmux("capture-pane", "-p")

    def coloured(self) -> str:
        """The same with its escape sequences of colours and attributes."""
        return self._tmux("capture-pane", "-p", "-e")

    def mouse(self) -> str:
        """Whether the program asks for mouse events: "1" or "0"."""
        return self._tmux("display-message", "-p", "#{mouse_any_flag}").strip()

    def press(self, *keys: str) -> None:
        """Keys in tmux's names: "j", "Enter", "Escape", "C-c"."""
        self._tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)

    def wait_for(self, pattern: str, *, seconds: float = 60, gone: bool = False) -> str:
        """The screen as soon as a regular expression is on it (or no longer is)."""
        deadline = time.monotonic() + seconds
        while True:
            screen = self.screen()
            if bool(re.search(pattern, screen, re.M)) is not gone:
                return screen
            if time.monotonic() > deadline:
                raise AssertionError(f"{pattern!r} {'stayed on' if gone else 'never came to'} the screen:\n{screen}")
            time.sleep(0.05)  # tmux announces no redraw

    def resize(self, columns: int, rows: int) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def exit_status(self, *, seconds: float = 60) -> int:
        """The program's exit code once it has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            said = self._tmux("display-message", "-p", "#{pane_dead} #{pane_dead_status} #{pane_pid}")
            dead, status, pid = said.rstrip("\n").split(" ")
            if status:
                return int(status)
            if dead == "1":
                # tmux 3.3 may never collect its child; proc_pid_stat(5) ends with the wait status
                with contextlib.suppress(FileNotFoundError):  # collected just now: tmux knows the status next time
                    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                    if fields[0] == "Z":
                        return os.waitstatus_to_exitcode(int(fields[-1]))
            time.sleep(0.05)  # tmux announces no exit to a plain client
        raise AssertionError(f"still running:\n{self.screen()}")

    def wait_dead(self, *, seconds: float = 60) -> None:
        """Until the program has ended, however: what it leaves on the screen says little about that."""
        deadline = time.monotonic() + seconds
        while self._tmux("display-message", "-p", "#{pane_dead}").strip() != "1":
            assert time.monotonic() < deadline, f"still running:\n{self.screen()}"
            time.sleep(0.05)  # tmux announces no exit to a plain client

    def pid(self) -> int:
        return int(self._tmux("display-message", "-p", "#{pane_pid}"))

    def close(self) -> None:
        subprocess.run(["tmux", "-L", self.socket, "kill-server"], capture_output=True)
