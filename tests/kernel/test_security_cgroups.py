"""What a container sees of control groups: its own, never the host's tree."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pyctr.core import cgroups
from tests.support.host import Host


@pytest.fixture
def neighbour(host: Host) -> Iterator[str]:
    """The name of a group that somebody else has in every hierarchy of the host."""
    name = "neighbour-of-the-test"
    layout = cgroups.detect()
    places = [
        f"{top}/{host.paths.cgroup_parent}/{name}" for top in {*layout.controllers.values(), layout.unified} - {""}
    ]
    for place in places:
        os.makedirs(place)
    yield name
    for place in places:
        os.rmdir(place)


def test_no_hierarchy_shows_the_groups_of_others(host: Host, neighbour: str) -> None:
    script = "cd /sys/fs/cgroup && find . -type d && find . -name cgroup.procs"
    seen = host.run("run", "--rm", "--network", "none", "localhost/base", "sh", "-c", script).stdout
    assert "cgroup.procs" in seen
    assert neighbour not in seen and host.paths.cgroup_parent not in seen
