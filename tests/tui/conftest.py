"""Screens are shown from recorded hosts; what reads them is closed after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import screens


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    screens.close()
