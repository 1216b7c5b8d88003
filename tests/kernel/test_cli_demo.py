"""The demo: everything lives, and afterwards nothing is left."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import urllib.request

import pytest

from pyctr.core import redo
from pyctr.core.events import Events
from tests.kernel.lifecycle_help import eventually
from tests.support.host import Host

pytestmark = pytest.mark.kernel


def test_up_lives_and_down_leaves_nothing(bare_host: Host) -> None:
    host = bare_host
    assert host.run("demo", "up").stdout.split() == ["demo-cpu", "demo-memory", "demo-web", "demo-client"]
    rows = [json.loads(line) for line in host.run("ps", "--format", "json").stdout.splitlines()]
    assert {row["State"] for row in rows} == {"running"}
    assert all("pyctr.demo=1" in row["Labels"] for row in rows)
    # a server that never answered its probe would keep this from ending
    news = Events(host.paths).follow(0, {"event": ["health_status"]})
    assert next(news).action == "health_status: healthy"
    address = host.run("port", "demo-web", "80").stdout.strip().replace("0.0.0.0", "127.0.0.1")
    with subprocess.Popen(
        host.command("logs", "-f", "demo-client"), env=host.env, stdout=subprocess.PIPE, text=True
    ) as follower:
        assert follower.stdout is not None
        # the first questions may come before the server listens; if no answer ever came, this would not end
        for line in follower.stdout:
            asked, failed = (int(word) for word in line.replace(",", "").split() if word.isdecimal())
            if failed < asked:
                break
        follower.terminate()
    with urllib.request.urlopen(f"http://{address}/", timeout=10) as page:
        assert b"It lives" in page.read()
    assert host.run("demo", "up").stdout.split() == ["demo-cpu", "demo-memory", "demo-web", "demo-client"]
    # who looks back leaves a mark, once there is a record
    eventually(lambda: os.path.exists(f"{host.paths.root}/{redo.CONTAINERS}"))
    host.run("stats", "--history", "demo-web")
    host.run("demo", "down")
    assert host.census() == {}
    assert host.groups() == []
    assert not os.path.exists(f"/sys/class/net/{host.paths.bridge}")
    assert not os.path.exists(host.paths.root)
    assert not os.path.exists(host.paths.run)


def test_a_taken_port_is_avoided_and_what_others_use_stays(bare_host: Host) -> None:
    host = bare_host
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("0.0.0.0", 8080))
            taken.listen()
        except OSError:
            pass  # taken by somebody else already: as good
        host.run("demo", "up", "-q")
        port = host.run("port", "demo-web", "80").stdout.strip().rpartition(":")[2]
        assert int(port) != 8080
    host.run("create", "--name", "mine", "base")
    down = host.run("demo", "down")
    assert "stays" in down.stderr
    assert host.run("ps", "-a", "--format", "{{.Names}}").stdout == "mine\n"
    assert host.run("images", "-q").stdout.strip()


def test_somebody_elses_container_of_that_name_is_left_alone(host: Host) -> None:
    host.run("create", "--name", "demo-web", "base")
    done = host.run("demo", "up", check=False)
    assert done.returncode == 1
    assert "not the demo's" in done.stderr
    assert host.run("ps", "-a", "--format", "{{.Names}}").stdout == "demo-web\n"
    host.run("demo", "down")
    assert host.run("ps", "-a", "--format", "{{.Names}}").stdout == "demo-web\n"
