"""The journal keeps what happened, and tells it to who asks and who listens."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from pyctr.core import events
from pyctr.core.paths import Paths


def journal(tmp_path: Path) -> events.Events:
    return events.Events(Paths(root=str(tmp_path), run=str(tmp_path / "run")))


def test_what_was_recorded_is_read_in_order(tmp_path: Path) -> None:
    log = journal(tmp_path)
    log.record("create", "aa11", "web", image="x")
    log.record("start", "aa11", "web")
    log.record("die", "aa11", "web", exitCode=137)
    found = list(log.read())
    assert [event.action for event in found] == ["create", "start", "die"]
    assert found[2].attributes == {"exitCode": "137"}
    assert list(log.read(since=found[2].time_ns)) == found[2:]
    assert list(log.read(until=found[0].time_ns)) == found[:1]


def test_filters_by_action_container_and_attribute(tmp_path: Path) -> None:
    log = journal(tmp_path)
    log.record("start", "aa11", "web")
    log.record("start", "bb22", "db")
    log.record("die", "bb22", "db", exitCode=1)
    assert [e.name for e in log.read(filters={"event": ["start"]})] == ["web", "db"]
    assert [e.action for e in log.read(filters={"container": ["bb"]})] == ["start", "die"]
    assert [e.action for e in log.read(filters={"exitCode": ["1"]})] == ["die"]


def test_filters_by_image_and_label_are_dockers(tmp_path: Path) -> None:
    """A container by its image with or without tag, an image by its name or id, labels all of them at once."""
    log = journal(tmp_path)
    log.record("start", "aa11", "web", image="localhost:5000/web:1", labels={"app": "x", "tier": ""})
    log.record("start", "bb22", "db", image="localhost:5000/db", labels={"app": "y"})
    log.record("pull", "sha256:cc", "localhost:5000/web:1", type="image")

    def ids(**filters: list[str]) -> list[str]:
        return [event.id for event in log.read(filters=filters)]

    assert ids(image=["localhost:5000/web:1"]) == ids(image=["localhost:5000/web"]) == ["aa11", "sha256:cc"]
    assert ids(image=["localhost:5000/db"]) == ["bb22"] and ids(image=["localhost"]) == []
    assert ids(image=["sha256:cc"]) == ["sha256:cc"]
    assert ids(label=["app"]) == ["aa11", "bb22"] and ids(label=["app=y"]) == ["bb22"]
    assert ids(label=["app=x", "tier"]) == ["aa11"] and ids(label=["app=x", "tier=1"]) == []


def test_a_torn_line_and_a_missing_journal_are_no_reason_to_fail(tmp_path: Path) -> None:
    log = journal(tmp_path)
    assert list(log.read()) == []
    log.record("start", "aa11", "web")
    with open(log.path, "ab") as file:
        file.write(b'{"time_ns": 12')
    assert [event.action for event in log.read()] == ["start"]


def test_followers_hear_new_events_only(tmp_path: Path) -> None:
    log = journal(tmp_path)
    log.record("create", "aa11", "web")
    stop, stopper = os.pipe()
    heard: list[str] = []
    follower = log.follow(stop=stop)
    thread = threading.Thread(target=lambda: heard.extend(event.action for event in follower))
    thread.start()
    while not _watched(log.path):
        os.sched_yield()
    log.record("start", "aa11", "web")
    os.write(stopper, b"x")
    thread.join(20)
    os.close(stop)
    os.close(stopper)
    assert heard == ["start"]


def _watched(path: str) -> bool:
    """Whether this process has an inotify watch on the journal's directory."""
    inode = f"ino:{os.stat(os.path.dirname(path)).st_ino:x} "
    for fd in os.listdir("/proc/self/fdinfo"):
        try:
            with open(f"/proc/self/fdinfo/{fd}") as file:
                if inode in file.read():
                    return True
        except OSError:
            continue
    return False


def test_the_journal_is_cut_when_it_grows_too_long(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(events, "MAX_SIZE", 2000)
    log = journal(tmp_path)
    for number in range(50):
        log.record("start", f"{number}", "web", number=number)
    kept = [int(event.attributes["number"]) for event in log.read()]
    assert kept == list(range(50 - len(kept), 50)) and 5 < len(kept) < 50


def test_who_looks_now_and_then_gets_each_event_once(tmp_path: Path) -> None:
    log = journal(tmp_path)
    assert log.appended() == ([], (0, 0))
    log.record("create", "aa11", "web")
    log.record("start", "aa11", "web")
    found, mark = log.appended()
    assert [event.action for event in found] == ["create", "start"]
    assert log.appended(mark) == ([], mark)
    log.record("die", "aa11", "web")
    with open(log.path, "ab") as file:
        file.write(b'{"half a line')
    found, mark = log.appended(mark)
    assert [event.action for event in found] == ["die"]
    with open(log.path, "ab") as file:
        file.write(b' of a crash"}\n')
    log.record("stop", "aa11", "web")
    os.rename(log.path, f"{log.path}.1")
    found, mark = log.appended(mark)
    assert [event.action for event in found] == ["stop"]
    log.record("destroy", "aa11", "web")
    found, mark = log.appended(mark)
    assert [event.action for event in found] == ["destroy"]
    assert log.appended(mark)[0] == []


def test_at_first_only_the_end_of_a_long_journal_is_read(tmp_path: Path) -> None:
    log = journal(tmp_path)
    for number in range(50):
        log.record("start", "aa11", f"web-{number}")
    found, mark = log.appended(tail=1000)
    assert 1 < len(found) < 15 and found[-1].name == "web-49"
    assert log.appended(mark)[0] == []
