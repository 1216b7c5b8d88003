"""The README, followed to the letter in a fresh clone: every command of it, in its order."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.support import registry as registries
from tests.support.host import REPOSITORY, Host
from tests.support.registry import PASSWORD, USER, Registry
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
    first, down, tour, _, last = blocks()
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
        line = line.replace("8081:80", f"{port}:80")
        done = subprocess.run(line, shell=True, cwd=here, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        said += done.stdout
        if f"{port}:80" in line:
            assert page(port) == b"it works\n"
    assert "hello from a container\n" in said


@registries.needed
def test_images_move_as_the_readme_says(bare_host: Host, tmp_path: Path) -> None:
    """Two registries of this host play docker.io and the user's own, which wants a login."""
    images = blocks()[3]
    env = bare_host.env | {"PATH": f"{Path(sys.executable).parent}:{bare_host.env['PATH']}", "HOME": str(tmp_path)}
    for name in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "REGISTRY_AUTH_FILE", "DOCKER_CONFIG"):
        env.pop(name, None)
    settings = tmp_path / "registries.conf"
    env["CONTAINERS_REGISTRIES_CONF"] = str(settings)
    with Registry(tmp_path / "public") as public, Registry(tmp_path / "own", tls=True, password=True) as own:
        settings.write_text(f'[[registry]]\nprefix = "docker.io"\nlocation = "{public.name}"\ninsecure = true\n')
        env["SSL_CERT_FILE"] = str(tmp_path / "own/ca.crt")
        bare_host.run("push", "localhost/base", f"{public.name}/library/alpine:latest")
        for line in images:
            line = line.replace("registry.example.com", own.name)
            screen = Terminal(["sh", "-c", line], env=env, cwd=tmp_path)
            try:
                if " login " in line:
                    for question, answer in (("Username", USER), ("Password", PASSWORD)):
                        screen.wait_for(f"{question}:")
                        screen.type(f"{answer}\n")
                assert screen.exit_status(seconds=60) == 0, f"{line}\n{screen.screen()}"
            finally:
                screen.close()
    assert (tmp_path / "own/data/docker/registry/v2/repositories/team/mine/_manifests/tags/1").is_dir()
    assert (tmp_path / "mine.tar").stat().st_size > 0
    bare_host.run("rm", "tools")
    assert bare_host.census() == {}
