"""Descriptors and moments in one loop."""

from __future__ import annotations

import os
import time

from pyctr.core.runtime.loop import READ, Loop


def test_an_alarm_rings_once_and_in_time() -> None:
    loop, rung = Loop(), []
    moment = time.monotonic() + 0.02
    loop.at(moment, lambda: rung.append(time.monotonic()))
    assert loop.turn(), "an alarm is an event, too"
    assert rung[0] >= moment
    assert not loop.turn(time.monotonic() + 0.01)
    assert len(rung) == 1


def test_a_deadline_before_the_alarm_comes_first() -> None:
    loop, rung = Loop(), []
    loop.at(time.monotonic() + 3600, lambda: rung.append(1))
    assert not loop.turn(time.monotonic())
    assert rung == []


def test_an_alarm_is_put_off_and_taken_back() -> None:
    loop, rung = Loop(), []

    def ring() -> None:
        rung.append(1)

    loop.at(time.monotonic() - 1, ring)
    loop.at(time.monotonic() + 3600, ring)
    assert not loop.turn(time.monotonic())
    loop.at(None, ring)
    assert not loop.turn(time.monotonic())
    assert rung == []


def test_an_alarm_may_set_the_next_one_and_end_another() -> None:
    loop, rung = Loop(), []

    def first() -> None:
        rung.append("first")
        loop.at(None, second)
        loop.at(time.monotonic() - 1, first)

    def second() -> None:
        rung.append("second")

    loop.at(time.monotonic() - 2, first)
    loop.at(time.monotonic() - 1, second)
    loop.turn(time.monotonic())
    assert rung == ["first"]
    loop.turn(time.monotonic())
    assert rung == ["first", "first"]


def test_descriptors_are_served_while_an_alarm_is_due() -> None:
    loop, seen = Loop(), []
    reading, writing = os.pipe()
    try:
        os.write(writing, b"x")
        loop.add(reading, READ, lambda events: seen.append("fd"))
        loop.at(time.monotonic() - 1, lambda: seen.append("alarm"))
        loop.turn()
        assert sorted(seen) == ["alarm", "fd"]
    finally:
        os.close(reading)
        os.close(writing)
