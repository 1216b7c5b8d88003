"""Which containers there were at a moment, and how they were."""

from __future__ import annotations

from pyctr.core import pastevents
from pyctr.core.events import Event


def event(at: int, action: str, id: str = "a", **attributes: str) -> Event:
    return Event(
        time_ns=at * 10**9, action=action, id=id, name=f"name-{id}", attributes={"image": "web:1", **attributes}
    )


STORY = [
    event(10, "create"),
    event(11, "start"),
    event(20, "create", "b"),
    event(21, "start", "b", restarts="2"),
    event(25, "pause", "b"),
    event(30, "oom", kills="1"),
    event(31, "die", exitCode="137", oom_killed="True"),
    event(40, "destroy"),
    event(50, "unpause", "b"),
    Event(time_ns=12 * 10**9, action="create", id="n", name="n", type="network"),
]


def then(moment: float) -> dict[str, str]:
    return {id: one.status for id, one in pastevents.at(STORY, moment)[0].items()}


def test_each_state_lasts_until_the_next_event() -> None:
    assert then(5) == {}
    assert then(10.5) == {"a": "created"}
    assert then(24) == {"a": "running", "b": "running"}
    assert then(35) == {"a": "stopped", "b": "paused"}
    assert then(45) == {"b": "paused"}
    assert then(60) == {"b": "running"}


def test_what_was_made_later_or_is_gone_is_known_to_be_absent() -> None:
    assert pastevents.at(STORY, 15)[1] == {"b"}
    assert pastevents.at(STORY, 45)[1] == {"a"}


def test_an_end_has_its_code_and_a_start_forgets_it() -> None:
    one = pastevents.at(STORY, 35)[0]["a"]
    assert (one.code, one.oom_killed, one.started, one.finished) == (137, True, 11, 31)
    assert (one.name, one.image) == ("name-a", "web:1")
    again = pastevents.at([*STORY[:7], event(33, "start", restarts="1")], 35)[0]["a"]
    assert (again.code, again.oom_killed, again.status, again.restarts) == (None, False, "running", 1)
