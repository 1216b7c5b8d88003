"""`pyctr check` and `pyctr metrics` on real containers, as a monitoring system uses them."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import time

import pytest

from tests.support.host import Host

BASE = "localhost/base"


def check(host: Host, *words: str) -> tuple[int, str, dict[str, list[str]]]:
    """The code, the text, and the performance data by label."""
    done = host.run("check", *words, check=False)
    assert done.stderr == "" and len(done.stdout.splitlines()) == 1, done
    text, _, data = done.stdout.strip().partition(" | ")
    found = re.findall(r"('[^']+'|[^ '=]+)=(\S+)", data)
    return done.returncode, text, {label.strip("'"): value.split(";") for label, value in found}


def test_verdicts_become_codes_and_numbers(host: Host) -> None:
    code, text, data = check(host)
    assert (code, text) == (0, "PYCTR OK - 0 containers, none needs anybody")
    flags = ("run", "-d", "--network", "none")
    host.run(*flags, "--name", "web", "-m", "64m", "--pids-limit", "20", "--label", "tier=front", BASE, "sleep", "1000")
    host.run(*flags, "--name", "sick", "--label", "tier=back", BASE, "sleep", "1000")
    host.run(*flags, "--name", "bad", "--label", "tier=back", BASE, "sh", "-c", "exit 7")
    host.run("wait", "bad")
    code, text, data = check(host, "web")
    assert (code, text) == (0, "PYCTR OK - 1 container, none needs anybody")
    assert data["web memory"][0].endswith("B") and data["web memory"][4] == str(64 << 20)
    assert data["web pids"] == ["1", "", "", "0", "20"]
    code, text, data = check(host)
    assert (code, text) == (1, "PYCTR WARNING - 1 of 3 containers: bad: failed (exit code 7)")
    assert data["running"][0] == "2" and data["warning"][0] == "1" and data["critical"][0] == "0"
    assert check(host, "--filter", "label=tier=front")[0] == 0
    assert check(host, "--filter", "label=tier=back")[0] == 1
    assert check(host, "--ignore", "failed")[0] == 0
    assert check(host, "--critical", "failed")[0] == 2
    assert check(host, "--warning", "frozen")[0] == 0
    host.run("stop", "-t", "0", "web")
    assert check(host, "web")[0] == 0, "who was stopped on purpose is not sick"
    code, text, _ = check(host, "--running", "web")
    assert (code, text) == (2, "PYCTR CRITICAL - 1 of 1 container: web: stopped")
    pid = int(host.run("inspect", "--format", "{{.State.ShimPid}}", "sick").stdout)
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while (found := check(host, "sick"))[0] != 2 and time.monotonic() < deadline:
        pass  # the kernel tells of a death when it has happened
    assert found[1] == "PYCTR CRITICAL - 1 of 1 container: sick: unwatched"
    code, text, data = check(host, "nobody")
    assert code == 3 and text.startswith("PYCTR UNKNOWN - no container 'nobody'") and not data
    assert check(host, "--critical", "hunger")[0] == 3


def test_a_scraper_reads_living_counters_and_sigterm_ends_it_cleanly(host: Host) -> None:
    parser = pytest.importorskip("prometheus_client.openmetrics.parser", reason="make setup installs it")
    host.run("run", "-d", "--name", "spin", "--cpus", "0.2", BASE, "sh", "-c", "while :; do :; done")
    path = f"{host.base}/metrics.sock"
    words = host.command("metrics", "--listen", f"unix:{path}")
    process = subprocess.Popen(words, env=host.env, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert process.stderr.readline() == f"pyctr metrics: listening on unix:{path}\n"

        def used() -> float:
            connection = http.client.HTTPConnection("localhost")
            connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.sock.connect(path)
            connection.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text"})
            answer = connection.getresponse()
            assert answer.status == 200
            families = parser.text_string_to_metric_families(answer.read().decode())
            samples = [sample for family in families for sample in family.samples]
            return float(next(one.value for one in samples if one.name == "container_cpu_usage_seconds_total"))

        first, deadline = used(), time.monotonic() + 60
        while used() <= first and time.monotonic() < deadline:
            time.sleep(0.3)
        assert used() > first, "the counters go on"
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 0
    assert not os.path.exists(path)
    text = host.run("metrics").stdout
    assert text.endswith("# EOF\n") and text.count("# EOF") == 1
    assert "# EOF" not in host.run("metrics", "--format", "prometheus").stdout
