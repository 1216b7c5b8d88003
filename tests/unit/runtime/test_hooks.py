"""Hooks get the state, only their own environment, and a limited time; their failures name the field."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from pyctr.core import errors
from pyctr.core.runtime import hooks

STATE = hooks.state("1.2.0", "web", "creating", 42, "/bundle", {"a": "b"})


def shell(script: str, **fields: Any) -> dict[str, Any]:
    return {"path": "/bin/sh", "args": ["sh", "-c", script], **fields}


def test_hooks_read_the_state_in_their_order_and_directory(tmp_path: Path) -> None:
    hooks.run([shell("cat > one; echo 1 > order"), shell("pwd > two; echo 2 >> order")], STATE, directory=str(tmp_path))
    assert json.loads((tmp_path / "one").read_text()) == {
        "ociVersion": "1.2.0",
        "id": "web",
        "status": "creating",
        "pid": 42,
        "bundle": "/bundle",
        "annotations": {"a": "b"},
    }
    assert (tmp_path / "two").read_text().strip() == str(tmp_path)
    assert (tmp_path / "order").read_text() == "1\n2\n"


def test_a_hook_has_only_its_own_environment_and_no_descriptor(tmp_path: Path) -> None:
    leaked = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    try:
        hooks.run(
            [shell("env > e; exec ls /proc/self/fd > f", env=["K=v=w", "PATH=/bin:/usr/bin"])],
            STATE,
            directory=str(tmp_path),
        )
    finally:
        os.close(leaked)
    seen = dict(line.split("=", 1) for line in (tmp_path / "e").read_text().splitlines())
    assert seen.pop("K") == "v=w"
    assert set(seen) <= {"PATH", "PWD", "SHLVL", "_"}
    # ls has 3 for its listing
    assert sorted((tmp_path / "f").read_text().split()) == ["0", "1", "2", "3"]


def test_without_args_the_path_is_the_only_argument(tmp_path: Path) -> None:
    program = tmp_path / "hook"
    program.write_text(f'#!/bin/sh\necho "$#$0" > {tmp_path}/out\n')
    program.chmod(0o755)
    hooks.run([{"path": str(program)}], STATE)
    assert (tmp_path / "out").read_text().strip() == f"0{program}"


def test_a_failure_stops_the_rest_and_tells_which_one_and_what_it_said(tmp_path: Path) -> None:
    script = [shell("true"), shell("echo out; echo no such net >&2; exit 3"), shell("touch later")]
    with pytest.raises(errors.RuntimeFailure) as caught:
        hooks.run(script, STATE, name="createRuntime", directory=str(tmp_path))
    assert caught.value.message == "hooks.createRuntime[1]: '/bin/sh' failed with exit code 3: out; no such net"
    assert not (tmp_path / "later").exists()


def test_with_warn_the_rest_runs(tmp_path: Path) -> None:
    said: list[str] = []
    hooks.run(
        [{"path": "/nowhere/hook"}, shell("kill -9 $$"), shell("touch later")],
        STATE,
        name="poststop",
        directory=str(tmp_path),
        warn=said.append,
    )
    assert said == [
        "hooks.poststop[0]: cannot run '/nowhere/hook': no such file or directory",
        "hooks.poststop[1]: '/bin/sh' failed with signal 9",
    ]
    assert (tmp_path / "later").exists()


def test_a_timeout_ends_the_hook_and_its_children(tmp_path: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(errors.RuntimeFailure, match=r"hooks.prestart\[0\]: '/bin/sh' did not end within 1 s"):
        hooks.run(
            [shell("sleep 1000 & echo $! > pid; wait", timeout=1)], STATE, name="prestart", directory=str(tmp_path)
        )
    assert time.monotonic() - begin < 100
    child = int((tmp_path / "pid").read_text())
    for _ in range(200):
        try:
            state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.01)
    raise AssertionError(f"{child} still runs")


def test_a_hook_that_reads_nothing_and_leaves_a_daemon_does_not_hold_us_up(tmp_path: Path) -> None:
    large = {**STATE, "annotations": {"x": "y" * 300_000}}
    hooks.run([shell("sleep 5 & echo $! > pid")], large, directory=str(tmp_path))
    os.kill(int((tmp_path / "pid").read_text()), 9)


def test_a_state_larger_than_a_pipe_arrives_whole(tmp_path: Path) -> None:
    large = {**STATE, "annotations": {"x": "y" * 300_000}}
    hooks.run([shell("cat > got")], large, directory=str(tmp_path))
    assert json.loads((tmp_path / "got").read_text()) == large
