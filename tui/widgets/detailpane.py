"""The details of one container: a line of tabs in the frame, and below it charts, text or the log."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical

from pyctr.tui import details
from pyctr.tui import format as f
from pyctr.tui.container_table import state_style
from pyctr.tui.logfollow import RANGES, LogFollower
from pyctr.tui.snapshot import ContainerRow, Snapshot
from pyctr.tui.wakeup import Wakeup
from pyctr.tui.widgets.bars import FrameTitle
from pyctr.tui.widgets.logview import NOTHING, LogView
from pyctr.tui.widgets.painted import PaintedLines, look_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyctr.core.paths import Paths
    from pyctr.tui.format import Line, Span

ROOMY = 110
"""Cells from which on the title has room for the state's word beside the tabs."""


class DetailPane(Vertical):
    """`show` for every snapshot and every selection; `open_tab` to change the tab."""

    def __init__(self, paths: Paths, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._paths = paths
        self.tab = "overview"
        self.row: ContainerRow | None = None
        self._past = False
        self._followers: list[LogFollower] = []
        self._wake = Wakeup(self, self.drain)
        self._followed: tuple[str, ...] = ()
        self.merged: tuple[ContainerRow, ...] = ()
        """Containers whose logs are shown as one, instead of the selected one's."""

    def compose(self) -> ComposeResult:
        yield FrameTitle(id="tabs")
        with Vertical(classes="frame"):
            yield PaintedLines(id="document")
            yield LogView(id="log")

    def on_mount(self) -> None:
        self.query_one(LogView).display = False

    def on_unmount(self) -> None:
        self._unfollow()

    @property
    def content(self) -> PaintedLines | LogView:
        """What keys scroll."""
        return self.query_one(LogView) if self.tab == "logs" and not self._past else self.query_one(PaintedLines)

    def _arrange(self) -> None:
        """What is shown of a log: a view that follows it, or lines of the past."""
        content = self.content
        for widget in (self.query_one(LogView), self.query_one(PaintedLines)):
            if widget.display != (widget is content):
                if self.screen.focused is widget:
                    content.focus()
                widget.display = widget is content

    def open_tab(self, name: str) -> None:
        if name == self.tab:
            return
        had_focus = self.screen.focused is self.content
        self.tab = name
        self._arrange()
        document = self.query_one(PaintedLines)
        document.scroll_to(0, 0, animate=False, force=True)
        if had_focus:
            self.content.focus()
        self._title()

    def step_tab(self, step: int) -> None:
        names = [tab.name for tab in details.TABS]
        self.open_tab(names[(names.index(self.tab) + step) % len(names)])

    def show(self, row: ContainerRow | None, snapshot: Snapshot) -> None:
        """The selected container and what is known of it."""
        self.row = row
        self._past = bool(snapshot.past)
        if self.tab != "logs" or self._past:
            self.merged = ()
        following = self.tab == "logs" and self.display and not self._past
        self._follow(self.merged or ((row,) if row is not None else ()) if following else ())
        self._arrange()
        self._title()
        if self.content is self.query_one(LogView) or not self.display:
            return
        view = self.query_one(PaintedLines)
        view.show(self._lines(row, snapshot, view.size.width - 2, view.size.height))

    def _lines(self, row: ContainerRow | None, snapshot: Snapshot, width: int, height: int) -> list[Line]:
        if row is None:
            return []
        if width < 10 or height < 1:
            return []
        look = look_of(self)
        detail = snapshot.detail
        if detail is None or detail.id != row.id or detail.tab != self.tab:
            return [((f"looking{look.glyphs.ellipsis}", "faint"),)]
        lines: list[Line] = []
        if detail.error:
            age = (
                f", shown as of {f.duration(max(0.0, snapshot.time - detail.taken_at))} ago" if detail.document else ""
            )
            lines += [((f"cannot read this now: {f.neutral(detail.error)}{age}", "bad"),), ()]
        if detail.document is None:
            return lines
        if snapshot.past and self.tab == "logs":
            from pyctr.tui.past import log_lines

            return [((" ", "text"), *line) for line in lines + log_lines(detail.document, width)]
        body = details.find(self.tab).render(detail.document, row, snapshot, width, height - len(lines), look)
        if detail.error:
            body = [tuple((text, "faint") for text, _ in line) for line in body]
        return [((" ", "text"), *line) for line in lines + body]

    def _title(self) -> None:
        title = self.query_one(FrameTitle)
        row = self.row
        if row is None:
            title.words, title.shorter, title.tabs = (("no container", "faint"),), (), ()
        else:
            glyphs = look_of(self).glyphs
            state = (f"{glyphs.state(row.status, failed=row.failed)} ", state_style(row))
            name, ellipsis = f.neutral(row.name), glyphs.ellipsis
            title.words = (state, (f.cut(name, 30, ellipsis), "strong"))
            # the glyph says the state, too, and the list the whole name
            title.shorter = tuple((state, (f.cut(name, most, ellipsis), "strong")) for most in (30, 20, 14))
            if title.size.width >= ROOMY and row.live:
                title.words += ((f" {row.status}", state_style(row)),)
            if self.merged:
                title.words, title.shorter = ((f"{len(self.merged)} containers", "strong"),), ()
            title.tabs = tuple((tab.name, tab.title) for tab in details.TABS)
        title.current = self.tab
        right: tuple[Span, ...] = ()
        if self.content is self.query_one(LogView):
            right = ((self.query_one(LogView).describe(), "muted"),)
        title.right = right
        title.lit = self.screen.focused is self.content
        self.set_class(title.lit, "lit")
        title.update_line()

    def _follow(self, rows: Sequence[ContainerRow]) -> None:
        """Follow the logs of these containers, and of no others."""
        wanted = tuple(row.id for row in rows)
        if wanted == self._followed:
            return
        self._unfollow()
        view = self.query_one(LogView)
        view.clear()
        view.empty_text = NOTHING
        self._followed = wanted
        clock = self.app.poller.clock.time  # type: ignore[attr-defined]
        for row in rows:
            log = self.app.poller.log(row.id)  # type: ignore[attr-defined]
            origin = row.name if len(rows) > 1 else ""
            if log.why:
                view.empty_text = f"no log of it can be read here: {f.neutral(log.why)}"
                view.refresh()
            else:
                span = RANGES[view.range]
                self._followers.append(LogFollower(log.path, self._wake, span, origin, log.form, clock))

    def _unfollow(self) -> None:
        for follower in self._followers:
            follower.stop()
        self._followers, self._followed = [], ()

    def wait_until_current(self, patience: float) -> None:
        """Until the logs that are shown have been read so far; not in the app's thread. At most seconds for each."""
        for follower in self._followers:
            follower.current.wait(patience)

    def drain(self) -> None:
        """Take what the followers have."""
        view = self.query_one(LogView)
        for follower in self._followers:
            if follower.error:
                view.empty_text = f"cannot read the log: {f.neutral(follower.error)}"
                view.refresh()
            view.append(follower.take())

    def on_log_view_range_changed(self) -> None:
        """Read anew."""
        self._followed = ()
        self.show(self.row, self.app.snapshot)  # type: ignore[attr-defined]

    def on_log_view_changed(self) -> None:
        self._title()
