"""The poller on its own: it must outlive everything it looks at."""

from __future__ import annotations

import gc
import json
import os
import threading
from pathlib import Path

import pytest

from pyctr.core.paths import Paths
from pyctr.core.spec import ContainerSpec
from pyctr.core.state import State
from pyctr.tui.engine import Poller
from pyctr.tui.snapshot import Focus, Snapshot


def _poller(tmp_path: Path) -> Poller:
    return Poller(Paths(root=str(tmp_path / "root"), run=str(tmp_path / "run")), interval=0.05)


def _two_ticks(poller: Poller) -> list[Snapshot]:
    seen: list[Snapshot] = []
    enough = threading.Event()

    def post(snapshot: Snapshot) -> None:
        seen.append(snapshot)
        if len(seen) >= 2:
            enough.set()

    poller.start(post)
    try:
        assert enough.wait(20), f"{len(seen)} ticks"
    finally:
        poller.stop()
    return seen


def test_a_host_without_pyctr_is_empty_and_no_error(tmp_path: Path) -> None:
    snapshot = _poller(tmp_path).collect()
    assert snapshot.containers == ()
    assert snapshot.error == ""
    assert snapshot.host.memory_total


def test_it_goes_on_with_more_than_1024_open_files(tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1200:
        pytest.skip(f"only {hard} descriptors allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    taken = [os.open("/dev/null", os.O_RDONLY) for _ in range(1050)]
    try:
        assert len(_two_ticks(_poller(tmp_path))) >= 2
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_broken_record_is_said_and_hides_no_other_container(tmp_path: Path) -> None:
    poller = _poller(tmp_path)
    poller.collect()
    good = State(id="b" * 64, name="good", created_at=1.0, spec=ContainerSpec(image="x", name="good").to_dict())
    for id, text in (("a" * 64, "{"), (good.id, json.dumps(good.to_dict()))):
        directory = tmp_path / "root" / "containers" / id
        directory.mkdir(parents=True)
        (directory / "state.json").write_text(text)
    snapshot = poller.collect()
    assert "record" in snapshot.error
    assert [(row.name, row.status) for row in snapshot.containers] == [("good", "created")]


def test_a_mistake_of_ours_is_shown_instead_of_a_picture_that_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poller = _poller(tmp_path)

    def broken() -> Snapshot:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(poller, "collect", broken)
    seen = _two_ticks(poller)
    assert seen[-1].error == "ZeroDivisionError: oh"


def test_stopping_leaves_no_thread_and_no_descriptor(tmp_path: Path) -> None:
    gc.collect()  # what earlier tests left does not close itself in the middle of this one
    before = len(os.listdir("/proc/self/fd"))
    poller = _poller(tmp_path)
    _two_ticks(poller)
    poller.look_at(Focus(selected="x", tab="overview"))
    assert not any(thread.name == "poller" for thread in threading.enumerate())
    assert len(os.listdir("/proc/self/fd")) == before
