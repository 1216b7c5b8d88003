"""What single verbs print, from records instead of live containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyctr.cli import birth, describe
from pyctr.cli.verbs import events, history, images, logs
from pyctr.core.birth import Certificate, Step
from pyctr.core.containers import Container
from pyctr.core.engine import Engine
from pyctr.core.events import Event
from pyctr.core.paths import Paths
from pyctr.core.spec import ContainerSpec
from pyctr.core.state import CREATED, DEAD, PAUSED, RESTARTING, RUNNING, STOPPED, Exit, Process, State

NOW = 1_800_000_000.0


def container(tmp_path: Path, **state: object) -> Container:
    spec = ContainerSpec(image="base")
    record = State(id="a" * 64, name="web", created_at=NOW - 60, spec=spec.to_dict())
    return Container(Engine(Paths(root=str(tmp_path), run=str(tmp_path))), record.replace(**state))


@pytest.mark.parametrize(
    ("status", "ended", "expected"),
    [
        (CREATED, None, "Created"),
        (STOPPED, Exit(code=137, signal=9, finished_at=NOW - 7200), "Exited (137) 2 hours ago"),
        (STOPPED, Exit(code=0, finished_at=NOW - 0.2), "Exited (0) Less than a second ago"),
        (STOPPED, None, "Exited (unknown)"),
        (STOPPED, Exit(code=255, lost=True, finished_at=NOW - 60), "Exited (unknown) About a minute ago"),
        (RESTARTING, Exit(code=1, finished_at=NOW - 3), "Restarting (1) 3 seconds ago"),
        (DEAD, None, "Dead"),
    ],
)
def test_status_in_dockers_words(tmp_path: Path, status: str, ended: Exit | None, expected: str) -> None:
    assert describe.status_text(container(tmp_path, exit=ended), status, NOW) == expected


def test_up_and_paused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process(
        pid=1, start_time=1, shim_pid=1, shim_start_time=1, boot_id="", started_at=NOW, started_monotonic=100.0
    )
    monkeypatch.setattr("time.clock_gettime", lambda clock: 103.5)
    running = container(tmp_path, process=process)
    assert describe.status_text(running, RUNNING, NOW) == "Up 3 seconds"
    assert describe.status_text(running, PAUSED, NOW) == "Up 3 seconds (Paused)"


def test_ports_fold_into_ranges(tmp_path: Path) -> None:
    def port(inside: int, outside: int, ip: str = "", protocol: str = "tcp") -> dict[str, object]:
        return {"host_ip": ip, "host_port": outside, "container_port": inside, "protocol": protocol}

    ports = [port(82, 8082), port(80, 8080), port(81, 8081), port(53, 53, "127.0.0.1", "udp"), port(9, 9, "::1")]
    text = describe.port_text(container(tmp_path, network={"ports": ports}))
    assert text == "[::1]:9->9/tcp, 127.0.0.1:53->53/udp, 0.0.0.0:8080-8082->80-82/tcp"


def test_a_log_line_on_a_terminal_keeps_colours_only() -> None:
    assert logs.neutralise("plain\n") == "plain\n"
    assert logs.neutralise("\x1b[31mred\x1b[0m\n") == "\x1b[31mred\x1b[0m\x1b[0m\n"
    assert logs.neutralise("a\x1b[2Jb\x1b]0;t\x07\n") == "a\\x1b[2Jb\\x1b]0;t\\x07\n"
    assert logs.neutralise("\x1bcreset\tx\r\n") == "\\x1bcreset\tx\n"
    assert logs.neutralise("\x9b31m\n") == "\\x9b31m\n"


def test_an_event_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    import time

    time.tzset()
    event = Event(time_ns=1767323045_000000007, action="die", id="ab", name="w\x1bb", attributes={"exitCode": "3"})
    assert events.line(event) == "2026-01-02T03:04:05.000000007+00:00 container die ab (exitCode=3, name=w\\x1bb)"


def test_image_names_split() -> None:
    assert images.split("localhost:5000/a/b:1.2") == ("localhost:5000/a/b", "1.2")
    assert images.split("localhost:5000/a/b") == ("localhost:5000/a/b", "<none>")
    assert images.split("a@sha256:00") == ("a", "<none>")


def test_bad_dates_in_a_history_are_unknown() -> None:
    assert history._moment("yesterday-ish") == 0.0


def test_the_birth_certificate_is_a_line_per_step() -> None:
    certificate = Certificate(
        id="a",
        name="api-1",
        started_at=NOW,
        total_us=6100,
        steps=[
            Step(name="resolve image", text="base → sha256:51ab…", at_us=0, took_us=200),
            Step(name="exec", text="/bin/sh", at_us=4800, took_us=1300),
        ],
    )
    lines = birth.text(certificate).splitlines()
    assert lines[0].startswith("start of api-1 · 6.1 ms · ")
    assert lines[1] == "   0.0  resolve image     base → sha256:51ab…     0.2 ms ▎"
    assert lines[2].split() == ["4.8", "exec", "/bin/sh", "1.3", "ms", "█▎"]
