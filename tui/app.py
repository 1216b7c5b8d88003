"""The interactive face: one app, the main screens as modes, one poller behind them."""

from __future__ import annotations

import signal
import sys
from typing import Any, ClassVar

from textual.app import App
from textual.binding import Binding
from textual.filter import Monochrome, NoColor
from textual.message import Message
from textual.screen import Screen
from textual.scrollbar import ScrollBar, ScrollBarRender

from pyctr.tui import acts, keys, mending, theming
from pyctr.tui.engine import Poller
from pyctr.tui.format import Glyphs
from pyctr.tui.screens import Entry, entries
from pyctr.tui.screens.base import BaseScreen
from pyctr.tui.snapshot import Snapshot
from pyctr.tui.table import Look
from pyctr.tui.theming import Theme

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

mending.mend()


class Looked(Message):
    """The poller looked at the host."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self.snapshot = snapshot


class PlainScrollBar(ScrollBarRender):
    """By colour alone, without eighths of a block."""

    VERTICAL_BARS = HORIZONTAL_BARS = [" "] * 8


class PyctrApp(App[None], inherit_bindings=False):
    """`poller.start` is called when `live`; without it the app shows `first` and waits for `take`."""

    TITLE = "pyctr"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = False
    DEFAULT_MODE = "containers"
    BINDINGS: ClassVar[list[Any]] = keys.bindings("app")

    def __init__(
        self,
        poller: Poller,
        *,
        theme: Theme | None = None,
        ascii: bool = False,
        first: Snapshot | None = None,
        live: bool = True,
        tty: list[Any] | None = None,
        before: Callable[[PyctrApp], None] | None = None,
    ) -> None:
        self.poller = poller
        self.palette = theme or theming.load()
        self.palette.ascii = ascii
        self.look = Look(Glyphs(ascii=ascii))
        self.snapshot = first or Snapshot(loaded=False, read_only=poller.read_only)
        self.look.now = self.snapshot.time
        self.screen_entries: list[Entry] = entries()
        self.acts = acts.Acts(self)
        self._live = live
        self._tty = tty
        self._before = before
        self._warned = False
        super().__init__()
        self.no_color = theming.no_color()
        # Textual would make greys of our colours; the standard asks for none, https://no-color.org
        self._filters = (
            [NoColor()] if self.no_color else [one for one in self._filters if not isinstance(one, Monochrome)]
        )
        self._modes = {entry.name: entry.make for entry in self.screen_entries}
        for entry in self.screen_entries:
            self._bindings._add_binding(Binding(entry.digit, f"screen('{entry.name}')", entry.title, show=False))
        self.register_theme(self.palette.textual())
        self.theme = self.palette.name
        self.set_class(ascii, "-ascii")
        ScrollBar.renderer = PlainScrollBar if ascii else ScrollBarRender

    def get_css_variables(self) -> dict[str, str]:
        return {**super().get_css_variables(), **self.palette.css()}

    async def on_mount(self) -> None:
        if self._live:
            self._catch_signals()
            self.poller.start(self._post_snapshot)
        if self._tty is not None and self._driver is not None and hasattr(self._driver, "attrs_before"):
            # the terminal was already without echo when the driver looked: give back what the user had
            self._driver.attrs_before = self._tty
        if self._live and self.snapshot.read_only:
            limited = f"; {self.snapshot.limited}" if self.snapshot.limited else ""
            title = "the past" if self.snapshot.recorded else "read-only"
            self.notify(f"{self.snapshot.read_only}{limited}", title=title, markup=False, timeout=8)
        if self._before is not None:
            self._before(self)

    def _post_snapshot(self, snapshot: Snapshot) -> None:
        """Called in the poller's thread."""
        self.post_message(Looked(snapshot))

    def _catch_signals(self) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            loop.add_signal_handler(number, self._leave, number)

    def _leave(self, number: int) -> None:
        if number == signal.SIGHUP:
            self.poller.abandon()
            # nobody is there to read; a write to the lost terminal must not keep us
            signal.alarm(2)
        self.exit(return_code=128 + number)

    def on_unmount(self) -> None:
        self.poller.stop()

    def on_looked(self, message: Looked) -> None:
        self.take(message.snapshot)

    def take(self, snapshot: Snapshot) -> None:
        """Show a snapshot on whatever main screen is open, also below a dialog."""
        self.snapshot = snapshot
        self.look.now = snapshot.time
        for screen in self.screen_stack:
            if isinstance(screen, BaseScreen) and screen.is_mounted:
                screen.show_snapshot(snapshot)

    @property
    def main_screen(self) -> BaseScreen | None:
        """The main screen in front, dialogs left aside."""
        for screen in reversed(self.screen_stack):
            if isinstance(screen, BaseScreen):
                return screen
        return None

    async def action_screen(self, name: str) -> None:
        """Go to a main screen."""
        if len(self.screen_stack) > 1 and not isinstance(self.screen, BaseScreen):
            return  # a dialog asks first
        if name != self.current_mode:
            await self.switch_mode(name)

    async def open_container(self, id: str, tab: str = "overview") -> None:
        """One container on the screen of containers."""
        await self.action_screen("containers")
        show = getattr(self.main_screen, "show_tab", None)
        if self.main_screen is not None and show is not None:
            self.main_screen.call_after_refresh(show, id, tab)

    async def action_quit(self) -> None:
        """A verb that waits (a stop before its timeout) ends with us: that is said once, a second time it goes."""
        if self.acts.running and not self._warned:
            self._warned = True
            self.say("something is still being done and would be left half-way; q again leaves")
            return
        self.exit()

    def action_palette(self) -> None:
        from pyctr.tui.commands import open_palette

        if self.main_screen is self.screen:
            open_palette(self)

    def action_help(self) -> None:
        from pyctr.tui.widgets.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.screen))

    def action_travel(self) -> None:
        """Ask for a moment, and show it."""
        from pyctr.core.moments import moment
        from pyctr.core.parse import BadValue
        from pyctr.tui.widgets.dialogs import Ask

        if self.main_screen is not self.screen:
            return
        now = self.poller.clock.time()

        def check(text: str) -> str:
            try:
                return "" if moment(text, now) <= now else "that is to come"
            except BadValue as problem:
                return f"{problem}: {problem.hint}"

        def answered(text: str | None) -> None:
            if text:
                self.poller.travel(moment(text, now))

        self.push_screen(
            Ask("Show what time?", "-5m", hint="-5m, 03:12, 2026-01-31T03:12:00, now", check=check), answered
        )

    def action_earlier(self) -> None:
        self._step(-1)

    def action_later(self) -> None:
        self._step(1)

    def _step(self, direction: int) -> None:
        """A twentieth of what the charts show, and not less than the finest record has."""
        if self.main_screen is not self.screen or (direction > 0 and self.poller.at is None):
            return
        step = max(5.0, self.poller.focus.span / 20)
        self.poller.travel((self.poller.at or self.poller.clock.time()) + direction * step)

    def action_present(self) -> None:
        if self.poller.at is not None:
            self.poller.travel(None)

    def action_redraw(self) -> None:
        self.refresh(layout=True)
        self.screen.refresh(layout=True)

    def action_next_theme(self) -> None:
        """The themes in turn; one that cannot be read is passed over with a word."""
        names = list(theming.available())
        place = names.index(self.palette.name) if self.palette.name in names else -1
        self.use_theme(names[(place + 1) % len(names)])

    def use_theme(self, name: str) -> None:
        try:
            theme = theming.load(name)
        except theming.ThemeError as error:
            self.complain("cannot use that theme", str(error))
            return
        theme.ascii = self.look.glyphs.ascii
        self.palette = theme
        self.register_theme(theme.textual())
        self.theme = theme.name
        self.refresh_css(animate=False)
        for screen in self.screen_stack:
            if isinstance(screen, BaseScreen):
                screen.restyle()
        self.say(f"theme {theme.title}")

    def say(self, text: str, *, undo: bool = False) -> None:
        """A quiet word at the corner."""
        self.notify(text + ("  (z undoes)" if undo else ""), markup=False, timeout=4)

    def complain(self, title: str, hint: str = "") -> None:
        """What failed, and what to try."""
        self.notify(hint, title=title, severity="error", markup=False, timeout=10)

    def action_notify(self, *arguments: Any) -> None:
        """Not a command of ours."""

    @property
    def interactive(self) -> bool:
        """There is a terminal that can be handed to another program."""
        return self._driver is not None and not self.is_headless and sys.stdin.isatty()


__all__ = ["Looked", "PyctrApp", "Screen"]
