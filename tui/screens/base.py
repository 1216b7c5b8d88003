"""What all main screens have: host line, screen line, body, keys; and how a new snapshot reaches them."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from pyctr.tui import keys
from pyctr.tui.snapshot import ContainerRow, Snapshot
from pyctr.tui.thrift import make_thrifty
from pyctr.tui.widgets.bars import Footer, HostHeader, ScreenLine
from pyctr.tui.widgets.logview import LogView

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.tui.app import PyctrApp


class BaseScreen(Screen[None], inherit_bindings=False):
    """A subclass gives `NAME`, `TITLE_`, `SCOPES`, `compose_body` and `show_snapshot`."""

    NAME = ""
    HEADING = ""
    SCOPES: tuple[str, ...] = ("app", "list")
    BINDINGS = keys.bindings("list")
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-normal"), (160, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (30, "-tall")]
    AUTO_FOCUS = None

    def __init__(self) -> None:
        super().__init__()
        make_thrifty(self)

    @property
    def pyctr(self) -> PyctrApp:
        return self.app  # type: ignore[return-value]

    @property
    def ready(self) -> bool:
        """Its widgets are there: not before it is mounted, and not any more when the program is leaving."""
        return self.is_mounted and not self.app._exit

    def compose(self) -> ComposeResult:
        yield HostHeader()
        yield ScreenLine(self.HEADING, self.filter_text)
        yield from self.compose_body()
        yield Footer()

    def compose_body(self) -> ComposeResult:
        raise NotImplementedError

    def filter_text(self) -> str:
        """What the filter says, for the screen line; empty without one."""
        return ""

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Take what the poller saw. Call super() last."""
        self.query_one(HostHeader).update_line()
        self.refresh_keys()

    def current_row(self) -> ContainerRow | None:
        """The container that keys act on."""
        return None

    def is_deep(self) -> bool:
        """Something is open or focused that Escape leaves."""
        return False

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A log has a search of its own on the filter's key, and whoever types means the letter."""
        return not (action == "filter" and isinstance(self.focused, (LogView, Input)))

    def idle_actions(self) -> frozenset[str]:
        """Actions that would do nothing just now: they stay out of the footer."""
        return frozenset()

    def refresh_keys(self) -> None:
        """The footer and the screen line, after anything that changes which keys make sense."""
        footer = self.query_one(Footer)
        focused = self.focused
        scopes = getattr(focused, "SCOPES", None) if focused is not None else None
        footer.scopes = scopes or self.SCOPES
        footer.row = self.current_row()
        footer.deep = self.is_deep()
        footer.without = self.idle_actions()
        footer.update_line()
        self.query_one(ScreenLine).update_line()

    def on_descendant_focus(self) -> None:
        self.refresh_keys()

    def on_screen_resume(self) -> None:
        self.show_snapshot(self.pyctr.snapshot)

    def restyle(self) -> None:
        """The theme changed: every painted widget looks again."""
        for widget in self.walk_children(Widget):
            if hasattr(widget, "restyle"):
                widget.restyle()
