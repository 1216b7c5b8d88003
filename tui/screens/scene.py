"""What the screens of images, networks and volumes have in common: a scene of their own, and rows put in an order."""

from __future__ import annotations

from textual import on

from pyctr.tui import format as f
from pyctr.tui.screens.base import BaseScreen
from pyctr.tui.sources import Scene
from pyctr.tui.widgets.grid import Grid, GridHeading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyctr.tui.format import Line
    from pyctr.tui.table import Column


class SceneScreen(BaseScreen):
    """The source's name is the screen's. One with a table calls it `table`."""

    table: Grid

    def __init__(self) -> None:
        super().__init__()
        self._sorted: Column | None = None

    @property
    def scene(self) -> Scene:
        return self.pyctr.snapshot.scenes.get(self.NAME, Scene())

    def unread(self) -> Sequence[Line]:
        """What stands there as long as nothing could be read."""
        if self.scene.error:
            return [((f"the {self.NAME} cannot be read", "bad"),), ((f.neutral(self.scene.error), "muted"),)]
        return [((f"looking at the {self.NAME}{self.pyctr.look.glyphs.ellipsis}", "faint"),)]

    def show_rows(self, rows: list[Any]) -> None:
        """In the table, by the column the user chose."""
        if self._sorted is not None and self._sorted.sort is not None:
            rows.sort(key=self._sorted.sort, reverse=self._sorted.descending)
            self.table.sorted_by, self.table.descending = self._sorted.key, self._sorted.descending
        self.table.show(rows)
        self.query_one(GridHeading).update_line()

    @on(Grid.SortRequested)
    def _sort(self, message: Grid.SortRequested) -> None:
        """Once more on the same column takes the order away."""
        self._sorted = None if self._sorted is message.column else message.column
        if self._sorted is None:
            self.table.sorted_by = ""
        self.show_snapshot(self.pyctr.snapshot)

    @property
    def walked(self) -> Grid:
        """Where the keys of lists move."""
        return self.table

    def action_up(self) -> None:
        self.walked.move_by(-1)

    def action_down(self) -> None:
        self.walked.move_by(1)

    def action_page_up(self) -> None:
        self.walked.page(-1)

    def action_page_down(self) -> None:
        self.walked.page(1)

    def action_top(self) -> None:
        self.walked.move(0)

    def action_bottom(self) -> None:
        self.walked.move(len(self.walked.rows) - 1)
