"""What kernel tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyctr.core import cgroups
from tests.support.groups import Subtree
from tests.support.host import Host
from tests.support.oci import Oci


@pytest.fixture(params=["host", "v1"])
def subtree(request: pytest.FixtureRequest) -> Iterator[Subtree]:
    """A subtree on this host as it is and, if it is a hybrid one, as if it were v1."""
    if request.param == "v1" and cgroups.detect().mode != "hybrid":
        pytest.skip("only a hybrid host can stand for a v1 host too")
    subtree = Subtree(unified=request.param == "host")
    yield subtree
    subtree.close()


@pytest.fixture
def oci(bare_host: Host) -> Iterator[Oci]:
    """A bundle for `pyctr-runtime`, and nothing left of its containers."""
    yield Oci(bare_host)
    left = bare_host.census()
    assert not left, f"left behind: {left}"
