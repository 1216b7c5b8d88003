"""Whether a container reaches something: a line to type the target in, and the steps on the way there as they come."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from pyctr.tui import checking
from pyctr.tui import format as f
from pyctr.tui.widgets.dialogs import CSS
from pyctr.tui.widgets.lineinput import LineInput
from pyctr.tui.widgets.painted import PaintedLines, look_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyctr.tui.checking import Check

_WIDTH = 84


class CheckDialog(ModalScreen[None]):
    """Shows one `Check`; leaving lets its thread end by itself within seconds."""

    DEFAULT_CSS = f"""
        CheckDialog {{ {CSS} }}
        CheckDialog .dialog {{ width: {_WIDTH}; }}
        CheckDialog .dialog Input {{ margin: 0 0 1 0; }}
    """
    BINDINGS = [
        Binding("escape", "leave", show=False),
        Binding("ctrl+c", "leave", priority=True),
        Binding("ctrl+n", "next_name", show=False, priority=True),
    ]

    def __init__(self, check: Check, names: Sequence[str]) -> None:
        super().__init__()
        self.check = check
        self._names = [*names, "internet"]
        self._made = False

    def compose(self) -> ComposeResult:
        from textual.content import Content

        self._about, self._lines, self._keys = (
            PaintedLines(id="about"),
            PaintedLines(id="steps"),
            PaintedLines(id="keys"),
        )
        self._field = LineInput(self._names[0], select_on_focus=True, id="target")
        self._field.cursor_blink = False
        for lines in (self._about, self._lines, self._keys):
            lines.ground = "surface"
            lines.can_focus = False
        box = Vertical(self._about, self._field, self._lines, self._keys, classes="dialog")
        box.set_class(look_of(self).glyphs.ascii, "-ascii")
        box.border_title = Content(f" What does {f.cut(f.neutral(self.check.name), 30)} reach? ")
        yield box

    def on_mount(self) -> None:
        self._made = True
        self._about.show([(("Container, name or address, with :PORT or without; or 'internet'", "muted"),)])
        self._about.styles.height = 1
        self._keys.styles.height = 1
        self.show()
        self._field.focus()

    def show(self) -> None:
        """Look at the check again."""
        if not self._made or not self.is_attached:
            return  # a step that comes after it was left
        width = max(30, min(_WIDTH, int(self.app.size.width * 0.94)) - 4)
        found = checking.lines(self.check, width, look_of(self))
        self._lines.styles.max_height = max(3, self.app.size.height - 10)
        self._lines.styles.height = len(found) + 1 if found else 0
        self._lines.show([*found, ()] if found else [])
        keys = [("Enter", "checks"), ("ctrl-n", "next name"), ("Esc", "leaves")]
        self._keys.show([tuple(span for key, does in keys for span in ((key, "key"), (f" {does}   ", "muted")))])

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_next_name(self) -> None:
        """Another container, or the internet, instead of typing."""
        host, _, port = self._field.value.partition(":")
        place = self._names.index(host) + 1 if host in self._names else 0
        name = self._names[place % len(self._names)]
        self._field.value = f"{name}:{port}" if port and name != "internet" else name
        self._field.cursor_position = len(self._field.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        target = self._field.value.strip()
        if target and not self.check.running:
            self.check.start(target)
            self.show()
