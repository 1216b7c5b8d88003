"""What a person asks of a network: its graph in four forms, whose interface this is, where a connection stops."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import threading
import xml.etree.ElementTree as ET
from pathlib import Path

from pyctr.tui import checking
from pyctr.tui import format as f
from pyctr.tui.table import Look
from tests.support.host import Host


def _check(host: Host, *words: str) -> tuple[int, dict[str, str]]:
    """(exit code, step -> "ok" or "FAIL" and what it said)."""
    done = host.run("network", "check", *words, check=False)
    steps = [re.split(r"\s{2,}", line.replace("ok  ", "ok   ", 1), maxsplit=2) for line in done.stdout.splitlines()]
    return done.returncode, {name: f"{verdict.strip()} {words}" for verdict, name, words in steps}


def test_the_graph_whose_interface_and_where_a_connection_stops(host: Host, tmp_path: Path) -> None:
    host.run("network", "create", "front")
    host.run("network", "create", "--internal", "back")
    (tmp_path / "index.html").write_text("hello")
    host.run(
        *("run", "-d", "--name", "web", "--network", "front", "--network", "back", "-p", "127.0.0.1::80"),
        *("-v", f"{tmp_path}:/www:ro", "base", "busybox", "httpd", "-f", "-p", "80", "-h", "/www"),
    )
    host.run("run", "-d", "--name", "client", "--network", "front", "base", "sleep", "1000")
    host.run("run", "-d", "--name", "lone", "base", "sleep", "1000")
    host.run("run", "-d", "--name", "guest", "--network", "container:web", "base", "sleep", "1000")

    graph = json.loads(host.run("network", "graph", "--json").stdout)
    nodes = {node["name"]: node for node in graph["containers"]}
    assert [link["network"] for link in nodes["web"]["links"]] == ["front", "back"]
    assert nodes["guest"]["mode"] == "container" and nodes["guest"]["shares"] == nodes["web"]["id"]
    assert {rail["name"]: rail["internal"] for rail in graph["networks"]}["back"]
    assert graph["ports"][0]["host_ip"] == "127.0.0.1"
    said = host.run("network", "graph").stdout
    assert re.search(r"^network back .*internal$", said, re.M) and "guest  shares the network of web" in said
    again = host.run("network", "graph", "--text").stdout
    # other tests' bridges come and go meanwhile
    assert said[said.index("network bridge") :] == again[again.index("network bridge") :]
    root = ET.fromstring(host.run("network", "graph", "--svg").stdout)
    drawn = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert "● web" in drawn and "front" in drawn
    dot = host.run("network", "graph", "--dot").stdout
    assert dot.startswith("graph pyctr {") and f'"network back" -- "{nodes["web"]["id"]}"' in dot

    pairs = [line.split() for line in host.run("network", "which", "web").stdout.splitlines()[1:]]
    assert [pair[1] for pair in pairs] == ["eth0", "eth1"]
    pid = host.run("inspect", "-f", "{{.State.Pid}}", "web").stdout.strip()
    for _, inside, outside, _, mac in pairs:
        link = ["nsenter", "-t", pid, "-n", "ip", "-o", "link", "show", inside]
        shown = subprocess.run(link, capture_output=True, text=True, check=True).stdout
        index = Path(f"/sys/class/net/{outside}/ifindex").read_text().strip()
        assert f"@if{index}:" in shown and mac in shown
        there = host.run("network", "which", outside, "--format", "{{.Container}} {{.Inside}}").stdout
        assert there.splitlines() == [f"guest {inside}", f"web {inside}"]
    nobody = host.run("network", "which", "eth9", check=False)
    assert nobody.returncode and "'eth9' is no container and no interface" in nobody.stderr

    code, steps = _check(host, "client", "web:80")
    assert code == 0 and list(steps) == ["resolve", "route", "neighbour", "connect"], steps
    assert steps["resolve"].endswith("from 127.0.0.11")
    code, steps = _check(host, "client", "web")
    assert code == 0 and list(steps)[-1] == "echo", steps
    code, steps = _check(host, "client", "web:81")
    assert code == 1 and "nobody listens on port 81" in steps["connect"]
    address = nodes["web"]["links"][0]["address"].partition("/")[0]
    code, steps = _check(host, "lone", f"{address}:80")
    assert code == 1 and "dropped on the way into network 'front'" in steps["firewall"], steps
    code, steps = _check(host, "lone", "nosuch.invalid")
    assert code == 1 and list(steps) == ["resolve"]
    host.run("network", "disconnect", "front", "client")
    code, steps = _check(host, "client", f"{address}:80")
    assert code == 1 and "FAIL no route to it" in steps["route"], steps
    for words, message in ((("client", "web:0"), "'0' is not a port"), (("nosuch", "web"), "no container 'nosuch'")):
        done = host.run("network", "check", *words, check=False)
        assert done.returncode and message in done.stderr


def test_the_way_out_ipv6_and_the_check_of_the_screens(host: Host, tmp_path: Path) -> None:
    host.run("network", "create", "--ipv6", "six")
    host.run("run", "-d", "--name", "ann", "--network", "six", "base", "sleep", "1000")
    host.run("run", "-d", "--name", "bob", "--network", "six", "base", "busybox", "httpd", "-f", "-p", "80")
    attachment = json.loads(host.run("inspect", "bob").stdout)[0]["NetworkSettings"]["Networks"]["six"]
    six = attachment["GlobalIPv6Address"]
    code, steps = _check(host, "ann", f"[{six}]:80")
    assert code == 0 and list(steps) == ["resolve", "route", "connect"], steps
    code, steps = _check(host, "ann", six)
    assert code == 0 and "answers" in steps["echo"], steps
    code, steps = _check(host, "ann", "fd00:dead::1")
    assert code == 1 and list(steps)[-1] in ("route", "echo"), steps

    # the host's name server is whoever resolv.conf says: here somebody on the bridge's own address
    gateway = attachment["Gateway"]
    (tmp_path / "resolv.conf").write_text(f"nameserver 127.0.0.53\nnameserver {gateway}\n")
    asking = shlex.join(host.command("network", "check", "ann", "internet"))
    hidden = f"mount --bind {tmp_path}/resolv.conf /etc/resolv.conf && exec {asking}"

    def outside() -> subprocess.CompletedProcess[str]:
        words = ["unshare", "-m", "--propagation", "private", "sh", "-c", hidden]
        return subprocess.run(words, env=host.env, capture_output=True, text=True, timeout=60)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((gateway, 53))
        server.settimeout(20)
        answered = threading.Thread(target=lambda: server.sendto(b"whatever", server.recvfrom(512)[1]), daemon=True)
        answered.start()
        done = outside()
        answered.join(20)
    assert done.returncode == 0 and f"{gateway}, the host's name server" in done.stdout, done.stdout + done.stderr
    assert re.search(rf"^ok +answer +{re.escape(gateway)} answers in", done.stdout, re.M)
    done = outside()
    assert done.returncode == 1 and re.search(r"^FAIL +answer .*refused", done.stdout, re.M), done.stdout

    ended = threading.Event()
    check = checking.Check(host.paths, "ann", "ann", lambda: None if check.running else ended.set())
    check.start("bob:80")
    assert ended.wait(30)
    shown = [f.plain(line).rstrip() for line in checking.lines(check, 76, Look(f.Glyphs()))]
    assert shown[-1] == "ann reaches bob:80" and shown[0].startswith("\u2713  resolve    "), shown
    ended.clear()
    host.run("stop", "-t", "0", "ann")
    check.start("bob:80")
    assert ended.wait(30)
    assert "nothing can be sent from it" in check.problem and check.hint
