"""What kernel tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyctr.core import cgroups
from tests.support.groups import Subtree


@pytest.fixture(params=["host", "v1"])
def subtree(request: pytest.FixtureRequest) -> Iterator[Subtree]:
    """A subtree on this host as it is and, if it is a hybrid one, as if it were v1."""
    if request.param == "v1" and cgroups.detect().mode != "hybrid":
        pytest.skip("only a hybrid host can stand for a v1 host too")
    subtree = Subtree(unified=request.param == "host")
    yield subtree
    subtree.close()
