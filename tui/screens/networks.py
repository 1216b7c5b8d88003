"""Networks: who hangs on which rail, what moves on every link, and the way out."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Vertical

from pyctr.core.netgraph import ALIVE
from pyctr.tui import format as f
from pyctr.tui import keys, network_table
from pyctr.tui.container_table import state_style
from pyctr.tui.screens.scene import SceneScreen
from pyctr.tui.snapshot import ContainerRow, Focus, Snapshot
from pyctr.tui.sources import WANTED
from pyctr.tui.sources.networks import Rails
from pyctr.tui.widgets.bars import FrameTitle
from pyctr.tui.widgets.graph import NetworkGraph
from pyctr.tui.widgets.grid import Grid, GridHeading
from pyctr.tui.widgets.painted import PaintedLines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events

    from pyctr.tui.format import Line, Span

GRAPH_WIDTH, BOTH_WIDTH = 100, 120
"""From these widths on a graph, or graph and table, where there are many containers."""


class NetworksScreen(SceneScreen):
    """Graph, table, and one line about the container under the cursor."""

    NAME = "networks"
    HEADING = "Networks"
    SCOPES = ("networks", "list", "app")
    CSS_PATH = "networks.tcss"
    BINDINGS = keys.bindings("networks")

    def __init__(self) -> None:
        super().__init__()
        self._wish = ""
        """graph or table, once the user chose."""
        self._crowded = False

    def compose_body(self) -> ComposeResult:
        self.graph = NetworkGraph(empty=self._empty, id="graph")
        self.table = Grid(
            lambda width: network_table.columns(width, self.pyctr.look),
            lambda row: row.key,
            empty=self._empty,
            id="table",
        )
        with Container(id="body"):
            with Vertical(id="graph-pane", classes="pane"):
                yield FrameTitle(id="graph-title")
                with Vertical(classes="frame"):
                    yield self.graph
            with Vertical(id="table-pane", classes="pane"):
                yield FrameTitle(id="table-title")
                with Vertical(classes="frame"):
                    yield GridHeading(self.table)
                    yield self.table
        facts = PaintedLines(id="facts")
        facts.can_focus = False
        yield facts

    def on_mount(self) -> None:
        self._arrange(self.app.size.width)
        self.show_snapshot(self.pyctr.snapshot)

    def on_resize(self, event: events.Resize) -> None:
        self._arrange(event.size.width)

    def _arrange(self, width: int) -> None:
        table = self._wish == "table" or (not self._wish and (width < GRAPH_WIDTH or self._crowded))
        both = not self._wish and self._crowded and width >= BOTH_WIDTH
        self.set_class(width >= 120, "-framed")
        if (table, both) != (self.has_class("-table"), self.has_class("-both")) or self.focused is None:
            self.set_class(table, "-table")
            self.set_class(both, "-both")
            self.call_after_refresh((self.table if table and not both else self.graph).focus)

    @property
    def _view(self) -> Rails | None:
        document = self.scene.document
        return document if isinstance(document, Rails) else None

    def _empty(self) -> Sequence[Line]:
        if self._view is None:
            return self.unread()
        return [
            (("no networks and no containers yet", "strong"),),
            (),
            (("pyctr demo up", "key"), (" starts four containers to look at", "muted")),
        ]

    def show_snapshot(self, snapshot: Snapshot) -> None:
        if not self.ready:
            return
        self.pyctr.poller.look_at(Focus(selected=self.chosen_id(), tab="network", sources=WANTED["networks"]))
        known = {row.id: row for row in snapshot.containers}
        view = self._view
        crowded = view is not None and sum(node.status in ALIVE for node in view.graph.nodes) > 60
        if crowded != self._crowded:
            self._crowded = crowded
            self._arrange(self.size.width)
        self.graph.show_view(view, known)
        rows = network_table.rows(view, known) if view is not None else []
        self.show_rows(rows)
        self._titles(view, snapshot)
        self._facts(view, snapshot)
        super().show_snapshot(snapshot)

    def _titles(self, view: Rails | None, snapshot: Snapshot) -> None:
        right: tuple[Span, ...] = ()
        if self.scene.error and view is not None:
            age = f.duration(max(0.0, snapshot.time - self.scene.taken_at))
            right = ((f"as of {age} ago: {f.cut(f.neutral(self.scene.error), 60)}", "bad"),)
        elif view is not None:
            losing = [flow for (kind, _), flow in view.flows.items() if kind == "edge" and flow.dropped + flow.errors]
            if losing:
                right = ((f"{len(losing)} losing packets", "bad"),)
        words: list[Span] = [("Networks", "strong")]
        if view is not None:
            words.append((f"  {len(view.graph.networks)}", "faint"))
            if self.graph.hidden:
                words.append((f"  {len(self.graph.hidden)} quiet ones only counted", "faint"))
        for name, text, widget in (
            ("#graph-title", tuple(words), self.graph),
            ("#table-title", (("Containers", "strong"), (f"  {len(self.table.rows)}", "faint")), self.table),
        ):
            title = self.query_one(name, FrameTitle)
            title.words, title.right = text, right if name == "#graph-title" else ()
            title.lit = self.focused is widget
            if title.parent is not None:
                title.parent.set_class(title.lit and self.has_class("-framed"), "lit")
            title.update_line()

    def _facts(self, view: Rails | None, snapshot: Snapshot) -> None:
        """What there is no room for in the picture: the whole name, who it is, whom it talks to."""
        pane = self.query_one("#facts", PaintedLines)
        row = self.current_row()
        if view is None or row is None:
            pane.show([(), ()])
            return
        glyphs, width = self.pyctr.look.glyphs, pane.size.width
        dot: Span = (f" {glyphs.dot} ", "faint")
        edges = [edge for edge in view.graph.edges if edge.id == row.id]
        name = f.cut(f.neutral(row.name), max(12, width // 3))
        first: list[Span] = [(f"{glyphs.state(row.status, failed=row.failed)} ", state_style(row))]
        first.append((name, "strong"))
        for edge in edges:
            first += [dot, (f.neutral(edge.network), "text"), (f" {edge.address}", "text")]
            if edge.mac:
                first.append((f"  {edge.mac}", "faint"))
            if edge.host_if:
                first.append((f"  {edge.host_if}", "faint"))
        if not edges:
            first += [dot, (f.neutral(row.network), "muted")]
        second: list[Span] = []
        for edge in edges:
            if (seen := edge.counters) is not None:
                second += [
                    ("since its start ", "faint"),
                    (f"{glyphs.down}{f.size(seen.rx_bytes)} {glyphs.up}{f.size(seen.tx_bytes)}", "text"),
                    dot,
                    (
                        f"{f.count(seen.dropped)} dropped, {f.count(seen.errors)} errors",
                        _lost(seen.dropped + seen.errors),
                    ),
                ]
        second += self._peers(view, snapshot, row.id, dot)
        pane.show([f.fit_line(first, width), f.fit_line(second, width)])

    def _peers(self, view: Rails, snapshot: Snapshot, id: str, dot: Span) -> list[Span]:
        """Whom it has connections with, by name where it is one of ours."""
        from pyctr.tui.details.network import Networked

        detail = snapshot.detail
        if detail is None or detail.id != id or not isinstance(detail.document, Networked):
            return []
        names = {node.id: f.neutral(node.name) for node in view.graph.nodes}
        ours = {edge.address.partition("/")[0]: names[edge.id] for edge in view.graph.edges if edge.address}
        spans: list[Span] = []
        for number, (address, count) in enumerate(detail.document.peers[:3]):
            spans.append(dot if not number else (", ", "faint"))
            if not number:
                spans.append(("talks to ", "faint"))
            spans += [(ours.get(address, address), "text"), (f" ({count})", "faint")]
        if listening := detail.document.listening:
            spans += [dot, ("listens ", "faint"), (", ".join(listening[:3]), "muted")]
        return spans

    def _table_first(self) -> bool:
        return self.focused is self.table

    def chosen_id(self) -> str:
        if self._table_first():
            return self.table.current.id if self.table.current is not None else ""
        return self.graph.cursor

    def current_row(self) -> ContainerRow | None:
        return self.pyctr.snapshot.find(self.chosen_id())

    def idle_actions(self) -> frozenset[str]:
        idle = {"mark", "sort_menu", "next_tab", "previous_tab", "filter"}
        if not self.has_class("-both"):
            idle.add("other_pane")
        if self.current_row() is None:
            idle.add("open")
        return frozenset(idle)

    def select(self, id: str) -> None:
        """Put the cursor on a container."""
        self.graph.select(id)
        row = next((row for row in self.table.rows if row.id == id), None)
        if row is not None:
            self.table.select(row.key)

    @on(NetworkGraph.Moved)
    def _graph_moved(self, message: NetworkGraph.Moved) -> None:
        if not self._table_first():
            row = next((row for row in self.table.rows if row.id == message.id), None)
            if row is not None:
                self.table.select(row.key)
            self._moved()

    @on(Grid.Moved)
    def _table_moved(self) -> None:
        if self._table_first() and self.table.current is not None:
            self.graph.select(self.table.current.id)
            self._moved()

    def _moved(self) -> None:
        self.pyctr.poller.look_at(Focus(selected=self.chosen_id(), tab="network", sources=WANTED["networks"]))
        self._facts(self._view, self.pyctr.snapshot)
        self.refresh_keys()

    @on(NetworkGraph.Chosen)
    @on(Grid.Chosen)
    async def _chosen(self) -> None:
        await self.action_open()

    def on_descendant_focus(self) -> None:
        super().on_descendant_focus()
        self._titles(self._view, self.pyctr.snapshot)

    def action_up(self) -> None:
        if self._table_first():
            self.table.move_by(-1)
        else:
            self.graph.move(0, -1)

    def action_down(self) -> None:
        if self._table_first():
            self.table.move_by(1)
        else:
            self.graph.move(0, 1)

    def action_left(self) -> None:
        if not self._table_first():
            self.graph.move(-1, 0)

    def action_right(self) -> None:
        if not self._table_first():
            self.graph.move(1, 0)

    def action_page_up(self) -> None:
        (self.table if self._table_first() else self.graph).page(-1)

    def action_page_down(self) -> None:
        (self.table if self._table_first() else self.graph).page(1)

    def action_top(self) -> None:
        if self._table_first():
            self.table.move(0)
        else:
            self.graph.first()

    def action_bottom(self) -> None:
        if self._table_first():
            self.table.move(len(self.table.rows) - 1)
        else:
            self.graph.last()

    def action_other_pane(self) -> None:
        if self.has_class("-both"):
            (self.graph if self._table_first() else self.table).focus()

    def action_as_table(self) -> None:
        """Graph or table, from now on whatever the width."""
        self._wish = "graph" if self.has_class("-table") and not self.has_class("-both") else "table"
        id = self.chosen_id()
        self._arrange(self.size.width)
        self.select(id)

    def action_check_reach(self) -> None:
        """From the container under the cursor to whatever is typed, step by step."""
        row = self.current_row()
        view = self._view
        if row is None or row.status != "running" or view is None:
            return
        if self.pyctr.snapshot.recorded:
            self.pyctr.complain("read-only", f"{self.pyctr.snapshot.read_only}: nobody answers there")
            return
        from pyctr.tui.checking import Check
        from pyctr.tui.widgets.checkdialog import CheckDialog

        def told() -> None:
            try:
                self.app.call_from_thread(dialog.show)
            except RuntimeError:
                pass  # the app has ended meanwhile

        rails = {edge.network for edge in view.graph.edges if edge.id == row.id}
        beside = {edge.id for edge in view.graph.edges if edge.network in rails}
        nodes = [node for node in view.graph.nodes if node.id != row.id and node.status == "running"]
        nodes.sort(key=lambda node: (node.id not in beside, node.name))
        dialog = CheckDialog(Check(self.pyctr.poller.paths, row.id, row.name, told), [node.name for node in nodes])
        self.app.push_screen(dialog)

    def action_who_talks(self) -> None:
        """A page of all connections between containers and with others."""
        from pyctr.tui import talking
        from pyctr.tui.widgets.page import Page

        def show() -> None:
            if page.is_attached:
                page.show(talking.lines(watched, page.room, self.pyctr.look))

        def told() -> None:
            try:
                self.app.call_from_thread(show)
            except RuntimeError:
                pass  # the app has ended meanwhile

        watched = talking.Talking(self.pyctr.poller.make_engine, told)
        page = Page("Who talks to whom", left=watched.stop)
        self.app.push_screen(page)
        watched.start()

    async def action_open(self) -> None:
        """The container on its own screen."""
        if (row := self.current_row()) is not None:
            await self.pyctr.open_container(row.id)


def _lost(number: int) -> str:
    return "warn" if number else "faint"
