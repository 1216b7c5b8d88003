"""The lines of a birth certificate: one for each step, whoever was at work on it."""

from __future__ import annotations

from pyctr.core.runtime import operation, start


def test_time_that_two_spend_on_one_step_at_once_counts_once() -> None:
    trace = [
        (operation.NETWORK, "veth", 100, 50),
        (operation.NETWORK, "waits for it", 120, 40),  # 10 after the end of the other
        (operation.NETWORK, "", 200, 5),
        (operation.EXEC, "true", 300, 1),
    ]
    assert start.merge(trace) == [
        (operation.NETWORK, "veth, waits for it", 100, 65),
        (operation.EXEC, "true", 300, 1),
    ]
