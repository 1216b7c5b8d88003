"""A thread that reads tells a widget to look, without waiting for it and without one screen update per line read."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.widget import Widget

PAUSE = 0.03
"""Seconds between two looks: what comes meanwhile is drawn at once."""


class Wakeup:
    """Call it in any thread; `look` is called in the widget's, soon, and once for many calls."""

    def __init__(self, widget: Widget, look: Callable[[], None]) -> None:
        self._widget = widget
        self._look = look
        self._due = False

    def __call__(self) -> None:
        try:
            # not call_from_thread: that one waits, and a reader that waits has one line for every layout of the screen
            self._widget.call_later(self._soon)
        except RuntimeError:
            pass  # the app has ended

    def _soon(self) -> None:
        if not self._due:
            self._due = True
            self._widget.set_timer(PAUSE, self._now)

    def _now(self) -> None:
        self._due = False
        if self._widget.is_mounted:
            self._look()
