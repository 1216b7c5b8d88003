"""Kernel tests get a host of their own; without root they are skipped, and the reason is printed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pyctr.core.paths import Paths

from .support.host import Host

pytest.register_assert_rewrite("tests.support.scenarios")

# a busy host is no reason to fail
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

NEEDS_ROOT = ("tests/kernel", "tests/e2e")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(config.rootpath / "tests/tui"):
            # an exception out of a signal may end up in one of Textual's tasks, and the rest then waits for ever
            item.add_marker(pytest.mark.timeout(240, method="thread"))
    if os.geteuid() == 0:
        return
    skip = pytest.mark.skip(reason="needs root and a real kernel: sudo make test")
    for item in items:
        where = item.path.relative_to(config.rootpath).as_posix()
        if where.startswith(NEEDS_ROOT):
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def no_descriptors_left() -> Iterator[None]:
    """One test's leak is another one's failure: beyond 1024 descriptors select(2) refuses."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    left = len(os.listdir("/proc/self/fd")) - before
    assert left < 50, f"{left} descriptors were left open"


@pytest.fixture(scope="session")
def base_images(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A store with the embedded base image in it, made once per test process and shared read-only."""
    from pyctr.core.engine import Engine
    from pyctr.core.images import base

    root: Path = tmp_path_factory.mktemp("images")
    paths = Paths(root=str(root), run=str(root / "run"))
    engine = Engine(paths)
    base.ensure(engine.images, engine.layers)
    return paths


@pytest.fixture
def host(base_images: Paths) -> Iterator[Host]:
    """An isolated pyctr with the base image; afterwards everything is removed and nothing may be left."""
    host = Host(images_from=base_images)
    yield host
    host.close()


@pytest.fixture
def bare_host() -> Iterator[Host]:
    """Like `host`, with an empty image store of its own."""
    host = Host()
    yield host
    host.close()
