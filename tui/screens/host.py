"""Host: is this machine able, and is it busy."""

from __future__ import annotations

from textual.app import ComposeResult

from pyctr.tui import host_page, keys
from pyctr.tui.screens.base import BaseScreen
from pyctr.tui.snapshot import Focus, Snapshot
from pyctr.tui.sources import WANTED
from pyctr.tui.widgets.painted import PaintedLines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from textual import events


class HostScreen(BaseScreen):
    """One page that scrolls."""

    NAME = "host"
    HEADING = "Host"
    SCOPES = ("host", "list", "app")
    CSS_PATH = "host.tcss"
    BINDINGS = keys.bindings("host")

    def compose_body(self) -> ComposeResult:
        self.page = PaintedLines(id="page")
        yield self.page

    def on_mount(self) -> None:
        self.set_class(self.app.size.width >= 120, "-framed")
        self.page.focus()
        self.show_snapshot(self.pyctr.snapshot)

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width >= 120, "-framed")
        self.call_after_refresh(self._show)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        if not self.ready:
            return
        self.pyctr.poller.look_at(Focus(sources=WANTED["host"]))
        self._show()
        super().show_snapshot(snapshot)

    def _show(self) -> None:
        width, height = self.page.content_size.width - 1, self.page.content_size.height
        if width < 20:
            return
        snapshot = self.pyctr.snapshot
        self.page.show(host_page.page(snapshot.scenes, width, height, snapshot.time, self.pyctr.look))

    def idle_actions(self) -> frozenset[str]:
        return frozenset({"mark", "sort_menu", "next_tab", "previous_tab", "filter", "open", "other_pane"})

    def action_up(self) -> None:
        self.page.scroll_relative(y=-1, animate=False)

    def action_down(self) -> None:
        self.page.scroll_relative(y=1, animate=False)

    def action_page_up(self) -> None:
        self.page.scroll_relative(y=-self.page.size.height + 1, animate=False)

    def action_page_down(self) -> None:
        self.page.scroll_relative(y=self.page.size.height - 1, animate=False)

    def action_top(self) -> None:
        self.page.scroll_home(animate=False)

    def action_bottom(self) -> None:
        self.page.scroll_end(animate=False)

    def action_examine(self) -> None:
        """Ask doctor again, and count again what is on the disk."""
        for name in ("findings", "space"):
            self.pyctr.poller.sources.again(name)
        self.pyctr.poller.wake()
        self.pyctr.say("looking again")
