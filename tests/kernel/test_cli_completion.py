"""The Tab key in real shells: bash and zsh at a terminal, fish by its own `complete -C`."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.host import Host

PROMPT = "ready>"
ASK = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config"],
}
SETUP = {
    "bash": "bind 'set show-all-if-ambiguous on'; bind 'set page-completions off'; source <(pyctr completion bash)",
    # a listing below the line, never a question, never a menu that goes on by itself
    "zsh": "autoload -Uz compinit; compinit -D -u; LISTMAX=0; setopt no_auto_menu no_always_last_prompt; "
    "source <(pyctr completion zsh)",
}


class Shell:
    """An interactive shell at a terminal of its own."""

    def __init__(self, name: str, env: dict[str, str]) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(ASK[name][0], ASK[name], {**env, "PS1": PROMPT, "PROMPT": PROMPT, "TERM": "dumb"})
        self.read_until(PROMPT)
        self.type(f"{SETUP[name]}; stty columns 200; echo set''up\n")
        self.read_until("setup\r\n", PROMPT)

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def read_until(self, *wanted: str) -> str:
        """What was printed until all of `wanted` have been, one after the other."""
        said, deadline = "", time.monotonic() + 60
        pattern = re.compile(".*".join(map(re.escape, wanted)), re.S)
        while not pattern.search(said):
            ready, _, _ = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"waiting for {wanted}, there was only {said!r}"
            said += os.read(self.fd, 1 << 16).decode(errors="replace")
        return said

    def close(self) -> None:
        os.close(self.fd)
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)


@pytest.fixture
def env(host: Host, tmp_path: Path) -> dict[str, str]:
    """Three containers, and `pyctr` as a command."""
    command = tmp_path / "bin" / "pyctr"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m pyctr "$@"\n')
    command.chmod(0o755)
    for name in ("web-front", "web-back"):
        host.run("create", "--name", name, "base")
    host.run("run", "-d", "--name", "web-alive", "--network", "none", "base", "sleep", "1000")
    (tmp_path / "variables.env").write_text("A=1\n")
    return {**host.env, "PATH": f"{command.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}


@pytest.fixture(params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest, env: dict[str, str]) -> Iterator[Shell]:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    shell = Shell(request.param, env)
    yield shell
    shell.close()


def test_tab_at_a_terminal(shell: Shell, tmp_path: Path) -> None:
    # the only verb, and the only flag: written out on the line
    shell.type("pyctr unpa\t")
    shell.read_until("use")
    shell.type("\x15pyctr run --publish-a\t")
    shell.read_until("ll")
    # several: listed below it
    shell.type("\x15pyctr st\t\t")
    shell.read_until("start", "stats", "stop")
    # containers, and only those that the verb may be asked of
    shell.type("\x15pyctr start web-\t\t")
    said = shell.read_until("web-front", "web-back")
    assert "web-alive" not in said
    shell.type("\x15pyctr stop web\t")
    shell.read_until("-alive")
    # the value of a flag, also behind a '=', where bash cuts the word
    shell.type("\x15pyctr run --pull n\t")
    shell.read_until("ever")
    shell.type("\x15pyctr run --pull=mi\t")
    shell.read_until("ssing")
    shell.type("\x15pyctr run --network container:web\t")
    shell.read_until("-alive")
    # members of groups, and paths
    shell.type("\x15pyctr volume prun\t")
    shell.read_until("e ")
    shell.type(f"\x15pyctr run --env-file {tmp_path}/vari\t")
    shell.read_until("ables.env")


def fish(env: dict[str, str], line: str) -> dict[str, str]:
    """What fish offers for a line: word -> help."""
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    done = subprocess.run(
        [*ASK["fish"], "-c", 'pyctr completion fish | source; complete -C "$argv[1]"', line],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    return dict(re.findall(r"^([^\t\n]+)\t?(.*)$", done.stdout, re.M))


def test_fish_offers_the_same(env: dict[str, str], tmp_path: Path) -> None:
    assert fish(env, "pyctr st") == {
        "start": "start created or stopped containers",
        "stats": "live use of resources",
        "stop": "stop containers: the stop signal, then SIGKILL after the timeout",
    }
    assert set(fish(env, "pyctr start web")) == {"web-front", "web-back"}
    assert fish(env, "pyctr stop ") == {"web-alive": "running, base"}
    assert "--publish-all" in fish(env, "pyctr run --pub")
    assert set(fish(env, "pyctr run --pull ")) == {"always", "missing", "never"}
    assert set(fish(env, "pyctr run --pull=n")) == {"--pull=never"}
    assert set(fish(env, "pyctr volume ")) == {"create", "inspect", "ls", "prune", "rm"}
    assert fish(env, "pyctr exec web-alive ") == {}
    assert set(fish(env, f"pyctr run --env-file {tmp_path}/vari")) == {f"{tmp_path}/variables.env"}


def test_names_are_those_of_the_root_on_the_line(host: Host, env: dict[str, str], tmp_path: Path) -> None:
    def offered(*words: str) -> str:
        return host.run("__complete", "--", *words).stdout

    assert "web-front" in offered("rm", "")
    assert offered("--root", str(tmp_path / "empty"), "rm", "") == ""
    assert not (tmp_path / "empty").exists()
