"""Other engines are told by their own command line: which, when, and for how long it is waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyctr.core import errors
from pyctr.core.engines import acting
from pyctr.core.engines.model import Foreign

ID = "a" * 64


@pytest.fixture
def store(tmp_path: Path) -> str:
    (tmp_path / ID).mkdir()
    return os.path.realpath(tmp_path / ID)


def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> Path:
    """A command in front of all others; what it is told is in the file that is returned."""
    told = tmp_path / "told"
    (tmp_path / "bin").mkdir(exist_ok=True)
    (tmp_path / "bin" / name).write_text(f'#!/bin/sh\necho "$*" >> {told}\n{script}\n')
    (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return told


def test_the_command_is_the_engines_own(store: str) -> None:
    docker = Foreign("docker", ID, "web", store=store, words=("docker", "-H", "unix:///d.sock"))
    assert acting.command(docker, "stop", "-t", "5") == ["docker", "-H", "unix:///d.sock", "stop", "-t", "5", ID]
    assert acting.command(docker, "remove", "-f")[3:] == ["rm", "-f", ID]
    lxc = Foreign("lxc", ID, ID, store=store)
    assert acting.command(lxc, "start") == ["lxc-start", "-P", os.path.dirname(store), "-n", ID, "-d"]
    assert acting.command(lxc, "stop")[-2:] == ["-t", "10"] and acting.command(lxc, "stop", "-t", "0")[-1] == "-k"
    machine = Foreign("nspawn", "db", "db", store=store)
    assert acting.command(machine, "stop") == ["machinectl", "poweroff", "db"]


@pytest.mark.parametrize(("engine", "verb"), [("kubernetes", "stop"), ("oci", "remove"), ("docker", "pause")])
def test_what_is_not_for_us_to_ask_is_not_asked(engine: str, verb: str, store: str) -> None:
    with pytest.raises(errors.Unsupported):
        acting.command(Foreign(engine, ID, "web", store=store, words=("docker",)), verb)


def test_records_that_others_may_change_are_not_acted_on(tmp_path: Path, store: str) -> None:
    """A store of somebody else's may say which program is to be started."""
    link = tmp_path / "link"
    link.symlink_to(store)
    open_to_all = tmp_path / "open"
    (open_to_all / ID).mkdir(parents=True)
    open_to_all.chmod(0o777)
    for where in (str(link), str(open_to_all / ID), "", "relative"):
        with pytest.raises(errors.PermissionDenied):
            acting.command(Foreign("podman", ID, "web", store=where, words=("podman",)), "start")
    if os.geteuid() == 0:
        os.chown(store, 1000, 1000)
        with pytest.raises(errors.PermissionDenied):
            acting.command(Foreign("podman", ID, "web", store=store, words=("podman",)), "start")


def test_an_engine_that_does_not_answer_is_given_up_before_anything_is_done(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = program(tmp_path, monkeypatch, "docker", "exec sleep 1000")
    monkeypatch.setattr(acting, "ANSWER", 0.2)
    with pytest.raises(errors.PyctrError, match="docker does not answer"):
        acting.act(Foreign("docker", ID, "web", store=store, words=("docker",)), "stop")
    assert "stop" not in told.read_text()


def test_what_the_engine_says_is_said(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, "docker", 'case "$1" in stop) echo "no such thing" >&2; exit 1;; esac')
    with pytest.raises(errors.PyctrError, match="cannot stop 'web': no such thing"):
        acting.act(Foreign("docker", ID, "web", store=store, words=("docker",)), "stop")
    acting.act(Foreign("docker", ID, "web", store=store, words=("docker",)), "start")
