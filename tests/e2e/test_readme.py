"""The README, followed to the letter in a fresh clone: every command of it, in its order."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.support.host import REPOSITORY, Host
from tests.support.terminal import Terminal


def blocks() -> list[list[str]]:
    """The shell blocks of the README, each a list of commands."""
    text = (REPOSITORY / "README.md").read_text()
    return [block.strip().splitlines() for block in re.findall(r"```sh\n(.*?)```", text, re.S)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def page(port: int) -> bytes:
    """What the web server says, as soon as it listens: a container is running before its program is ready."""
    deadline = time.monotonic() + 10
    while True:
        try:
            with urllib.request.urlopen(f"http://localhost:{port}/", timeout=5) as answer:
                return bytes(answer.read())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)  # nobody tells when a program inside listens


@pytest.mark.timeout(420)
def test_a_newcomer_gets_from_clone_to_live_containers_and_back(bare_host: Host) -> None:
    first, down, tour, last = blocks()
    assert last == ["make test"]  # which is this very run
    clone, enter, run = first
    assert (enter, run) == ("cd pyctr", "make run")
    base = Path(bare_host.base)
    words = clone.replace("REPOSITORY", str(REPOSITORY)).split()
    subprocess.run(words, cwd=base, check=True, capture_output=True)
    here = base / "pyctr"
    # what the working tree has beyond the last commit belongs to what is being tested
    for name in ("README.md", "Makefile", "pyproject.toml", "tools", "core", "cli", "tui", "themes"):
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        more = {"dirs_exist_ok": True} if copy is shutil.copytree else {}
        copy(REPOSITORY / name, here / name, **more)  # type: ignore[operator]
    env = {key: value for key, value in bare_host.env.items() if not key.startswith("PYTHON")}

    screen = Terminal(["sh", "-c", f"{run}; echo made and left"], env=env, cwd=here)
    try:
        seen = screen.wait_for(r"● demo-web +\S+ +\d", seconds=300)
        for name in ("demo-client", "demo-cpu", "demo-memory"):
            assert f"● {name}" in seen
        assert "Overview" in seen and "limit" in seen
        screen.press("q")
        screen.wait_for("made and left")
    finally:
        screen.close()

    for line in down:
        subprocess.run(line, shell=True, cwd=here, env=env, check=True, capture_output=True, timeout=60)
    assert bare_host.census() == {}

    port = free_port()
    env["PATH"] = f"{here}/.venv/bin:{env['PATH']}"
    said = ""
    for line in tour:
        line = line.replace("8080:80", f"{port}:80")
        done = subprocess.run(line, shell=True, cwd=here, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        said += done.stdout
        if f"{port}:80" in line:
            assert page(port) == b"it works\n"
    assert "hello from a container\n" in said
