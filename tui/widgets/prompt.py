"""A line to type in at the bottom, over the keys: filters and searches, live while typed."""

from __future__ import annotations

from textual.binding import Binding
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Input

from pyctr.tui.widgets.painted import PaintedLine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyctr.tui.format import Line


class _Label(PaintedLine):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
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
        self._changed, self._done, self._before, self._back_to = changed, done, text, back_to
        self.remove_children()
        name = _Label(label)
        name.styles.width = len(label) + 2
        name.styles.min_width = len(label) + 2
        field = Input(text, select_on_focus=False)
        field.cursor_blink = False
        self.mount(name, field)
        self.add_class("open")
        self.call_after_refresh(field.focus)

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
        self.remove_children()
        if self._back_to is not None:
            self._back_to.focus()
