"""Keys of the images screen on a real store, in a real terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core.engine import Engine
from pyctr.core.images.push import push
from pyctr.core.paths import Paths
from tests.support import registry as registries
from tests.support.host import REPOSITORY, Host
from tests.support.images import image, member
from tests.support.registry import Registry
from tests.support.terminal import Terminal


@pytest.fixture
def terminal(bare_host: Host) -> Iterator[Terminal]:
    """The images screen, with a base image that one container uses."""
    bare_host.run("create", "--name", "web", "--network", "none", "base", "sleep", "60")
    argv = [sys.executable, "-m", "pyctr.tui.main"]
    terminal = Terminal(argv, env=bare_host.env, columns=120, rows=40, cwd=REPOSITORY)
    try:
        terminal.wait_for(r"q quit")
        terminal.press("2")
        terminal.wait_for(r"◆ localhost/base:latest")
        yield terminal
    finally:
        terminal.close()


def names(host: Host) -> list[str]:
    return sorted(host.run("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split())


def test_a_path_is_found_in_its_layer_with_its_file(terminal: Terminal) -> None:
    terminal.type("/etc/pass")
    terminal.press("Enter")
    screen = terminal.wait_for(r"skeleton.*1 hit")
    assert "busybox" not in screen.split("skeleton")[0]
    terminal.wait_for(r"\+ passwd")
    terminal.press("Tab")
    terminal.wait_for(r"from 1 skeleton")
    terminal.press("G")
    terminal.press("Enter")
    terminal.wait_for(r"1 root:x:0:0")
    terminal.press("Escape")
    terminal.wait_for(r"from 1 skeleton")
    terminal.press("Escape")
    terminal.press("Escape")
    terminal.wait_for(r"● web|◌ web")


def test_another_name_and_the_removal_of_what_nobody_uses(bare_host: Host, terminal: Terminal) -> None:
    terminal.press("j", "j")  # the layers it is made of come first
    terminal.wait_for(r"t tag")
    terminal.press("t")
    terminal.wait_for(r"Another name for localhost/base:latest")
    terminal.type("Not A Name")
    terminal.press("Enter")
    terminal.wait_for(r"Not A Name")
    assert names(bare_host) == ["localhost/base:latest"]
    terminal.press("C-u")
    terminal.type("mine:1")
    terminal.press("Enter")
    terminal.wait_for(r"is also mine:1")
    assert len(names(bare_host)) == 2
    # one image, used under either name: nothing is unused
    assert "P prune" not in terminal.screen()

    bare_host.run("rm", "web")
    terminal.wait_for(r"P prune")
    terminal.press("P")
    terminal.wait_for(r"that nobody uses\?")
    terminal.press("Enter")  # Cancel is the default
    terminal.wait_for(r"that nobody uses\?", gone=True)
    assert len(names(bare_host)) == 2
    terminal.press("P")
    terminal.wait_for(r"that nobody uses\?")
    terminal.press("Right", "Enter")
    terminal.wait_for(r"no images yet")
    assert names(bare_host) == []


@registries.needed
def test_an_image_is_pulled_with_progress_and_a_wrong_name_is_said(
    bare_host: Host, terminal: Terminal, tmp_path: Path
) -> None:
    with Registry(tmp_path / "registry") as registry:
        made = Engine(Paths(root=str(tmp_path / "made"), run=str(tmp_path / "run")))
        image(made.images, "app:1", [[member("etc/"), member("etc/app", "x" * 50_000)], [member("top", "y")]])
        push(made.images, "app:1", f"{registry.name}/acme/app:1")
        terminal.press("p")
        terminal.wait_for(r"Pull an image")
        terminal.type(f"{registry.name}/acme/nothing")
        terminal.press("Enter")
        terminal.wait_for(r"Enter tries again")
        assert "nothing" in terminal.screen()
        terminal.press("C-u")
        terminal.type(f"{registry.name}/acme/app:1")
        terminal.press("Enter")
        terminal.wait_for(r"pulled .*/acme/app:1")
        terminal.wait_for(r"◆ .*acme/app:1|◆ 127\.0\.0\.1")
    assert f"{registry.name}/acme/app:1" in names(bare_host)
