"""A line to type in at the bottom, over the keys: filters and searches, live while typed."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Input

from pyctr.tui.widgets.lineinput import LineInput
from pyctr.tui.widgets.painted import PaintedLine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyctr.tui.format import Line


class _Label(PaintedLine):
    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.ground = "raised"

    def compose_line(self, width: int) -> Line:
        return ((f" {self.text} ", "key"),)


class Prompt(Horizontal):
    """Enter keeps what was typed, Escape puts back what was there before."""

    BINDINGS = [Binding("escape", "cancel", show=False)]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._changed: Callable[[str], None] | None = None
        self._done: Callable[[str], None] | None = None
        self._before = ""
        self._back_to: Widget | None = None
        self._label = _Label()
        # there from the start: what is typed right after the key that opens it belongs here
        self._field = LineInput(select_on_focus=False)
        self._field.cursor_blink = False

    def compose(self) -> ComposeResult:
        yield self._label
        yield self._field

    @property
    def is_open(self) -> bool:
        return self.has_class("open")

    def ask(
        self,
        label: str,
        text: str,
        *,
        changed: Callable[[str], None] | None = None,
        done: Callable[[str], None] | None = None,
        back_to: Widget | None = None,
    ) -> None:
        """`changed` at every key, `done` at Enter."""
        self._changed = self._done = None
        self._field.value = text
        self._field.cursor_position = len(text)
        self._changed, self._done, self._before, self._back_to = changed, done, text, back_to
        self._label.text = label
        self._label.styles.width = self._label.styles.min_width = len(label) + 2
        self._label.update_line()
        self.add_class("open")
        self.screen.set_focus(self._field)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self.is_open and self._changed is not None:
            self._changed(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self._done is not None:
            self._done(event.value)
        self.close()

    def action_cancel(self) -> None:
        if self._changed is not None:
            self._changed(self._before)
        self.close()

    def close(self) -> None:
        self.remove_class("open")
        self._changed = self._done = None
        if self._back_to is not None:
            self.screen.set_focus(self._back_to)
