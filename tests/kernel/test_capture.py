"""A real host in a file: all that is to be seen is seen again elsewhere, by nobody, and no secret comes along."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyctr.core.paths import Paths
from tests.kernel.lifecycle_help import eventually
from tests.support.host import REPOSITORY, Host

NOBODY = 65534
PLANTED = {
    "env": "pl4nted-environment",
    "flag": "pl4nted-argument",
    "log": "pl4nted-in-the-log",
    "label": "pl4nted-label",
    "probe": "pl4nted-probe-9",
    "file": "pl4nted-secret-file",
    "inside": "pl4nted-inside-only",
    "exec": "pl4nted-by-exec",
    "image": "pl4nted-in-image",
    "volume": "pl4nted-volume-option",
}
BASE = "localhost/base"
SAME = (
    *("name", "image", "status", "pid", "command", "created_at", "started_at", "exit_code", "exit_signal", "wanted"),
    *("restarts", "restart_policy", "network", "address", "ports", "memory_limit", "pids_limit", "cpu_limit", "pids"),
)
"""Of a container's row: what stays the same as long as nothing is done to it."""


@pytest.fixture
def other(base_images: Paths) -> Iterator[Host]:
    """Another engine's container: what is not ours is found by its cgroup alone."""
    stranger = Host(images_from=base_images)
    stranger.run("run", "-d", "--network", "none", "--name", "stranger", BASE, "sleep", "1000")
    yield stranger
    stranger.run("rm", "-f", "stranger")
    stranger.close()


@pytest.fixture
def scene(host: Host, other: Host) -> Host:
    """One of every kind, and a secret in every place that is packed or stands beside one that is."""

    def run(name: str, *words: str) -> None:
        host.run("run", "-d", "--name", name, *words)

    secret = Path(host.base, "secret")
    secret.write_text(PLANTED["file"] + "\n")
    host.run("secret", "create", "pgpass", str(secret))
    host.run("run", "--name", "maker", BASE, "true")
    host.run("commit", "--change", f"ENV IMAGE_TOKEN={PLANTED['image']}", "maker", "acme/api:2.4")
    host.run("rm", "maker")
    host.run("volume", "create", "data", "--label", f"db.password={PLANTED['volume']}")
    tell = f"echo password is $DB_PASSWORD; echo api_key={PLANTED['log']}; sleep 1000"
    run("web", "-e", f"DB_PASSWORD={PLANTED['env']}", "-m", "64m", "-p", "127.0.0.1::80", BASE, "sh", "-c", tell)
    words = ("sh", "-c", "while :; do :; done", "app", "--token", PLANTED["flag"])
    run("spin", "--cpus", "0.2", "--label", f"vault.token={PLANTED['label']}", "acme/api:2.4", *words)
    check = f"test -n 'Authorization: Bearer {PLANTED['probe']}'"
    run("checked", "--health-cmd", check, "-v", "data:/data", BASE, "sleep", "1000")
    hidden = f"export SESSION_TOKEN={PLANTED['inside']}; exec sh -c 'echo it is $SESSION_TOKEN; exec sleep 1000'"
    run("hider", "--secret", "pgpass", BASE, "sh", "-c", f"cat /run/secrets/pgpass; {hidden}")
    host.run("exec", "web", "env", f"API_TOKEN={PLANTED['exec']}", "true")
    run("ice", "--network", "none", "--pids-limit", "20", BASE, "sleep", "1000")
    host.run("pause", "ice")
    host.run("run", "--name", "bad", BASE, "sh", "-c", "echo cannot reach db; exit 3", check=False)
    host.run("create", "--name", "fresh", BASE, "sh")
    eventually(lambda: host.run("inspect", "-f", "{{.State.Health.Status}}", "checked").stdout == "healthy\n")
    return host


def capture(host: Host, name: str = "host.capture", *words: str) -> Path:
    path = Path(host.base, name)
    host.run("capture", "-o", str(path), "--seconds", "2", *words)
    return path


AS_NOBODY = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"),
    # the interpreter and the checkout may be in root's home; it may read, and do nothing else
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
)


def tui(*words: str, env: dict[str, str], before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, sys.executable, "-m", "pyctr.tui.main", "--once", *words],
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
    )


def replayed(path: Path, *words: str) -> str:
    """As nobody, on a machine with no pyctr of its own."""
    away = Path(path.parent, "away")
    if not away.is_dir():
        away.mkdir()
        os.chown(away, NOBODY, NOBODY)
    copy = Path(away, path.name)
    if not copy.exists():
        copy.write_bytes(path.read_bytes())
        os.chown(copy, NOBODY, NOBODY)
    environment = {
        "PATH": "/usr/bin:/bin:/usr/sbin",
        "HOME": str(away),
        "TMPDIR": str(away),
        "PYTHONPATH": str(REPOSITORY),
    }
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYCTR_ENGINES": "pyctr"}
    done = tui("--replay", str(copy), *words, env=environment, before=AS_NOBODY)
    assert done.returncode == 0, done.stderr
    assert not list(away.glob("pyctr-replay-*")), "what was unpacked is gone"
    return done.stdout


def document(text: str) -> dict[str, Any]:
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes())


def test_all_is_seen_again_elsewhere_but_no_secret_and_no_more_than_fits(scene: Host) -> None:
    """One host for the three: making it takes longest."""
    no_planted_secret_is_in_it_unless_asked_for(scene)
    a_bound_is_kept_and_what_does_not_fit_is_said(scene)
    the_screens_show_elsewhere_what_they_showed_here(scene)


def the_screens_show_elsewhere_what_they_showed_here(scene: Host) -> None:
    def live(screen: str) -> dict[str, Any]:
        done = tui("--json", "--screen", screen, env={**scene.env, "PYCTR_ENGINES": "pyctr"})
        assert done.returncode == 0, done.stderr
        return document(done.stdout)

    deadline = time.monotonic() + 60
    while (before := live("triage"))["triage"] == [] and time.monotonic() < deadline:
        pass  # the throttled one needs some periods
    done = tui("--json", "--select", "web", "--tab", "security", env={**scene.env, "PYCTR_ENGINES": "pyctr"})
    confined = levels(done.stdout)
    shown = {screen: live(screen)[screen] for screen in ("images", "volumes", "networks", "events")}
    path = capture(scene)
    assert path.stat().st_mode & 0o777 == 0o600
    # nothing of what is shown below may come from here
    scene.run("rm", "-f", "-v", *(row["name"] for row in before["containers"]))
    scene.run("volume", "rm", "data")
    again = document(replayed(path, "--json", "--screen", "triage"))
    rows = {row["name"]: row for row in again["containers"]}
    for row in before["containers"]:
        assert {key: rows[row["name"]][key] for key in SAME} == {key: row[key] for key in SAME} | {
            "command": rows[row["name"]]["command"]
        }
    assert {row["name"]: row["status"] for row in again["containers"]} == {
        **dict.fromkeys(("web", "spin", "checked", "hider"), "running"),
        "noisy": "stopped",
        "ice": "paused",
        "bad": "stopped",
        "fresh": "created",
    }
    assert rows["checked"]["health"] == "healthy"
    assert 10 < rows["spin"]["cpu"] < 40, "20 % of a core, measured between two moments"
    assert again["read_only"].startswith("a recording of ")
    kinds = {case["name"]: case["diagnoses"][0]["kind"] for case in again["triage"]}
    assert kinds.items() >= {"spin": "throttled", "bad": "failed", "ice": "frozen"}.items()

    def without(value: Any, *keys: str) -> Any:
        if isinstance(value, dict):
            return {key: without(one, *keys) for key, one in value.items() if key not in keys}
        return [without(one, *keys) for one in value] if isinstance(value, list) else value

    for screen, moving in (
        ("images", ()),
        ("volumes", ("labels",)),
        ("networks", ("counters", "rates", "taken", "talks", "nics")),
        ("events", ("labels", "attributes")),
    ):
        here, there = shown[screen], document(replayed(path, "--json", "--screen", screen))[screen]
        assert without(there, *moving) == without(here, *moving), screen
        if screen == "networks":
            # other links of this machine are others' tests': ours is there as what it is
            bridges = [{nic["name"]: nic["bridge"] for nic in one["nics"] if nic["uplink"]} for one in (here, there)]
            assert bridges[0] == bridges[1]
    other = {row["engine"]: row for row in document(replayed(path, "--engine", "other-pyctr", "--json"))["containers"]}
    assert other["other-pyctr"]["status"] == "running"
    rated = {one["engine"]: one for one in document(replayed(path, "--json", "--screen", "posture"))["posture"]}
    assert rated[""]["findings"] and not rated[""]["partial"]
    theirs = document(replayed(path, "--engine", "other-pyctr", "--json", "--screen", "posture"))["posture"]
    asked = [one for one in theirs if one["findings"] and not one["partial"]]
    assert asked, "what confines another engine's was asked there, too"
    host = document(replayed(path, "--json", "--screen", "host"))
    assert host["findings"] and host["space"]["total"] > 0 and host["machine"]["cores"][0]["user"] is not None
    assert host["space"]["place"] == scene.paths.root
    processes = replayed(path, "--csv", "--select", "web", "--tab", "processes")
    assert "sleep 1000" in processes
    text = replayed(path, "--text", "--size", "80x24", "--select", "web", "--tab", "mounts")
    assert "recorded 20" in text and "overlay" in text
    tab = ("--json", "--select", "web", "--tab")
    assert levels(replayed(path, *tab, "security")) == confined, "what confines it was asked there, and nobody here"
    happened = document(replayed(path, *tab, "events"))["detail"]["document"]
    assert [step["name"] for step in happened["birth"]["steps"]][-1] == "exec" and happened["events"]
    log = document(replayed(path, "--json", "--select", "bad", "--tab", "logs"))["log"]
    assert [line["text"] for line in log] == ["cannot reach db"]


def levels(text: str) -> dict[str, str]:
    found = document(text)["detail"]["document"]["findings"]
    assert found
    return {one["title"]: one["level"] for one in found}


def no_planted_secret_is_in_it_unless_asked_for(scene: Host) -> None:
    everything = content(capture(scene))
    found = [place for place, value in PLANTED.items() if value.encode() in everything]
    assert found == []
    assert b"[redacted]" in everything
    kept = content(capture(scene, "open.capture", "--no-redact"))
    # what is packed at all; the files of secrets never are, but what a container printed of one is its log
    found = [place for place, value in PLANTED.items() if value.encode() not in kept]
    assert found == ["inside"] or found == []
    with tarfile.open(Path(scene.base, "open.capture")) as tar:
        names = tar.getnames()
    assert not [name for name in names if "secrets" in name or "environ" in name or "auth" in name]


def a_bound_is_kept_and_what_does_not_fit_is_said(scene: Host) -> None:
    # with containers of others on this machine there is more to pack than ours
    bound = max(100_000, 2 * capture(scene, "quiet.capture").stat().st_size)
    scene.run("run", "-d", "--name", "noisy", BASE, "sh", "-c", f"head -c {4 * bound} /dev/urandom | base64")
    scene.run("wait", "noisy")
    whole = capture(scene, "whole.capture")
    assert whole.stat().st_size > bound
    path = Path(scene.base, "small.capture")
    done = scene.run("capture", "-o", str(path), "--seconds", "2", "--max-size", str(bound))
    assert path.stat().st_size <= bound
    assert "without logs beyond" in done.stderr
    assert {row["name"] for row in document(replayed(path, "--json"))["containers"]} >= {"web", "noisy", "bad"}
    done = scene.run("capture", "-o", str(path) + "2", "--seconds", "0", "--max-size", "1000", check=False)
    assert done.returncode == 125 and "does not fit into 1000 bytes" in done.stderr
    assert not list(Path(scene.base).glob("*capture2*")) and not list(Path(scene.base).glob(".*capture*"))


def test_two_captures_of_an_idle_host_differ_only_in_what_moves(host: Host) -> None:
    host.run("run", "-d", "--name", "idle", "--network", "none", BASE, "sleep", "1000")

    def members(path: Path) -> dict[str, bytes]:
        with tarfile.open(path) as tar:
            return {one.name: tar.extractfile(one).read() for one in tar if one.isfile()}  # type: ignore[union-attr]

    first, second = members(capture(host, "one.capture")), members(capture(host, "two.capture"))
    different = {name for name in first | second if first.get(name) != second.get(name)}
    different = {name for name in different if name.startswith("0/")}
    # others' containers on this machine do what they want
    where = ("proc/", "cgroup/", "root/containers/", "root/host-history", "root/others/", "sys/", "answers.json")
    allowed = tuple(f"0/{one}" for one in where)
    assert all(name.startswith(allowed) for name in different), different
    kept = {
        name
        for name in different
        if name.startswith("0/root/containers") and not name.endswith(("/history", "/processes"))
    }
    assert not kept


def test_a_capture_that_is_stopped_leaves_the_file_that_was_there(host: Host) -> None:
    path = Path(host.base, "mine.capture")
    path.write_text("precious")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        words = host.command("capture", "-o", str(path), "--seconds", "600")
        process = subprocess.Popen(words, env=host.env, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        # it has begun to read when the file it writes to is open
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not opened(process.pid, host.base):
            time.sleep(0.05)
        process.send_signal(number)
        process.communicate(timeout=30)
        assert process.returncode != 0
        assert path.read_text() == "precious"
        assert not [name for name in os.listdir(host.base) if name.endswith(".tmp")]
    done = host.run("capture", "-o", f"{host.base}/no/such/place", check=False)
    assert done.returncode and len(done.stderr.splitlines()) == 2


def opened(pid: int, directory: str) -> bool:
    try:
        return any(
            os.readlink(f"/proc/{pid}/fd/{fd}").startswith(f"{directory}/#") for fd in os.listdir(f"/proc/{pid}/fd")
        )
    except OSError:
        return False  # it is just beginning
