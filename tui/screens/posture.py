"""Posture: how well every container is shut in, the worst first, and the flag that would mend each gap."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical

from pyctr.tui import format as f
from pyctr.tui import keys, posture_table
from pyctr.tui.details.security import summary
from pyctr.tui.posture_table import PostureFilter
from pyctr.tui.screens.scene import SceneScreen
from pyctr.tui.snapshot import ContainerRow, Focus, Snapshot
from pyctr.tui.sources import WANTED
from pyctr.tui.sources.posture import Rated, Ratings
from pyctr.tui.widgets.bars import FrameTitle
from pyctr.tui.widgets.grid import Grid, GridHeading
from pyctr.tui.widgets.painted import PaintedLines
from pyctr.tui.widgets.prompt import Prompt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyctr.tui.format import Line


class PostureScreen(SceneScreen):
    """The list of all that run, and below it the findings about the one under the cursor. Nothing is changed here."""

    NAME = "posture"
    HEADING = "Posture"
    SCOPES = ("posture", "list", "app")
    CSS_PATH = "posture.tcss"
    BINDINGS = keys.bindings("posture")

    def __init__(self) -> None:
        super().__init__()
        self._filter = PostureFilter()
        self._engines = False
        """There are containers of other engines."""

    def compose_body(self) -> ComposeResult:
        self.table = Grid(
            lambda width: posture_table.columns(width, self.pyctr.look, engines=self._engines),
            lambda one: one.id,
            empty=self._empty,
            id="grid",
        )
        self.document = PaintedLines(id="document")
        with Vertical(id="list", classes="pane lit"):
            yield FrameTitle(id="list-title")
            with Vertical(classes="frame"):
                yield GridHeading(self.table)
                yield self.table
        with Vertical(id="detail", classes="pane"):
            yield FrameTitle(id="detail-title")
            with Vertical(classes="frame"):
                yield self.document
        yield Prompt(id="prompt")

    def on_mount(self) -> None:
        self.set_class(self.app.size.width >= 120, "-framed")
        self.show_snapshot(self.pyctr.snapshot)
        self.table.focus()

    def on_resize(self) -> None:
        self.set_class(self.app.size.width >= 120, "-framed")
        self.call_after_refresh(self._show_detail)

    @property
    def _ratings(self) -> Ratings | None:
        document = self.scene.document
        return document if isinstance(document, Ratings) else None

    def _empty(self) -> Sequence[Line]:
        ratings = self._ratings
        if ratings is None:
            return self.unread()
        if self._filter and ratings.rated:
            text = f"nothing matches '{self._filter.text}'"
            return [((text, "strong"),), (), (("Esc", "key"), (" shows all again", "muted"))]
        return [(("nothing runs", "strong"),), (), (("what does not run is confined by nothing", "muted"),)]

    def filter_text(self) -> str:
        return self._filter.text

    def show_snapshot(self, snapshot: Snapshot) -> None:
        if not self.ready:
            return
        self.pyctr.poller.look_at(Focus(self.table.visible_keys(), self.table.cursor, sources=WANTED["posture"]))
        ratings = self._ratings
        everyone = ratings.rated if ratings is not None else ()
        engines = any(one.engine for one in everyone)
        if engines != self._engines:
            self._engines = engines
            self.table.restyle()
        self.show_rows([one for one in everyone if self._filter.keeps(one)])
        self._titles()
        self._show_detail()
        super().show_snapshot(snapshot)

    def _titles(self) -> None:
        title = self.query_one("#list-title", FrameTitle)
        title.words, title.right = (("Posture", "strong"),), ()
        if (ratings := self._ratings) is not None:
            shown, total = len(self.table.rows), len(ratings.rated)
            number = f"{shown} of {total}" if shown != total else f"{total}"
            title.words = (("Posture", "strong"), (f"  {number}", "faint"))
            gaps = summary(tuple(finding for one in ratings.rated for finding in one.gaps))
            title.right = (*gaps, (f"   {ratings.resting} not running", "faint")) if ratings.resting else gaps
        if self.scene.error and self.table.rows:
            title.right = ((f.cut(f.neutral(self.scene.error), 60), "bad"),)
        title.lit = self.focused is not self.document
        one: Rated | None = self.table.current
        below = self.query_one("#detail-title", FrameTitle)
        below.lit = not title.lit
        below.words = ((f.neutral(one.name), "strong"),) if one is not None else ()
        if one is not None and one.image:
            below.words += ((f"  {f.cut(f.neutral(one.image), 60)}", "faint"),)
        below.right = ((f"pod {f.cut(f.neutral(one.pod), 40)}", "muted"),) if one is not None and one.pod else ()
        for each in (title, below):
            if each.parent is not None:
                each.parent.set_class(each.lit, "lit")
                each.parent.parent.set_class(each.lit, "lit")  # type: ignore[union-attr]
            each.update_line()

    def _show_detail(self) -> None:
        one: Rated | None = self.table.current
        width = max(20, self.document.size.width - 2)
        shown = posture_table.lines(one, width, self.pyctr.look) if one is not None else [()]
        self.document.show([((" ", "text"), *line) for line in shown])

    def current_row(self) -> ContainerRow | None:
        one: Rated | None = self.table.current
        return self.pyctr.snapshot.find(one.id) if one is not None else None

    def is_deep(self) -> bool:
        return self.focused is self.document

    def idle_actions(self) -> frozenset[str]:
        idle = {"mark", "sort_menu", "next_tab", "previous_tab"}
        return frozenset(idle if self.table.current is not None else idle | {"open", "other_pane"})

    @on(Grid.Moved)
    def _moved(self) -> None:
        self.document.scroll_home(animate=False)
        self._titles()
        self._show_detail()
        self.refresh_keys()

    @on(Grid.Chosen)
    async def _chosen(self) -> None:
        await self.action_open()

    def on_descendant_focus(self) -> None:
        super().on_descendant_focus()
        self._titles()

    async def action_open(self) -> None:
        """The container on its own screen."""
        if (row := self.current_row()) is not None:
            await self.pyctr.open_container(row.id, "security")

    def action_rate_again(self) -> None:
        self.pyctr.poller.sources.again("posture")
        self.pyctr.poller.wake()

    def action_up(self) -> None:
        self._walk(-1)

    def action_down(self) -> None:
        self._walk(1)

    def _walk(self, lines: int) -> None:
        if self.focused is self.document:
            self.document.scroll_relative(y=lines, animate=False)
        else:
            self.table.move_by(lines)

    def action_other_pane(self) -> None:
        (self.table if self.focused is self.document else self.document).focus()

    def action_back(self) -> None:
        prompt = self.query_one(Prompt)
        if prompt.is_open:
            prompt.close()
        elif self.focused is self.document:
            self.table.focus()
        elif self._filter:
            self._filter = PostureFilter()
            self.show_snapshot(self.pyctr.snapshot)

    def action_filter(self) -> None:
        def changed(text: str) -> None:
            self._filter = PostureFilter(text)
            self.show_snapshot(self.pyctr.snapshot)

        self.query_one(Prompt).ask("/", self._filter.text, changed=changed, back_to=self.table)
