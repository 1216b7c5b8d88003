"""Pods of a real containerd, made through its CRI plugin as kubelet makes them, seen while it is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import cri
from tests.support import manager as managers
from tests.support.cri import Pods

pytestmark = [
    managers.needs("unshare", "nsenter", "ip", "busybox"),
    pytest.mark.skipif(bool(cri.missing()), reason=cri.missing()),
]
TICKS = "while :; do echo tick; echo tock >&2; sleep 0.2; done"


@pytest.fixture
def pods() -> Iterator[Pods]:
    found = Pods()
    try:
        found.prepare()
        yield found
    finally:
        found.close()


def rows(pods: Pods, *words: str) -> dict[str, dict[str, Any]]:
    done = pods.host.run("ps", "--no-trunc", "--engine", "kubernetes", "--format", "json", *words)
    return {row["ID"]: row for row in map(json.loads, done.stdout.splitlines())}


def test_pods_are_known_by_name_with_their_logs_while_containerd_is_stopped(pods: Pods) -> None:
    uid = str(uuid.uuid4())
    # others on this machine may have a pod of that name
    till = f"till-{uid[:8]}"
    sandbox, config = pods.pod(till, uid)
    web = pods.container(sandbox, config, "web", TICKS, memory=64 << 20)
    side = pods.container(sandbox, config, "side", "echo ready; sleep 1000")
    own = pods.host.run
    pods.until(lambda: own("logs", f"kubernetes:{web}").stdout.count("tick") > 1, "two lines of its log")
    assert pods.daemon is not None
    os.kill(pods.daemon.pid, signal.SIGSTOP)
    try:
        found = rows(pods)
        assert sandbox not in found, "a pause does nothing"
        assert {found[id]["Names"] for id in (web, side)} == {f"{till}/web", f"{till}/side"}
        assert (found[web]["Pod"], found[web]["State"], found[web]["Image"]) == (f"shop/{till}", "running", cri.IMAGE)
        assert rows(pods, "-a")[sandbox]["Names"] == f"{till}/pause"
        [document] = json.loads(own("inspect", f"kubernetes:{till}/web").stdout)
        assert document["CgroupPath"] == f"{pods.group}/kubepods/burstable/pod{uid}/{web}"
        assert document["Layers"] and document["HostConfig"]["Memory"] == 64 << 20
        stats = json.loads(own("stats", "--no-stream", "--format", "json", f"kubernetes:{web}").stdout)
        assert stats["MemUsage"].endswith("/ 64MiB") and int(stats["PIDs"]) >= 1
        said = own("logs", "-n", "4", f"kubernetes:{web}")
        assert "tick" in said.stdout and "tock" in said.stderr
        assert own("logs", f"kubernetes:{side}").stdout == "ready\n"
        assert "sleep 1000" in own("top", f"kubernetes:{till}/side").stdout
        assert own("exec", f"kubernetes:{till}/web", "sh", "-c", "echo inside; id -u").stdout == "inside\n0\n"
        gaps = {
            row["Title"]: row["Level"]
            for row in map(json.loads, own("posture", "--format", "json", f"kubernetes:{web}").stdout.splitlines())
        }
        # containerd gives a container no filter that kubelet does not ask for
        assert gaps["no seccomp filter"] == "bad" and gaps["runs as root"] == "warn"
        shared = own("namespaces", "--format", "json", f"kubernetes:{web}").stdout
        assert f"{till}/side" in shared, "one pod, one ipc namespace"
    finally:
        os.kill(pods.daemon.pid, signal.SIGCONT)
    follower = subprocess.Popen(
        pods.host.command("logs", "-f", f"kubernetes:{side}"), env=pods.host.env, stdout=subprocess.PIPE, text=True
    )
    assert follower.stdout is not None and follower.stdout.readline() == "ready\n"
    pods.remove_pod(sandbox)
    assert follower.wait(30) == 0, "its container has ended"
    follower.stdout.close()
    assert not {sandbox, web, side} & rows(pods, "-a").keys()
