"""The cause that is named is the one the evidence bears out."""

from __future__ import annotations

from typing import Any

import pytest

from pyctr.core import deaths, deathtext


def document(code: int, signal: int = 0, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": "web", "id": "ab" * 32, "image": "", "command": ["x"], "started_at": 100.0, "finished_at": 190.5,
        "pid": 42, "code": code, "signal": signal, "oom_killed": False, "error": "", "restarts": 0,
        "memory": {"limit": 256 << 20, "peak": 256 << 20, "events_before": None, "events": {"oom_kill": 0}},
        "kernel": {"oom": [], "faults": []}, "samples": [], "log": [], "events": [], **more,
    }  # fmt: skip
    made["cause"] = deaths.cause(made)
    return made


def kill(pid: int, whole: bool = False) -> dict[str, Any]:
    return {
        "oom": [{"pid": pid, "name": "java", "rss": 250 << 20, "whole_host": whole, "at": 1.0, "text": ""}],
        "faults": [],
    }


@pytest.mark.parametrize(
    ("given", "cause", "words"),
    [
        (document(137, 9, oom_killed=True), deaths.OOM, "OOM-killed at 256M of 256M"),
        (document(137, oom_killed=True), deaths.OOM, "OOM-killed"),
        (document(137, 9, oom_killed=True, kernel=kill(42, True)), deaths.OOM, "the host was out of memory"),
        (document(137, 9), deaths.KILLED, "not for memory"),
        (document(143, 15), deaths.KILLED, "killed by SIGTERM from outside"),
        (document(139, 11), deaths.CRASHED, "crashed: SIGSEGV"),
        (document(139), deaths.FAILED, "a child of its own ended by SIGSEGV"),
        (document(1), deaths.FAILED, "exit code 1"),
        # a child was killed for memory at some time: that is not what ended it
        (document(1, oom_killed=True, kernel=kill(99)), deaths.FAILED, "exit code 1"),
        (document(143, 15, oom_killed=True), deaths.KILLED, "SIGTERM"),
    ],
)  # fmt: skip
def test_the_cause_and_its_words(given: dict[str, Any], cause: str, words: str) -> None:
    assert given["cause"] == cause
    assert words in deathtext.headline(given)


def test_the_page_names_the_process_the_kernel_chose() -> None:
    page = "\n".join(deathtext.lines(document(137, 9, oom_killed=True, kernel=kill(42))))
    assert "the kernel killed its first process, java (pid 42), which had 250M" in page
    assert "SIGKILL (9): killed outright" in page and "after 2 min" in page
    page = "\n".join(deathtext.lines(document(137, 9, oom_killed=True)))
    assert "the kernel log has no record of it" in page


@pytest.mark.parametrize(
    ("wishes", "exit", "desired", "kept"),
    [
        ({}, {"code": 1}, "running", True),
        ({}, {"code": 0}, "running", False),
        ({}, {"code": 137, "signal": 9}, "stopped", False),
        ({}, {"code": 137, "signal": 9, "oom_killed": True}, "stopped", True),
        ({"auto_remove": True}, {"code": 1}, "running", True),
        ({"auto_remove": True, "attach": True}, {"code": 1}, "running", False),
        ({"auto_remove": True, "attach": True}, {"code": 139, "signal": 11}, "running", True),
    ],
)
def test_what_is_a_death(wishes: dict[str, Any], exit: dict[str, Any], desired: str, kept: bool) -> None:
    assert deaths.worth_keeping(wishes, {"signal": 0, "oom_killed": False, **exit}, desired) is kept
