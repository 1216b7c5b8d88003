"""Volumes: what outlives containers, how large it is, and who uses it."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical

from pyctr.tui import format as f
from pyctr.tui import keys, volume_table
from pyctr.tui.screens.scene import SceneScreen
from pyctr.tui.snapshot import Focus, Snapshot
from pyctr.tui.sources import WANTED
from pyctr.tui.sources.volumes import VolumeRow
from pyctr.tui.widgets.bars import FrameTitle
from pyctr.tui.widgets.grid import Grid, GridHeading
from pyctr.tui.widgets.painted import PaintedLines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyctr.tui.format import Line, Span


class VolumesScreen(SceneScreen):
    """A list, and one line about the volume under the cursor."""

    NAME = "volumes"
    HEADING = "Volumes"
    SCOPES = ("volumes", "list", "app")
    CSS_PATH = "volumes.tcss"
    BINDINGS = keys.bindings("volumes")

    def compose_body(self) -> ComposeResult:
        self.table = Grid(
            lambda width: volume_table.columns(width, self.pyctr.look),
            lambda row: row.name,
            empty=self._empty,
            id="table",
        )
        with Vertical(id="body", classes="pane lit"):
            yield FrameTitle(id="title")
            with Vertical(classes="frame"):
                yield GridHeading(self.table)
                yield self.table
        facts = PaintedLines(id="facts")
        facts.can_focus = False
        yield facts

    def on_mount(self) -> None:
        self.set_class(self.app.size.width >= 120, "-framed")
        self.show_snapshot(self.pyctr.snapshot)
        self.table.focus()

    def on_resize(self) -> None:
        self.set_class(self.app.size.width >= 120, "-framed")

    def _empty(self) -> Sequence[Line]:
        if self.scene.document is None:
            return self.unread()
        return [
            (("no volumes yet", "strong"),),
            (),
            (("pyctr run -v data:/data", "key"), (" makes one called data", "muted")),
        ]

    def show_snapshot(self, snapshot: Snapshot) -> None:
        if not self.ready:
            return
        self.pyctr.poller.look_at(Focus(sources=WANTED["volumes"]))
        document = self.scene.document
        rows: list[VolumeRow] = list(document) if isinstance(document, tuple) else []
        self.show_rows(rows)
        title = self.query_one(FrameTitle)
        title.words = (("Volumes", "strong"), (f"  {len(rows)}", "faint"))
        title.right = ((f"{f.size(sum(row.size for row in rows))} in all", "text"),)
        if self.scene.error and rows:
            title.right = ((f.cut(f.neutral(self.scene.error), 60), "bad"),)
        title.lit = True
        title.update_line()
        self._facts()
        super().show_snapshot(snapshot)

    def _facts(self) -> None:
        pane = self.query_one("#facts", PaintedLines)
        row: VolumeRow | None = self.table.current
        if row is None:
            pane.show([()])
            return
        dot: Span = (f" {self.pyctr.look.glyphs.dot} ", "faint")
        spans: list[Span] = [(f.neutral(row.path), "muted"), dot, (f"made {f.stamp(row.created_at)}", "faint")]
        pane.show([f.fit_line(spans, pane.size.width)])

    def idle_actions(self) -> frozenset[str]:
        idle = {"mark", "sort_menu", "next_tab", "previous_tab", "filter", "other_pane", "open"}
        if self.table.current is None:
            idle.add("remove_volume")
        return frozenset(idle)

    @on(Grid.Moved)
    def _moved(self) -> None:
        self._facts()
        self.refresh_keys()

    def action_remove_volume(self) -> None:
        row: VolumeRow | None = self.table.current
        if row is None:
            return
        if self.pyctr.snapshot.read_only:
            self.pyctr.complain("read-only", f"{self.pyctr.snapshot.read_only}: nothing is changed from here")
            return
        from pyctr.tui.widgets.dialogs import Confirm

        name = f.neutral(row.name)
        lines: list[Line] = [
            ((f.cut(name, 56), "strong"),),
            (),
            (("Lost for good: ", "text"), (f"{f.size(row.size)} of data.", "bad")),
        ]
        if row.users:
            users = ", ".join(f.neutral(user) for user in row.users)
            lines.append(((f.cut(f"In use by {users}: it will be refused.", 58), "warn"),))

        def answered(answer: str | None) -> None:
            if answer:
                self.pyctr.acts.call(
                    f"remove volume {name}",
                    lambda engine: engine.volumes.remove(row.name),
                    done=f"removed volume {name}",
                    source="volumes",
                )

        self.app.push_screen(
            Confirm(f"Remove volume {f.cut(name, 36)}?", lines, [("remove", "Remove")], danger=True), answered
        )
