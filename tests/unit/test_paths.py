"""Where pyctr lives: what flags and environment may say."""

from __future__ import annotations

import pytest

from pyctr.core import parse
from pyctr.core.errors import UsageError
from pyctr.core.paths import Paths


@pytest.mark.parametrize(
    "group", ["/", "/pyctr", "..", "a/../..", "a//b", ".", "a\nb", "a b", "cgroup.procs", "x" * 256]
)
def test_a_cgroup_parent_outside_our_own_subtree_is_refused(group: str) -> None:
    with pytest.raises(UsageError, match="cgroup parent"):
        Paths.from_environment(cgroup_parent=group)


@pytest.mark.parametrize("bridge", ["sixteen-letters-", "a/b", "..", "a b", "a:b", "ü" * 8])
def test_a_name_that_no_interface_can_have_is_refused(bridge: str) -> None:
    with pytest.raises(UsageError, match="bridge name"):
        Paths.from_environment(bridge=bridge)


def test_names_up_to_the_kernels_limit_are_fine() -> None:
    paths = Paths.from_environment(bridge="fifteen-letters", cgroup_parent="system/pyctr")
    assert (paths.bridge, paths.cgroup_parent) == ("fifteen-letters", "system/pyctr")


def test_more_cpus_than_there_are_is_refused_with_the_range() -> None:
    with pytest.raises(parse.BadValue, match="more than this host has"):
        parse.cpus("100000")


def test_fewer_cpus_than_a_quota_can_say_are_refused() -> None:
    with pytest.raises(parse.BadValue, match="too little"):
        parse.cpus("0.009")
    assert parse.cpus("0.01") == 0.01


def test_a_root_that_is_a_file_is_refused() -> None:
    for flag in ("root", "run"):
        with pytest.raises(UsageError, match="is not a directory"):
            Paths.from_environment(**{flag: "/dev/null"})
