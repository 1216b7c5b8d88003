"""Pull an image: what to fetch, then a bar per layer. Escape leaves it running; it can be stopped and gone on with."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from pyctr.core import errors
from pyctr.tui import format as f
from pyctr.tui import pulling
from pyctr.tui.widgets.dialogs import CSS
from pyctr.tui.widgets.lineinput import LineInput
from pyctr.tui.widgets.painted import PaintedLine, PaintedLines, look_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.tui.format import Line
    from pyctr.tui.pulling import Pull

_SAID = {
    pulling.IDLE: (("Enter", "fetches it"), ("Esc", "leaves")),
    pulling.RUNNING: (("Esc", "goes on behind"), ("ctrl-x", "stops it")),
    pulling.STOPPED: (("Enter", "goes on where it ended"), ("Esc", "leaves")),
    pulling.FAILED: (("Enter", "tries again"), ("Esc", "leaves")),
    pulling.READY: (("Esc", "leaves"),),
}


class _Label(PaintedLine):
    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text
        self.ground = "surface"

    def compose_line(self, width: int) -> Line:
        return ((self._text, "muted"),)


class PullDialog(ModalScreen[None]):
    """Shows one `Pull`, which outlives it."""

    DEFAULT_CSS = f"""
        PullDialog {{ {CSS} }}
        PullDialog .dialog {{ width: 84; }}
        PullDialog .dialog Input {{ margin: 0 0 0 0; }}
        PullDialog #layers {{ margin: 1 0 0 0; }}
    """
    BINDINGS = [
        Binding("escape", "leave", show=False),
        Binding("ctrl+c", "leave", priority=True),
        Binding("ctrl+x", "stop", show=False, priority=True),
        Binding("enter", "again", show=False),
    ]

    def __init__(self, pull: Pull) -> None:
        super().__init__()
        self.pull = pull
        self._made = False

    def compose(self) -> ComposeResult:
        from textual.content import Content

        self._field = LineInput(self.pull.name, select_on_focus=False, id="name")
        self._other = LineInput(self.pull.platform, select_on_focus=False, id="platform")
        for field in (self._field, self._other):
            field.cursor_blink = False
        self._lines = PaintedLines(id="layers")
        self._lines.ground = "surface"
        self._keys = PaintedLines(id="keys")
        self._keys.ground = "surface"
        for lines in (self._lines, self._keys):
            lines.can_focus = False
        box = Vertical(
            _Label("Image: NAME[:TAG], REGISTRY/NAME[:TAG] or NAME@sha256:..."),
            self._field,
            _Label("Platform, such as linux/arm64; empty for this host's"),
            self._other,
            self._lines,
            self._keys,
            classes="dialog",
        )
        box.set_class(look_of(self).glyphs.ascii, "-ascii")
        box.border_title = Content(" Pull an image ")
        yield box

    def on_mount(self) -> None:
        self._made = True
        self.show()
        self._field.focus()

    def show(self) -> None:
        """Look at the pull again."""
        if not self._made:
            return
        pull, look = self.pull, look_of(self)
        width = max(30, min(84, int(self.app.size.width * 0.94)) - 4)
        room = max(3, self.app.size.height - 14)
        lines = pulling.lines(pull, width, room, look)
        if pull.problem:
            lines += [(), ((f.cut(f.neutral(pull.problem), 2 * width), "bad"),)]
            if pull.hint:
                lines.append(((f.cut(f.neutral(pull.hint), width), "muted"),))
        elif pull.state == pulling.STOPPED:
            lines += [(), (("stopped; what came is kept for the next time", "warn"),)]
        elif pull.running and (pull.note or not pull.layers):
            lines += [((f.cut(f.neutral(pull.note or "asking the registry"), width) + look.glyphs.ellipsis, "faint"),)]
        elif pull.state == pulling.READY:
            lines += [((f"{f.neutral(pull.name)} is here", "good"),)]
        wrapped: list[Line] = []
        for line in lines:
            text = f.plain(line)
            if f.width(text) > width:
                style = line[0][1]
                wrapped += [((text[:width], style),), ((text[width:], style),)]
            else:
                wrapped.append(line)
        self._lines.styles.height = len(wrapped)
        self._lines.styles.max_height = room
        self._lines.show(wrapped)
        spans = [span for key, does in _SAID[pull.state] for span in ((key, "key"), (f" {does}   ", "muted"))]
        self._keys.styles.height = 1
        self._keys.show([tuple(spans)])
        for field in (self._field, self._other):
            field.disabled = pull.running
        if not pull.running and self.focused is None:
            self._field.focus()

    def _complain(self, text: str) -> None:
        self._lines.styles.height = 1
        self._lines.show([((f.neutral(text), "bad"),)])

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_stop(self) -> None:
        if self.pull.running:
            self.pull.stop()
            self.show()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_again()

    def action_again(self) -> None:
        from pyctr.core.images.platforms import parse as platform_of
        from pyctr.core.images.reference import parse

        if self.pull.running:
            return
        name, platform = self._field.value.strip(), self._other.value.strip()
        try:
            parse(name)
            if platform:
                platform_of(platform)
        except errors.PyctrError as error:
            self._complain(error.message)
            return
        self.pull.start(name, platform)
        self.show()
