"""What the overview says in words."""

from __future__ import annotations

import pytest

from pyctr.core.health import HEALTHY, STARTING, UNHEALTHY
from pyctr.tui import format as f
from pyctr.tui.details import overview
from pyctr.tui.snapshot import ContainerRow, Snapshot
from pyctr.tui.table import Look


def text(document: object, health: str) -> str:
    row = ContainerRow(id="1" * 64, name="web", status="running", health=health, network="bridge")
    lines = overview.render(document, row, Snapshot(), 300, 20, Look(f.Glyphs()))
    return next((f.plain(line) for line in lines if "health" in f.plain(line)), "")


@pytest.mark.parametrize(
    ("health", "streak", "code", "output", "said"),
    [
        (HEALTHY, 0, 0, "fine", "health healthy · "),
        (UNHEALTHY, 3, 1, "no\n answer\x1b[31m", "health unhealthy (code 1 3 times: no answer"),
        (UNHEALTHY, 1, -1, "health check exceeded timeout (1s)", "(no result: health check exceeded timeout (1s))"),
        (STARTING, 0, 7, "", "health starting (code 7) · "),
    ],
)
def test_why_it_is_not_healthy_is_said(health: str, streak: int, code: int, output: str, said: str) -> None:
    document = {"health": {"status": health, "streak": streak, "log": [{"code": code, "output": output}]}}
    shown = text(document, health)
    assert said in shown
    assert "\x1b" not in shown


def test_without_a_check_nothing_is_said() -> None:
    assert text({}, "") == ""
    assert "health starting · " in text({}, STARTING)
