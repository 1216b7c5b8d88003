"""Hooks of config.json: where each kind runs, when, with which state, and what its failure does."""

from __future__ import annotations

import json
import os
import stat
from typing import Any

import pytest

from tests.support.oci import Oci

LOG = "cat > {log}.{name}; {{ readlink /proc/self/ns/mnt /proc/self/ns/uts; pwd; hostname; }} > {log}.{name}.where"


def hook(oci: Oci, name: str, script: str = "", **fields: Any) -> dict[str, Any]:
    log = str(oci.path / "hook")
    return {
        "path": "/bin/sh",
        "args": ["sh", "-c", LOG.format(log=log, name=name) + ("; " + script if script else "")],
        "env": ["PATH=/bin:/usr/bin"],
        **fields,
    }


def state(oci: Oci, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((oci.path / f"hook.{name}").read_text())
    return document


def where(oci: Oci, name: str) -> list[str]:
    return (oci.path / f"hook.{name}.where").read_text().split()


def test_hooks_of_create_run_in_their_namespaces_with_their_state(oci: Oci) -> None:
    config = oci.config("sh", "-c", "readlink /proc/self/ns/mnt; readlink /proc/self/ns/uts")
    config["annotations"] = {"com.example": "yes"}
    config["hooks"] = {name: [hook(oci, name)] for name in ("prestart", "createRuntime", "createContainer")}
    done = oci.run_config(config)
    assert done.returncode == 0, done.stderr
    inside = done.stdout.split()
    host = [os.readlink("/proc/self/ns/mnt"), os.readlink("/proc/self/ns/uts")]
    for name in ("prestart", "createRuntime"):
        assert where(oci, name)[:2] == host
        found = state(oci, name)
        assert found.pop("pid") > 1
        assert found == {
            "ociVersion": "1.2.0",
            "id": "one",
            "status": "creating",
            "bundle": str(oci.path),
            "annotations": {"com.example": "yes"},
        }
    assert where(oci, "createContainer")[:2] == inside
    assert where(oci, "createContainer")[3] == "inside"
    assert state(oci, "createContainer")["pid"] == 1
    assert state(oci, "createContainer")["status"] == "creating"


def test_hooks_of_the_host_find_the_container_by_its_pid_with_everything_mounted(oci: Oci) -> None:
    (oci.path / "data").mkdir()
    (oci.path / "data/here").write_text("")
    config = oci.config("cat", "/made")
    config["mounts"].append(oci.mount("/data", "bind", "data", "bind"))
    see = f"pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/' {oci.path}/hook.createRuntime);"
    see += f" grep -c ' {oci.rootfs}/data ' /proc/$pid/mountinfo > {oci.path}/mounted; echo by-hook > {oci.rootfs}/made"
    config["hooks"] = {"createRuntime": [hook(oci, "createRuntime", see)]}
    done = oci.run_config(config)
    assert (done.returncode, done.stdout) == (0, "by-hook\n"), done.stderr
    assert (oci.path / "mounted").read_text() == "1\n"


def test_hooks_run_in_the_order_of_the_specification(oci: Oci) -> None:
    config = oci.config("true")
    order = oci.path / "order"
    config["hooks"] = {
        name: [hook(oci, name, f"echo {name}{number} >> {order}") for number in (1, 2)]
        for name in ("createContainer", "createRuntime", "prestart")
    }
    assert oci.run_config(config).returncode == 0
    assert order.read_text().split() == [
        f"{name}{number}" for name in ("prestart", "createRuntime", "createContainer") for number in (1, 2)
    ]


def test_start_hooks_run_inside_after_start(oci: Oci) -> None:
    config = oci.config("cat", "/said")
    config["hooks"] = {
        "startContainer": [
            {
                "path": "/bin/sh",
                "args": ["sh", "-c", "cat > /state; echo $$ $KEY > /said; ls /proc/self/fd > /fds"],
                "env": ["PATH=/bin", "KEY=v"],
            }
        ]
    }
    oci.write(config)
    assert oci.cli("create", "--bundle", str(oci.path), "one").returncode == 0
    assert not (oci.rootfs / "said").exists()
    assert oci.cli("start", "one").returncode == 0
    oci.cli("delete", "--force", "one")
    found = json.loads((oci.rootfs / "state").read_text())
    assert (found["status"], found["pid"], found["id"]) == ("created", 1, "one")
    assert (oci.rootfs / "said").read_text().split()[1] == "v"
    assert sorted((oci.rootfs / "fds").read_text().split())[:3] == ["0", "1", "2"]


@pytest.mark.parametrize("name", ["prestart", "createRuntime", "createContainer", "startContainer"])
def test_a_failing_hook_stops_the_container_and_says_why(oci: Oci, name: str) -> None:
    if name == "startContainer":
        bad: dict[str, Any] = {"path": "/bin/sh", "args": ["sh", "-c", "echo no luck >&2; exit 7"]}
    else:
        bad = hook(oci, name, "echo no luck >&2; exit 7")
    config = oci.config("sh", "-c", "echo ran > /ran")
    config["hooks"] = {name: [bad, {"path": "/bin/sh", "args": ["sh", "-c", f"touch {oci.path}/later"]}]}
    done = oci.run_config(config)
    assert done.returncode != 0
    assert f"hooks.{name}[0]: '/bin/sh' failed with exit code 7: no luck" in done.stderr
    assert not (oci.rootfs / "ran").exists() and not (oci.path / "later").exists()
    assert oci.cli("list", "-q").stdout == ""


def test_a_hook_has_its_timeout(oci: Oci) -> None:
    config = oci.config("true")
    config["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}]}
    done = oci.run_config(config)
    assert done.returncode != 0
    assert "hooks.createRuntime[0]: '/bin/sleep' did not end within 1 s" in done.stderr


def test_a_hook_can_make_a_device_that_the_container_sees(oci: Oci) -> None:
    """What GPU hooks do: work on the rootfs that is mounted, before it becomes the root."""
    config = oci.config("sh", "-c", "ls -l /dev/extra")
    config["hooks"] = {
        "createContainer": [{"path": "/bin/mknod", "args": ["mknod", "dev/extra", "c", "1", "3"], "env": []}]
    }
    done = oci.run_config(config)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("c")
    assert not stat.S_ISCHR(os.lstat(oci.rootfs / "dev").st_mode)
