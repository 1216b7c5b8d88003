"""The main screen: every container in a live list, the selected one in detail, the whole lifecycle from keys."""

from __future__ import annotations

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container, Vertical

from pyctr.tui import format as f
from pyctr.tui import keys
from pyctr.tui.container_table import Filter, Ordering, ascii_titles, columns, note, sick
from pyctr.tui.screens.base import BaseScreen
from pyctr.tui.screens.verbs import Verbs
from pyctr.tui.snapshot import SPANS, ContainerRow, Focus, Snapshot
from pyctr.tui.widgets.bars import FrameTitle
from pyctr.tui.widgets.detailpane import DetailPane
from pyctr.tui.widgets.grid import Grid, GridHeading
from pyctr.tui.widgets.logview import LogView
from pyctr.tui.widgets.prompt import Prompt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyctr.tui.format import Line
    from pyctr.tui.table import Column


class ContainersScreen(Verbs, BaseScreen):
    """List, details, keys."""

    NAME = "containers"
    HEADING = "Containers"
    SCOPES = ("containers", "list", "app")
    CSS_PATH = "containers.tcss"
    BINDINGS = keys.bindings("containers")

    def __init__(self) -> None:
        super().__init__()
        self._filter = Filter()
        self._ordering = Ordering()
        self._span = 300.0
        self._drilled = False
        self._awaited = ""
        self._engines = False
        """There are containers of other engines."""

    def compose_body(self) -> ComposeResult:
        self.grid = Grid(self._columns, lambda row: row.id, note=note, empty=self._empty, id="grid")
        self.detail = DetailPane(self.pyctr.poller.paths, id="detail")
        with Container(id="body"):
            with Vertical(id="list"):
                yield FrameTitle(id="list-title")
                with Vertical(classes="frame"):
                    yield GridHeading(self.grid, id="heading")
                    yield self.grid
            yield self.detail
        yield Prompt(id="prompt")

    def on_mount(self) -> None:
        self._arrange(self.app.size.width, self.app.size.height)
        self.grid.focus()
        self.show_snapshot(self.pyctr.snapshot)

    def on_resize(self, event: events.Resize) -> None:
        self._arrange(event.size.width, event.size.height)
        self.call_after_refresh(self._show_detail)

    def _arrange(self, width: int, height: int) -> None:
        """Details beside, below, or on Enter."""
        beside = width >= 160
        below = not beside and width >= 120 and height >= 30
        self.set_class(beside, "-beside")
        self.set_class(below, "-below")
        self.set_class(width >= 120, "-framed")
        if beside or below:
            self._drilled = False
        self.set_class(self._drilled, "-drilled")
        if below:
            self.detail.styles.height = max(14, min(24, height * 45 // 100))
        else:
            self.detail.styles.height = None

    @property
    def two_panes(self) -> bool:
        return self.has_class("-beside") or self.has_class("-below")

    def _columns(self, width: int) -> list[Column]:
        chosen = columns(width, engines=self._engines)
        return ascii_titles(chosen) if self.pyctr.look.glyphs.ascii else chosen

    def _empty(self) -> Sequence[Line]:
        snapshot = self.pyctr.snapshot
        if not snapshot.loaded:
            return [(("looking for containers" + self.pyctr.look.glyphs.ellipsis, "faint"),)]
        if snapshot.error:
            return [(("the containers cannot be read", "bad"),), ((f.neutral(snapshot.error), "muted"),)]
        if self._filter and snapshot.containers:
            text = "nothing needs you" if self._filter.faults else f"nothing matches '{self._filter.text}'"
            return [((text, "strong"),), (), (("Esc", "key"), (" shows all again", "muted"))]
        if snapshot.past:
            return [(("no containers then", "strong"),), (), (("T", "key"), (" goes back to now", "muted"))]
        if snapshot.read_only:
            return [
                (("no containers to see", "strong"),),
                (),
                ((f"read-only: {snapshot.read_only}", "warn"),),
                (("sudo pyctr-tui", "key"), (" can start some", "muted")),
            ]
        return [
            (("no containers yet", "strong"),),
            (),
            (
                ("n", "key"),
                (" creates one    ", "muted"),
                ("pyctr demo up", "key"),
                (" starts four to look at", "muted"),
            ),
        ]

    def filter_text(self) -> str:
        words = ["faults only"] if self._filter.faults else []
        if self._filter.text:
            words.append(self._filter.text)
        if self.grid.marks:
            words.append(f"{len(self.grid.marks)} marked")
        return "  ".join(words)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        if not self.ready:
            return
        if self._awaited and any(row.id == self._awaited for row in snapshot.containers):
            awaited, self._awaited = self._awaited, ""
            self.call_after_refresh(self.select, awaited)
        engines = any(row.engine for row in snapshot.containers)
        if engines != self._engines:
            self._engines = engines
            self.grid.restyle()
        rows = [row for row in snapshot.containers if self._filter.keeps(row, self.pyctr.poller.bounds)]
        self.grid.sorted_by = self._ordering.column or "name"
        self.grid.descending = self._ordering.descending
        self.grid.show(self._ordering.apply(rows, self.grid.chosen_columns))
        self._look_at()
        self._show_detail()
        self._title(rows, snapshot)
        self.query_one(GridHeading).update_line()
        super().show_snapshot(snapshot)

    def _title(self, rows: list[ContainerRow], snapshot: Snapshot) -> None:
        title = self.query_one("#list-title", FrameTitle)
        shown, total = len(rows), len(snapshot.containers)
        title.words = (("Containers", "strong"), (f"  {shown} of {total}" if shown != total else f"  {total}", "faint"))
        troubled = sum(sick(row, self.pyctr.poller.bounds) for row in snapshot.containers)
        right: Line = ()
        if snapshot.error:
            age = f.duration(max(0.0, snapshot.time - snapshot.good_at)) if snapshot.good_at else ""
            since = f"not read since {age}: " if age and snapshot.good_at != snapshot.time else ""
            right = ((f"{since}{f.cut(f.neutral(snapshot.error), 70)}", "bad"),)
        elif snapshot.limited:
            right = ((snapshot.limited, "warn"),)
        elif troubled:
            right = ((f"{troubled} need{'s' if troubled == 1 else ''} you", "bad"), ("  f", "key"))
        title.right = right
        title.lit = self.focused is self.grid
        self.query_one("#list").set_class(title.lit and self.has_class("-framed"), "lit")
        title.update_line()

    def _look_at(self) -> None:
        shown = self.two_panes or self._drilled
        self.pyctr.poller.look_at(
            Focus(self.grid.visible_keys(), self.grid.cursor, self.detail.tab if shown else "", self._span)
        )

    def _show_detail(self) -> None:
        if self.detail.is_mounted:
            self.detail.show(self.grid.current, self.pyctr.snapshot)

    def current_row(self) -> ContainerRow | None:
        row: ContainerRow | None = self.grid.current
        return row

    def is_deep(self) -> bool:
        return self._drilled or self.focused is self.detail.content

    def idle_actions(self) -> frozenset[str]:
        idle = set()
        if self.pyctr.acts.undo is None:
            idle.add("undo")
        if not self.grid.marks:
            idle.add("bulk")
        if self.two_panes:
            idle.add("open")
        if not self.grid.rows:
            idle |= {"mark", "open", "logs", "inspect"}
        return frozenset(idle)

    def select(self, id: str) -> None:
        """Put the cursor on a container, whatever the filter hid."""
        if id not in {row.id for row in self.grid.rows}:
            self._filter = Filter()
            self.show_snapshot(self.pyctr.snapshot)
        self.grid.select(id)

    def await_row(self, id: str) -> None:
        """Put the cursor on a container as soon as it is seen."""
        self._awaited = id
        self.pyctr.poller.wake()

    def show_tab(self, id: str, tab: str) -> None:
        """Open a container's tab, as `--once` and the palette do."""
        self.select(id)
        self._go_to_tab(tab)

    def wait_until_current(self, patience: float = 5.0) -> None:
        """Until what threads of its own read is there; not in the app's thread. At most seconds."""
        self.detail.wait_until_current(patience)

    def drain(self) -> None:
        """Take what they have read."""
        self.detail.drain()

    @on(Grid.Moved)
    def _moved(self) -> None:
        self._look_at()
        self._show_detail()
        self.refresh_keys()

    @on(Grid.Chosen)
    def _chosen(self) -> None:
        self.action_open()

    @on(Grid.SortRequested)
    def _sort_clicked(self, message: Grid.SortRequested) -> None:
        self.sort_by(message.column)

    @on(FrameTitle.TabClicked)
    def _tab_clicked(self, message: FrameTitle.TabClicked) -> None:
        self.open_tab(message.name)

    def on_descendant_focus(self) -> None:
        super().on_descendant_focus()
        self._title(self.grid.rows, self.pyctr.snapshot)
        self._show_detail()

    def on_key(self, event: events.Key) -> None:
        """Shift and a column's letter sort by it."""
        if self.focused is not self.grid or event.character is None:
            return
        taken = {key for action in keys.in_scopes(*self.SCOPES) for key in action.keys.split(",")}
        for column in self.grid.chosen_columns:
            if column.sort_key and column.sort_key == event.character and event.character not in taken:
                event.stop()
                self.sort_by(column)

    def sort_by(self, column: Column) -> None:
        self._ordering = self._ordering.pressed(column)
        self.show_snapshot(self.pyctr.snapshot)

    def action_sort_menu(self) -> None:
        from pyctr.tui.widgets.dialogs import Choose

        choices = [("", "attention", "failing first, then live, then at rest")]
        for column in self.grid.chosen_columns:
            if column.sort is not None:
                letter = f"Shift-{column.sort_key}" if column.sort_key else ""
                choices.append((column.key, column.title or column.key, letter))

        def chosen(key: str | None) -> None:
            if key is None:
                return
            column = next((column for column in self.grid.chosen_columns if column.key == key), None)
            if column is not None:
                self.sort_by(column)

        choices[0] = ("attention", *choices[0][1:])

        def answered(key: str | None) -> None:
            if key == "attention":
                self._ordering = Ordering()
                self.show_snapshot(self.pyctr.snapshot)
            else:
                chosen(key)

        self.app.push_screen(Choose("Sort by", choices), answered)

    def action_up(self) -> None:
        self._scroll_or_move(-1)

    def action_down(self) -> None:
        self._scroll_or_move(1)

    def _scroll_or_move(self, lines: int) -> None:
        if self.focused is self.grid:
            self.grid.move_by(lines)
        else:
            self.detail.content.scroll_relative(y=lines, animate=False)

    def action_page_up(self) -> None:
        self._page(-1)

    def action_page_down(self) -> None:
        self._page(1)

    def _page(self, direction: int) -> None:
        if self.focused is self.grid:
            self.grid.page(direction)
        else:
            content = self.detail.content
            content.scroll_relative(y=direction * max(1, content.size.height - 1), animate=False)

    def action_top(self) -> None:
        if self.focused is self.grid:
            self.grid.move(0)
        else:
            self.detail.content.scroll_home(animate=False)

    def action_bottom(self) -> None:
        if self.focused is self.grid:
            self.grid.move(len(self.grid.rows) - 1)
        else:
            self.detail.content.scroll_end(animate=False)

    def action_open(self) -> None:
        if self.current_row() is None or self.focused is not self.grid:
            return
        if not self.two_panes:
            self._drilled = True
            self.set_class(True, "-drilled")
            self._look_at()
            self.call_after_refresh(self._show_detail)
        self.call_after_refresh(self.detail.content.focus)

    def action_back(self) -> None:
        prompt = self.query_one(Prompt)
        if prompt.is_open:
            prompt.close()
        elif self.focused is not self.grid or self._drilled:
            self._drilled = False
            self.set_class(False, "-drilled")
            self.detail.merged = ()
            self._look_at()
            self._show_detail()
            self.call_after_refresh(self.grid.focus)
        elif self._filter:
            self._filter = Filter()
            self.show_snapshot(self.pyctr.snapshot)
        elif self.grid.marks:
            self.grid.clear_marks()
            self.refresh_keys()

    def action_other_pane(self) -> None:
        if self.focused is self.grid and self.two_panes:
            self.detail.content.focus()
        elif not self._drilled:
            self.grid.focus()

    def open_tab(self, name: str) -> None:
        self.detail.open_tab(name)
        self._look_at()
        self.call_after_refresh(self._show_detail)

    def action_next_tab(self) -> None:
        self.detail.step_tab(1)
        self._look_at()
        self.call_after_refresh(self._show_detail)

    def action_previous_tab(self) -> None:
        self.detail.step_tab(-1)
        self._look_at()
        self.call_after_refresh(self._show_detail)

    def _go_to_tab(self, name: str) -> None:
        if self.current_row() is None:
            return
        self.open_tab(name)
        if self.focused is self.grid:
            self.action_open()

    def action_logs(self) -> None:
        """The log of the one under the cursor; of all marked ones as one, in the order of time."""
        marked = self.grid.marked
        self._go_to_tab("logs")
        self.detail.merged = tuple(marked) if len(marked) > 1 else ()
        self._show_detail()

    def action_inspect(self) -> None:
        self._go_to_tab("inspect")

    def action_chart_span(self) -> None:
        self._span = SPANS[(SPANS.index(self._span) + 1) % len(SPANS)]
        self._look_at()

    def action_mark(self) -> None:
        self.grid.toggle_mark()
        self.refresh_keys()

    def action_faults(self) -> None:
        self._filter = Filter(self._filter.text, faults=not self._filter.faults)
        self.show_snapshot(self.pyctr.snapshot)

    def action_filter(self) -> None:
        def changed(text: str) -> None:
            self._filter = Filter(text, faults=self._filter.faults)
            self.show_snapshot(self.pyctr.snapshot)

        self.query_one(Prompt).ask("/", self._filter.text, changed=changed, back_to=self.grid)

    @on(LogView.PromptWanted)
    def _log_prompt(self, message: LogView.PromptWanted) -> None:
        view = message.view
        if message.what == "search":
            text = view.pattern.pattern if view.pattern is not None else ""
            self.query_one(Prompt).ask("/", text, done=view.search, back_to=view)
        else:
            text = view.only.pattern if view.only is not None else ""
            self.query_one(Prompt).ask("only", text, changed=view.show_only, back_to=view)
