"""What real containers really have, as `pyctr posture` reads it from the kernel."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pyctr.core.runtime import ops_labels
from tests.kernel.lifecycle_help import eventually
from tests.support.host import Host


def posture(host: Host, name: str) -> dict[str, dict[str, Any]]:
    """By kind the worst finding, without what is well."""
    lines = host.run("posture", "--format", "json", name).stdout.splitlines()
    found = [json.loads(line) for line in reversed(lines)]
    return {finding["Kind"]: finding for finding in found if finding["Level"] != "good"}


def test_a_tight_container_has_nothing_bad_and_an_open_one_everything(host: Host, tmp_path: Path) -> None:
    tight = "--user 1000 --read-only --cap-drop all -m 64m --pids-limit 50 --cpus 0.5"
    host.run("run", "-d", "--network", "none", "--name", "tight", *tight.split(), "localhost/base", "sleep", "1000")
    assert posture(host, "tight").keys() == {"image"}

    (tmp_path / "data").mkdir()
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(tmp_path / "docker.sock"))
        mounts = [
            "-v",
            f"{tmp_path}/data:/data",
            "-v",
            f"{tmp_path}/docker.sock:/s.sock:ro",
            "-v",
            "/etc:/host",
            "-v",
            "vol:/v",
        ]
        flags = [
            "--network",
            "host",
            "--pid",
            "host",
            "--privileged",
            "-e",
            "DB_PASSWORD=hunter2",
            "-e",
            "A_TOKEN_FILE=/x",
        ]
        host.run("run", "-d", "--name", "open", *flags, *mounts, "localhost/base", "sleep", "1000")
    found = posture(host, "open")
    assert {kind for kind, finding in found.items() if finding["Level"] == "bad"} == {
        "privileged", "namespace", "mount", "socket", "device", "seccomp",
    }  # fmt: skip
    assert found["socket"]["Evidence"] == f"{tmp_path}/docker.sock at /s.sock"
    assert found["secrets"]["Evidence"] == "DB_PASSWORD" and "hunter2" not in json.dumps(found)
    every = host.run("posture", "--format", "json", "open").stdout
    assert f"{tmp_path}/data at /data" in every and "/etc at /host" in every and "/_data" not in every

    rows = [json.loads(line) for line in host.run("posture", "--format", "json").stdout.splitlines()]
    assert {row["Name"]: row["Bad"] > 0 for row in rows} == {"tight": False, "open": True}


def test_one_capability_that_leads_out_is_named_with_what_it_can_do(host: Host) -> None:
    flags = ["--network", "none", "--name", "web", "--cap-add", "sys_admin"]
    host.run("run", "-d", *flags, "localhost/base", "sleep", "1000")
    found = posture(host, "web")
    assert found["escape"]["Title"] == "sys_admin is a way out"
    assert found["escape"]["Evidence"] == "mounts and much else of the kernel"
    assert found["capabilities"]["Title"] == "the usual capabilities"


def test_of_one_that_does_not_run_there_is_nothing_to_say(host: Host) -> None:
    host.run("create", "--network", "none", "--name", "idle", "localhost/base", "true")
    refused = host.run("posture", "idle", check=False)
    assert refused.returncode != 0
    assert "is created: there is nothing to look at" in refused.stderr and "pyctr start idle" in refused.stderr
    assert host.run("posture").stdout.count("\n") == 1


PROFILE = """
profile {name} flags=({flags}) {{
  file, capability, network, mount, umount, pivot_root, signal, ptrace, unix,
  deny /etc/forbidden r,
}}
"""


@pytest.mark.skipif("PYCTR_GUEST_TESTS" not in os.environ, reason="loads policy into the kernel: tools/vm-tests.sh")
@pytest.mark.skipif(not ops_labels.apparmor(), reason="needs a kernel with AppArmor")
@pytest.mark.skipif(shutil.which("apparmor_parser") is None, reason="needs apparmor_parser")
def test_what_apparmor_forbids_is_rated_and_what_it_only_notes_is_not_taken_for_a_wall(host: Host) -> None:
    if not os.path.isdir("/sys/kernel/security/apparmor"):
        subprocess.run(["mount", "-t", "securityfs", "securityfs", "/sys/kernel/security"], check=True)
    names = {kind: f"{host.paths.bridge}-{kind}" for kind in ("enforce", "complain")}
    policy = "".join(
        PROFILE.format(
            name=name, flags=f"attach_disconnected,mediate_deleted{',complain' if kind == 'complain' else ''}"
        )
        for kind, name in names.items()
    )
    loaded = ["apparmor_parser", "--skip-cache", "--base", "/etc"]
    subprocess.run([*loaded, "--add"], input=policy, text=True, check=True)
    try:
        for kind, name in {**names, "free": ""}.items():
            words = ("--security-opt", f"apparmor={name}") if name else ()
            secret = "echo x >/etc/forbidden; cat /etc/forbidden >/dev/null && echo readable; exec sleep 1000"
            host.run("run", "-d", "--network", "none", "--name", kind, *words, "localhost/base", "sh", "-c", secret)
        eventually(lambda: "readable" in host.run("logs", "free").stdout + host.run("logs", "complain").stdout)
        eventually(lambda: "denied" in host.run("logs", "enforce").stderr)
        assert host.run("logs", "enforce").stdout == ""
        label = {kind: _label(host, kind) for kind in (*names, "free")}
        assert (label["enforce"]["Level"], label["enforce"]["Evidence"]) == ("good", f"{names['enforce']} (enforce)")
        assert (label["complain"]["Level"], label["complain"]["Evidence"]) == (
            "warn",
            f"{names['complain']} (complain)",
        )
        assert label["free"]["Level"] == "warn" and "apparmor=" in label["free"]["Fix"]
        host.run("rm", "-f", *label)
    finally:
        subprocess.run([*loaded, "--remove"], input=policy, text=True, check=True)


def _label(host: Host, name: str) -> dict[str, Any]:
    lines = host.run("posture", "--format", "json", name).stdout.splitlines()
    [found] = [one for one in map(json.loads, lines) if one["Kind"] == "label"]
    return dict(found)
