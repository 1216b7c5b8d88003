"""A layer with fifty thousand files: read bit by bit while keys are answered, given up when nobody wants it any more,
and afterwards only what is on the screen is drawn."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from pyctr.core.engine import Engine
from pyctr.core.images.stack import Stack
from pyctr.tui import file_table, layerreader, picture
from pyctr.tui.app import PyctrApp
from pyctr.tui.screens.images import ImagesScreen
from pyctr.tui.widgets.grid import Grid
from tests.support import screens
from tests.support.shelf import stocked
from tests.tui.test_images_screen import run, to, until

MANY = 50_000
SOON = 5_000
TITLE = "RUN pip install"


@pytest.fixture
def crowded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[screens.Replay]:
    host = screens.replay(tmp_path, monkeypatch)
    engine = Engine(host.paths)
    made = stocked(engine)[0]
    crowd = Path(engine.layers.path(made.layers[2].diff_id), "crowd")
    crowd.mkdir()
    for number in range(MANY):
        os.close(os.open(f"{crowd}/{number:05}", os.O_CREAT | os.O_WRONLY))
    yield host
    shutil.rmtree(crowd)


class Counted:
    """A function that counts its calls."""

    def __init__(self, real: Any) -> None:
        self.real = real
        self.calls = 0

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return lambda *words, **more: self(instance, *words, **more)

    def __call__(self, *words: Any, **more: Any) -> Any:
        self.calls += 1
        return self.real(*words, **more)


def test_fifty_thousand_files_stay_fluid(crowded: screens.Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    held, go_on = threading.Event(), threading.Event()
    walks: set[Stack] = set()
    real_step = Stack.step

    def step(self: Stack, entries: int) -> bool:
        more = real_step(self, entries)
        walks.add(self)
        if self.looked >= SOON and not go_on.is_set():
            held.set()
            assert go_on.wait(60)
        return more

    monkeypatch.setattr(Stack, "step", step)
    drawn, built = Counted(Grid._render_row), Counted(file_table._row)

    async def script(app: PyctrApp, screen: ImagesScreen, pilot: Pilot[None]) -> None:
        tree = screen.tree_grid
        crowd = next(row for row in tree.rows if row.node.title.startswith(TITLE))
        tree.select(crowd.key)
        await until(held.is_set, pilot)
        # in the middle of the walk: nothing waits for it
        assert "reading its files" in picture.text_of(app)
        await pilot.press("question_mark")
        await pilot.press("escape")
        other = tree.rows[0]
        await pilot.press("g")
        assert tree.cursor == other.key
        # nobody wants it any more: it ends where it is
        [walk] = walks
        go_on.set()
        await until(lambda: screen.pane._ready and screen.pane.row is not None, pilot)
        assert screen.pane.row is not None and screen.pane.row.key == other.key
        assert SOON <= walk.looked <= SOON + 3 * layerreader.STEP

        # wanted again, it is read to its end
        await to(screen, TITLE, pilot)
        assert sum(one.looked for one in walks) >= MANY
        screen.files.focus()
        screen.files.select("/crowd")
        await pilot.press("right")
        await until(lambda: len(screen.files.rows) > MANY, pilot)

        # what a key costs does not depend on how many there are
        monkeypatch.setattr(Grid, "_render_row", drawn)
        monkeypatch.setattr(file_table, "_row", built)
        for key in ("G", "g", "pagedown", *"jjjjjjj"):
            drawn.calls = 0
            await pilot.press(key)
            await pilot.pause()
            assert 0 < drawn.calls < MANY // 50, key
        assert built.calls == 0
        await pilot.press("left")
        await pilot.press("left")
        await pilot.pause()
        assert len(screen.files.rows) < MANY

    run(crowded, script, (120, 40))
