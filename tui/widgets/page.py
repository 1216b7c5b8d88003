"""A page of lines over the whole screen: a file of a layer, two images compared. It scrolls, and Escape leaves it."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen

from pyctr.tui import format as f
from pyctr.tui.widgets.painted import PaintedLine, PaintedLines, look_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyctr.tui.format import Line, Span


class _Foot(PaintedLine):
    def __init__(self) -> None:
        super().__init__()
        self.spans: Sequence[Span] = ()

    def compose_line(self, width: int) -> Line:
        return tuple(self.spans)


class Page(ModalScreen[None]):
    """`show` gives it its lines, again and again if they come bit by bit. `toggles` are (key, word): `toggled(key)`."""

    DEFAULT_CSS = """
        Page { align: center middle; }
        Page #page { width: 100%; height: 100%; background: $c-background; border: round $c-accent;
                     border-title-color: $c-foreground; border-title-style: bold; padding: 0 1; }
        Page #page.-ascii { border: ascii $c-accent; }
        Page #lines { height: 1fr; }
    """
    BINDINGS = [
        Binding("escape,q", "leave", show=False),
        Binding("ctrl+c", "leave", priority=True),
        Binding("up,k", "scroll(-1)", show=False),
        Binding("down,j", "scroll(1)", show=False),
        Binding("pageup,ctrl+u", "scroll(-20)", show=False),
        Binding("pagedown,ctrl+d,space", "scroll(20)", show=False),
        Binding("g,home", "scroll(-10000000)", show=False),
        Binding("G,end", "scroll(10000000)", show=False),
        Binding("left,h", "aside(-8)", show=False),
        Binding("right,l", "aside(8)", show=False),
        *(Binding(key, f"switch('{key}')", show=False) for key in ("A", "C", "D", "o")),
    ]

    def __init__(
        self,
        title: str,
        *,
        toggles: Sequence[tuple[str, str]] = (),
        toggled: Callable[[str], None] | None = None,
        left: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self._title = title
        self._toggles = toggles
        self._toggled = toggled
        self._left = left
        self._pending: Sequence[Line] = ()
        self._about = ""
        self._made = False

    def compose(self) -> ComposeResult:
        from textual.content import Content

        self.lines = PaintedLines(id="lines")
        self._foot = _Foot()
        box = Vertical(self.lines, self._foot, id="page")
        box.set_class(look_of(self).glyphs.ascii, "-ascii")
        box.border_title = Content(f" {f.cut(f.neutral(self._title), max(10, self.app.size.width - 8))} ")
        yield box

    def on_mount(self) -> None:
        self._made = True
        self.show(self._pending, self._about)
        self.lines.focus()

    def show(self, lines: Sequence[Line], about: str = "") -> None:
        """These lines, and a word at the bottom."""
        self._pending, self._about = lines, about
        if not self._made:
            return
        self.lines.show(lines)
        spans: list[Span] = [("Esc", "key"), (" back   ", "muted")]
        for key, word in self._toggles:
            spans += [(key, "key"), (f" {word}   ", "muted")]
        self._foot.spans = (*spans, (about, "faint"))
        self._foot.update_line()

    @property
    def room(self) -> int:
        """Cells of a line."""
        return max(20, self.app.size.width - 5)

    def action_leave(self) -> None:
        if self._left is not None:
            self._left()
        self.dismiss(None)

    def action_scroll(self, lines: int) -> None:
        step = lines if abs(lines) != 20 else (lines // 20) * max(1, self.lines.size.height - 1)
        last = max(0, len(self.lines.lines) - self.lines.size.height)
        self.lines.scroll_to(y=max(0, min(last, self.lines.scroll_offset.y + step)), animate=False, force=True)

    def action_aside(self, cells: int) -> None:
        self.lines.scroll_to(x=max(0, self.lines.scroll_offset.x + cells), animate=False, force=True)

    def action_switch(self, key: str) -> None:
        if self._toggled is not None and any(key == one for one, _ in self._toggles):
            self._toggled(key)
