"""Events: everything that happened, live; of a start its birth certificate."""

from __future__ import annotations

from collections import deque

from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Vertical

from pyctr.tui import event_table, keys
from pyctr.tui import format as f
from pyctr.tui.event_table import EventFilter, Happened
from pyctr.tui.journal import KEPT
from pyctr.tui.screens.base import BaseScreen
from pyctr.tui.snapshot import ContainerRow, Focus, Snapshot
from pyctr.tui.wakeup import Wakeup
from pyctr.tui.widgets.bars import FrameTitle
from pyctr.tui.widgets.grid import Grid, GridHeading
from pyctr.tui.widgets.painted import PaintedLines
from pyctr.tui.widgets.prompt import Prompt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events

    from pyctr.core.events import Event
    from pyctr.tui.format import Line
    from pyctr.tui.journal import Journal

SAME = 5.0
"""Seconds a start's event may come after its certificate's begin, beyond what the start took."""


class EventsScreen(BaseScreen):
    """The newest on top; the list follows while its first row is the chosen one."""

    NAME = "events"
    HEADING = "Events"
    SCOPES = ("events", "list", "app")
    CSS_PATH = "events.tcss"
    BINDINGS = keys.bindings("events")

    def __init__(self) -> None:
        super().__init__()
        self._journal: Journal | None = None
        self._all: deque[Happened] = deque(maxlen=KEPT)
        self._number = 0
        self._filter = EventFilter()
        self._drilled = False
        self._past = 0.0

    def compose_body(self) -> ComposeResult:
        self.grid = Grid(event_table.columns, lambda row: row.key, empty=self._empty, id="grid")
        self.document = PaintedLines(id="document")
        with Container(id="body"):
            with Vertical(id="list", classes="pane"):
                yield FrameTitle(id="list-title")
                with Vertical(classes="frame"):
                    yield GridHeading(self.grid)
                    yield self.grid
            with Vertical(id="detail", classes="pane"):
                yield FrameTitle(id="detail-title")
                with Vertical(classes="frame"):
                    yield self.document
        yield Prompt(id="prompt")

    def on_mount(self) -> None:
        self._arrange(self.app.size.width, self.app.size.height)
        self._journal = self.pyctr.poller.journal(Wakeup(self, self.drain))
        self.grid.focus()
        self.show_snapshot(self.pyctr.snapshot)

    def on_unmount(self) -> None:
        if self._journal is not None:
            self._journal.stop()

    def on_resize(self, event: events.Resize) -> None:
        self._arrange(event.size.width, event.size.height)
        self.call_after_refresh(self._show_detail)

    def _arrange(self, width: int, height: int) -> None:
        beside = width >= 180
        below = not beside and width >= 100 and height >= 30
        self.set_class(beside, "-beside")
        self.set_class(below, "-below")
        self.set_class(width >= 120, "-framed")
        if beside or below:
            self._drilled = False
        self.set_class(self._drilled, "-drilled")

    @property
    def two_panes(self) -> bool:
        return self.has_class("-beside") or self.has_class("-below")

    def drain(self) -> None:
        """Take what the follower has."""
        if self._journal is None:
            return
        for event in self._journal.take():
            self._number += 1
            self._all.append(Happened(self._number, event))
        self._show_list()

    def wait_until_current(self, patience: float = 5.0) -> None:
        """Until the follower has read what there is; not in the app's thread, which takes it. At most seconds."""
        if self._journal is not None:
            self._journal.current.wait(patience)

    def _show_list(self) -> None:
        until = self._past * 1e9 or float("inf")
        rows = [row for row in reversed(self._all) if row.event.time_ns <= until and self._filter.keeps(row.event)]
        following = not self.grid.rows or (self.grid.cursor == self.grid.rows[0].key and not self._drilled)
        self.grid.show(rows)
        if following:
            self.grid.move(0)
        self._show_detail()
        self._title()
        self.refresh_keys()

    def _empty(self) -> Sequence[Line]:
        if self._journal is not None and self._journal.error:
            return [(("the journal cannot be read", "bad"),), ((f.neutral(self._journal.error), "muted"),)]
        if self._filter and self._all:
            return [
                ((f"nothing matches '{self._filter.text}'", "strong"),),
                (),
                (("Esc", "key"), (" shows all", "muted")),
            ]
        return [
            (("nothing has happened yet", "strong"),),
            (),
            (("whatever is done to a container appears here, whoever does it", "muted"),),
        ]

    def filter_text(self) -> str:
        return self._filter.text

    def show_snapshot(self, snapshot: Snapshot) -> None:
        if not self.ready:
            return
        if snapshot.past != self._past:
            self._past = snapshot.past
            self._show_list()
        self._look_at()
        self._show_detail()
        self._title()
        super().show_snapshot(snapshot)

    def _title(self) -> None:
        title = self.query_one("#list-title", FrameTitle)
        shown, total = len(self.grid.rows), len(self._all)
        title.words = (("Events", "strong"), (f"  {shown} of {total}" if shown != total else f"  {total}", "faint"))
        following = not self.grid.rows or self.grid.cursor == self.grid.rows[0].key
        title.right = (("live", "good"),) if following and not self._past else (("g", "key"), (" newest", "muted"))
        if self._journal is not None and self._journal.error:
            title.right = ((f"not followed any more: {f.cut(f.neutral(self._journal.error), 60)}", "bad"),)
        title.lit = self.focused is self.grid
        below = self.query_one("#detail-title", FrameTitle)
        event = self._event
        below.words = (
            ((f"{f.neutral(event.action)} ", event_table.style_of(event)), (f.cut(f.neutral(event.name), 40), "strong"))
            if event is not None
            else (("nothing chosen", "faint"),)
        )
        below.lit = self.focused is self.document
        for one in (title, below):
            if one.parent is not None:
                one.parent.set_class(one.lit and self.has_class("-framed"), "lit")
            one.update_line()

    @property
    def _event(self) -> Event | None:
        row = self.grid.current
        return row.event if row is not None else None

    def _look_at(self) -> None:
        event = self._event
        wanted = event is not None and event.action == "start" and (self.two_panes or self._drilled)
        self.pyctr.poller.look_at(Focus(selected=event.id if event is not None else "", tab="events" if wanted else ""))

    def _show_detail(self) -> None:
        event = self._event
        width = self.document.size.width - 2
        if event is None or width < 10:
            self.document.show([])
            return
        lines = self._facts(event, width)
        if event.action == "start":
            lines = [*self._birth(event, width), (), *lines]
        self.document.show([((" ", "text"), *line) for line in lines])

    def _facts(self, event: Event, width: int) -> list[Line]:
        from pyctr.tui.details import facts

        pairs = [("when", f.stamp(event.time_ns / 1e9)), (event.type, f"{event.name}  {event.id[:12]}")]
        pairs += list(event.attributes.items())
        row = self.pyctr.snapshot.find(event.id)
        if event.type == "container":
            pairs.append(("now", row.status if row is not None else "removed"))
        return facts(pairs, width)

    def _birth(self, event: Event, width: int) -> list[Line]:
        """The certificate of this very start; only the latest start of a container keeps one."""
        from pyctr.tui.details import events as tab

        look = self.pyctr.look
        if self.pyctr.snapshot.find(event.id) is None:
            return [(("its birth certificate went with the container", "faint"),)]
        detail = self.pyctr.snapshot.detail
        if detail is None or detail.id != event.id or not isinstance(detail.document, tab.Happened):
            if detail is not None and detail.id == event.id and detail.error:
                return [((f"cannot read its birth certificate: {f.neutral(detail.error)}", "bad"),)]
            return [((f"looking{look.glyphs.ellipsis}", "faint"),)]
        birth = detail.document.birth
        begin, took = birth.get("started_at") or 0.0, (birth.get("total_us") or 0) / 1e6
        if not begin or not -0.5 <= event.time_ns / 1e9 - begin <= took + SAME:
            return [(("it was started again since; only the latest start keeps its certificate", "faint"),)]
        return tab.certificate(birth, width, look)

    def current_row(self) -> ContainerRow | None:
        event = self._event
        return self.pyctr.snapshot.find(event.id) if event is not None else None

    def idle_actions(self) -> frozenset[str]:
        idle = {"mark", "sort_menu", "next_tab", "previous_tab"}
        if self.two_panes or not self.grid.rows:
            idle.add("open")
        if self.current_row() is None:
            idle.add("to_container")
        return frozenset(idle)

    @on(Grid.Moved)
    def _moved(self) -> None:
        self._look_at()
        self._show_detail()
        self._title()
        self.refresh_keys()

    @on(Grid.Chosen)
    def _chosen(self) -> None:
        self.action_open()

    def on_descendant_focus(self) -> None:
        super().on_descendant_focus()
        self._title()

    def action_up(self) -> None:
        self._scroll_or_move(-1)

    def action_down(self) -> None:
        self._scroll_or_move(1)

    def _scroll_or_move(self, lines: int) -> None:
        if self.focused is self.document:
            self.document.scroll_relative(y=lines, animate=False)
        else:
            self.grid.move_by(lines)

    def action_page_up(self) -> None:
        self.grid.page(-1)

    def action_page_down(self) -> None:
        self.grid.page(1)

    def action_top(self) -> None:
        self.grid.move(0)

    def action_bottom(self) -> None:
        self.grid.move(len(self.grid.rows) - 1)

    def action_other_pane(self) -> None:
        if self.two_panes:
            (self.document if self.focused is self.grid else self.grid).focus()

    def action_open(self) -> None:
        if self.grid.current is None:
            return
        if not self.two_panes:
            self._drilled = True
            self.set_class(True, "-drilled")
            self._look_at()
            self.call_after_refresh(self._show_detail)
        self.call_after_refresh(self.document.focus)

    def action_back(self) -> None:
        prompt = self.query_one(Prompt)
        if prompt.is_open:
            prompt.close()
        elif self.focused is self.document or self._drilled:
            self._drilled = False
            self.set_class(False, "-drilled")
            self.call_after_refresh(self.grid.focus)
        elif self._filter:
            self._filter = EventFilter()
            self._show_list()

    def action_filter(self) -> None:
        def changed(text: str) -> None:
            self._filter = EventFilter(text)
            self._show_list()

        self.query_one(Prompt).ask("/", self._filter.text, changed=changed, back_to=self.grid)

    async def action_to_container(self) -> None:
        """The event's container on its own screen."""
        if (row := self.current_row()) is not None:
            await self.pyctr.open_container(row.id)
