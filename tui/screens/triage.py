"""Triage: who needs somebody, the worst first, with the numbers that say so and the keys that help."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical

from pyctr.tui import format as f
from pyctr.tui import keys, triage_table
from pyctr.tui.screens.scene import SceneScreen
from pyctr.tui.screens.verbs import Verbs
from pyctr.tui.snapshot import ContainerRow, Focus, Snapshot
from pyctr.tui.sources import WANTED
from pyctr.tui.sources.triage import Case, Ward
from pyctr.tui.widgets.bars import FrameTitle
from pyctr.tui.widgets.grid import Grid, GridHeading
from pyctr.tui.widgets.painted import PaintedLines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyctr.tui.format import Line

_NOT_HERE = frozenset(
    ("mark", "bulk", "sort_menu", "next_tab", "previous_tab", "other_pane", "filter", "faults", "chart_span")
)


class TriageScreen(Verbs, SceneScreen):
    """The list of the sick, and below it all that is known about the one under the cursor."""

    NAME = "triage"
    HEADING = "Triage"
    SCOPES = ("containers", "list", "app")
    CSS_PATH = "triage.tcss"
    BINDINGS = keys.bindings("containers")

    _engines = False
    """There are cases of other engines."""

    def compose_body(self) -> ComposeResult:
        self.grid = Grid(
            lambda width: triage_table.columns(width, self.pyctr.look, engines=self._engines),
            lambda case: case.id,
            empty=self._empty,
            id="grid",
        )
        self.document = PaintedLines(id="document")
        self.document.can_focus = False
        with Vertical(id="list", classes="pane lit"):
            yield FrameTitle(id="list-title")
            with Vertical(classes="frame"):
                yield GridHeading(self.grid)
                yield self.grid
        with Vertical(id="detail", classes="pane"):
            yield FrameTitle(id="detail-title")
            with Vertical(classes="frame"):
                yield self.document

    def on_mount(self) -> None:
        self.set_class(self.app.size.width >= 120, "-framed")
        self.show_snapshot(self.pyctr.snapshot)
        self.grid.focus()

    def on_resize(self) -> None:
        self.set_class(self.app.size.width >= 120, "-framed")
        self.call_after_refresh(self._show_detail)

    @property
    def _ward(self) -> Ward | None:
        document = self.scene.document
        return document if isinstance(document, Ward) else None

    def _empty(self) -> Sequence[Line]:
        ward = self._ward
        if ward is None:
            return self.unread()
        dot = f" {self.pyctr.look.glyphs.dot} "
        quiet = f"{ward.quiet} container{'' if ward.quiet == 1 else 's'}"
        return [(("nobody needs you", "good"), (dot, "faint"), (f"{quiet} looked at", "muted"))]

    def show_snapshot(self, snapshot: Snapshot) -> None:
        if not self.ready:
            return
        self.pyctr.poller.look_at(Focus(self.grid.visible_keys(), self.grid.cursor, sources=WANTED["triage"]))
        ward = self._ward
        cases = list(ward.cases) if ward is not None else []
        engines = any(case.engine for case in cases)
        if engines != self._engines:
            self._engines = engines
            self.grid.restyle()
        self.grid.show(cases)
        self.query_one(GridHeading).update_line()
        title = self.query_one("#list-title", FrameTitle)
        title.words = (("Triage", "strong"),)
        title.right = ()
        if ward is not None:
            title.words = (("Triage", "strong"), (f"  {len(ward.cases)} of {len(ward.cases) + ward.quiet}", "faint"))
            title.right = ((f"{ward.quiet} quiet", "muted"),)
        title.lit = True
        title.update_line()
        self._show_detail()
        super().show_snapshot(snapshot)

    def _show_detail(self) -> None:
        case: Case | None = self.grid.current
        title = self.query_one("#detail-title", FrameTitle)
        title.words = ((f.neutral(case.name), "strong"),) if case is not None else ()
        title.update_line()
        if case is None:
            self.document.show([()])
            return
        usable = [action for action in keys.in_scopes(*self.SCOPES) if not (case.engine and action.changes)]
        shown = {action.name: action.show for action in usable}
        self.document.show(triage_table.lines(case, shown, max(20, self.document.size.width), self.pyctr.look))

    @property
    def walked(self) -> Grid:
        return self.grid

    def current_row(self) -> ContainerRow | None:
        case: Case | None = self.grid.current
        return self.pyctr.snapshot.find(case.id) if case is not None else None

    def idle_actions(self) -> frozenset[str]:
        return _NOT_HERE if self.grid.current is not None else _NOT_HERE | {"open"}

    @on(Grid.Moved)
    def _moved(self) -> None:
        self._show_detail()
        self.refresh_keys()

    @on(Grid.Chosen)
    async def _chosen(self) -> None:
        await self.action_open()

    async def action_open(self) -> None:
        await self._go("overview")

    async def action_inspect(self) -> None:
        await self._go("inspect")

    async def action_logs(self) -> None:  # type: ignore[override]
        await self._go("logs")

    async def _go(self, tab: str) -> None:
        """The container on its own screen, with this tab."""
        if (row := self.current_row()) is not None:
            await self.pyctr.open_container(row.id, tab)
